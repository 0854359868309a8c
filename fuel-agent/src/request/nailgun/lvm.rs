//! Physical volumes, groups and logical volumes.

use host::units::Bytes;

use super::super::layout::{Layout, Place};
use super::super::names;
use super::super::reader::{Diagnostics, redacted};
use super::spaces::{Group, LogicalVolume, Volume};
use crate::model::index::IndexedBy;
use crate::model::storage::{
    BlockRef, LogicalVolumeSpec, PhysicalVolumeSpec, Storage, VolumeGroupSpec,
};

/// The least that upstream accepts for LVM's metadata, in MiB.
const LEAST_META: i64 = 10;

/// Makes `on` a physical volume of `group`, which comes into being with its first one.
pub(super) fn add_physical_volume(
    storage: &mut Storage,
    volume: &Volume,
    group: &str,
    meta: i64,
    on: BlockRef,
    diagnostics: &mut Diagnostics,
) {
    if meta < LEAST_META {
        diagnostics.add(
            format!("{}.lvm_meta_size", volume.path),
            format!("is {meta} MiB, and LVM's two metadata areas need {LEAST_META}"),
            "give 64, as the orchestrator does",
        );
    }
    if let Some(why) = names::bad_volume_group(group) {
        diagnostics.add(
            format!("{}.vg", volume.path),
            format!("`{}` {why}", redacted(group)),
            names::LVM_HINT,
        );
    }
    // Two areas, and 8 MiB left over so that the extents which the orchestrator counted on are there.
    let metadata_size = meta
        .checked_sub(8)
        .and_then(|meta| u64::try_from(meta / 2).ok());
    let metadata_size = metadata_size.and_then(Bytes::mib);
    if metadata_size.is_none() && meta >= LEAST_META {
        diagnostics.add(
            format!("{}.lvm_meta_size", volume.path),
            "is more than any disk has",
            "give 64, as the orchestrator does",
        );
    }
    // With a problem too: or else every logical volume of the group would have one.
    let metadata_size = metadata_size.unwrap_or_default();
    let index = storage.next_index();
    storage.physical_volumes.push(PhysicalVolumeSpec {
        on,
        metadata_size,
        metadata_copies: 2,
        keep_data: false,
    });
    let groups = &mut storage.volume_groups;
    match groups.iter_mut().find(|known| known.name == group) {
        Some(known) => known.physical_volumes.push(index),
        None => groups.push(VolumeGroupSpec {
            name: group.to_owned(),
            physical_volumes: vec![index],
            keep_data: false,
        }),
    }
}

/// Adds the volumes of all groups, and their filesystems.
pub(super) fn add_logical_volumes(
    layout: &mut Layout,
    groups: &[Group],
    diagnostics: &mut Diagnostics,
) {
    for group in groups {
        for volume in group.volumes.iter().filter(|volume| volume.size > 0) {
            add_logical_volume(layout, group, volume, diagnostics);
        }
    }
}

fn add_logical_volume(
    layout: &mut Layout,
    group: &Group,
    volume: &LogicalVolume,
    diagnostics: &mut Diagnostics,
) {
    let Some(spec) = logical_volume(&layout.storage, group, volume, diagnostics) else {
        return;
    };
    let on = BlockRef::Logical(layout.storage.next_index());
    layout.storage.logical_volumes.push(spec);
    if let Some(mount) = volume.mount.as_deref().filter(|mount| *mount != "none") {
        let place = Place {
            on,
            path: &volume.path,
            mount: Some(mount),
            kind: volume.file_system.as_deref(),
            default_kind: "xfs",
            kind_key: "file_system",
            label: &volume.label,
        };
        layout.add_filesystem(place, diagnostics);
    }
}

/// A volume that LVM will accept, as far as its names go.
fn logical_volume(
    storage: &Storage,
    group: &Group,
    volume: &LogicalVolume,
    diagnostics: &mut Diagnostics,
) -> Option<LogicalVolumeSpec> {
    let mut groups = storage.volume_groups.iter();
    if !groups.any(|known| known.name == group.name) {
        let name = redacted(&group.name);
        diagnostics.add(
            &volume.path,
            format!("is in the volume group `{name}`, which has no physical volume"),
            "give a disk a `pv` volume with a size for that group, or give this volume size 0",
        );
        return None;
    }
    let size = u64::try_from(volume.size).ok().and_then(Bytes::mib);
    if size.is_none() {
        diagnostics.add(
            format!("{}.size", volume.path),
            "is more than any disk has",
            "give a size in MiB that fits its volume group",
        );
    }
    let spec = LogicalVolumeSpec {
        volume_group: group.name.clone(),
        name: volume.name.clone(),
        size: size?,
        keep_data: false,
    };
    if let Some((why, hint)) = names::bad_new_volume(&spec, &storage.logical_volumes) {
        diagnostics.add(
            format!("{}.name", volume.path),
            format!("`{}` {why}", redacted(&volume.name)),
            hint,
        );
        return None;
    }
    Some(spec)
}
