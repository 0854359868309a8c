//! LVM: physical volumes, groups, logical volumes, and whether the volumes fit into their group.

use host::units::Bytes;

use crate::model::error::Kind;
use crate::model::storage::Storage;

use super::PlanError;
use super::diagnostics::Diagnostics;
use crate::model::plan::{Plan, PlannedLogicalVolume, PlannedPhysicalVolume, PlannedVolumeGroup};

/// Extent size of a volume group where the request has none.
pub(super) const EXTENT: Bytes = Bytes(4 << 20);
/// Where the first metadata area begins: behind the label.
const LABEL: Bytes = Bytes(4 << 10);

/// Plans volumes and groups in the order of the request.
pub(super) fn volumes(storage: &Storage, plan: &mut Plan, diagnostics: &mut Diagnostics) {
    for spec in &storage.physical_volumes {
        plan.physical_volumes.push(PlannedPhysicalVolume {
            on: spec.on,
            metadata_size: spec.metadata_size,
            metadata_copies: spec.metadata_copies,
        });
    }
    for spec in &storage.volume_groups {
        if plan
            .volume_groups
            .iter()
            .any(|group| group.name == spec.name)
        {
            diagnostics.error(PlanError::NamedTwice {
                name: format!("`{}`", spec.name),
            });
        }
        if spec.physical_volumes.is_empty() {
            diagnostics.refuse_run(
                Kind::Request,
                format!("volume group `{}` has no physical volume", spec.name),
                "give it one, or leave it out",
            );
        }
        plan.volume_groups.push(PlannedVolumeGroup {
            name: spec.name.clone(),
            physical_volumes: spec.physical_volumes.clone(),
            keep_data: spec.keep_data,
        });
    }
    for spec in &storage.logical_volumes {
        let device = spec.device();
        if plan
            .logical_volumes
            .iter()
            .any(|volume| volume.device == device)
        {
            diagnostics.error(PlanError::NamedTwice {
                name: device.clone(),
            });
        }
        if !plan
            .volume_groups
            .iter()
            .any(|group| group.name == spec.volume_group)
        {
            diagnostics.error(PlanError::Dangling {
                what: format!("logical volume `{}`", spec.name),
                target: format!("volume group `{}`", spec.volume_group),
            });
        }
        plan.logical_volumes.push(PlannedLogicalVolume {
            spec: spec.clone(),
            device,
        });
    }
}

/// Number of extents that `pvcreate` leaves on a device of `size`, as lvm2 2.03 counts with 1 MiB data alignment: the
/// data begins at the first MiB behind the label and the first metadata area; a second area is at the end.
pub(super) fn extents(size: Bytes, metadata: Bytes, copies: u32) -> u64 {
    let area = if copies == 0 { Bytes::ZERO } else { metadata };
    let start = LABEL
        .saturating_add(area)
        .align_up(Bytes::MIB)
        .unwrap_or(size)
        .max(Bytes::MIB);
    let end = if copies >= 2 {
        size.saturating_sub(metadata.max(Bytes::MIB))
            .align_down(Bytes::MIB)
    } else {
        size
    };
    end.saturating_sub(start).0 / EXTENT.0
}

/// Refuses groups whose volumes do not fit, rounded up to extents as lvcreate does.
pub(super) fn fits(plan: &Plan, diagnostics: &mut Diagnostics) {
    for group in &plan.volume_groups {
        let volumes: Option<Vec<u64>> = group
            .physical_volumes
            .iter()
            .map(|index| {
                let volume = &plan[*index];
                Some(extents(
                    plan.size_of(volume.on)?,
                    volume.metadata_size,
                    volume.metadata_copies,
                ))
            })
            .collect();
        // A member of unknown size has a refusal of its own.
        let Some(volumes) = volumes else { continue };
        let room: u64 = volumes.iter().sum();
        let wanted: u64 = plan
            .logical_volumes
            .iter()
            .filter(|volume| volume.spec.volume_group == group.name)
            .map(|volume| volume.spec.size.0.div_ceil(EXTENT.0))
            .fold(0, u64::saturating_add);
        if wanted > room {
            let size = |count: u64| Bytes(count.saturating_mul(EXTENT.0));
            diagnostics.does_not_fit(
                Kind::Request,
                format!(
                    "the volumes of group `{}` need {wanted} extents of {EXTENT} ({}), but it has {room} ({})",
                    group.name,
                    size(wanted),
                    size(room)
                ),
                format!("shrink its volumes by {} in all, or give it more room", size(wanted - room)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured with `pvcreate --metadatasize M --metadatacopies C` and `vgcreate` of lvm2 2.03.16 on loop devices.
    #[test]
    fn extents_are_counted_as_lvm_does() {
        for (size, metadata, copies, count) in [
            (19438, 28, 2, 4845),
            (100, 28, 2, 10),
            (100, 1, 2, 24),
            (100, 2, 2, 23),
            (100, 0, 2, 24),
            (64, 5, 1, 14),
            (101, 7, 2, 21),
        ] {
            let mib = |n: u64| Bytes(n << 20);
            assert_eq!(
                extents(mib(size), mib(metadata), copies),
                count,
                "{size} {metadata} {copies}"
            );
        }
    }

    #[test]
    fn a_device_smaller_than_its_metadata_has_no_extents() {
        assert_eq!(extents(Bytes(50 << 20), Bytes(28 << 20), 2), 0);
        assert_eq!(extents(Bytes::ZERO, Bytes(28 << 20), 2), 0);
    }
}
