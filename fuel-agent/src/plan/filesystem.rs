//! Filesystems and swap: what is made where, and what their makers would refuse half way.

use host::units::Bytes;

use crate::model::error::Kind;
use crate::model::storage::{BlockRef, Storage};

use super::diagnostics::Diagnostics;
use super::{Ids, PlanError, boot};
use crate::model::plan::{Plan, PlannedFilesystem};

/// Plans filesystems in the order of the request.
pub(super) fn filesystems(storage: &Storage, ids: &mut dyn Ids, plan: &mut Plan) {
    for spec in &storage.filesystems {
        let planned = PlannedFilesystem {
            on: spec.on,
            device: plan.node_of(spec.on),
            size: plan.size_of(spec.on).unwrap_or_default(),
            mount: spec.mount.clone(),
            kind: spec.kind.clone(),
            label: spec.label.clone(),
            options: spec.options.clone(),
            uuid: ids.uuid(),
            keep_data: spec.keep_data,
            image: None,
        };
        plan.filesystems.push(planned);
    }
}

/// Whether what is made has the room that its `mkfs` needs, once it is known which of them come with an image.
pub(super) fn sane(plan: &Plan, diagnostics: &mut Diagnostics) {
    for filesystem in &plan.filesystems {
        if plan.is_made(filesystem) && plan.size_of(filesystem.on).is_some() {
            room(filesystem, diagnostics);
        }
    }
}

fn room(filesystem: &PlannedFilesystem, diagnostics: &mut Diagnostics) {
    let known = filesystem.kind.capabilities();
    let least = known.map_or(Bytes::ZERO, |known| known.least);
    if filesystem.size < least {
        diagnostics.refuse_run(
            Kind::Request,
            format!(
                "{} has {}, too little for {}",
                filesystem.device, filesystem.size, filesystem.kind
            ),
            format!("give it at least {least}, or another type"),
        );
    }
}

/// Everything that is made on something else: each thing may bear one.
pub(super) fn used_once(plan: &Plan, diagnostics: &mut Diagnostics) {
    let mut uses: Vec<(BlockRef, String)> = Vec::new();
    for raid in &plan.raids {
        for member in raid.members.iter().chain(&raid.spares) {
            uses.push((*member, format!("member of {}", raid.device)));
        }
    }
    for volume in &plan.physical_volumes {
        uses.push((volume.on, "physical volume".to_owned()));
    }
    for filesystem in &plan.filesystems {
        let purpose = match &filesystem.mount {
            Some(mount) => format!("filesystem for {}", mount.as_str()),
            None => "filesystem without mount point".to_owned(),
        };
        uses.push((filesystem.on, purpose));
    }
    if let Some(on) = plan.configdrive {
        uses.push((on, "configdrive".to_owned()));
    }
    let is_esp = |on: BlockRef| {
        let mut filesystems = plan.filesystems.iter();
        filesystems.any(|filesystem| filesystem.on == on && filesystem.kind.as_str() == "vfat")
    };
    uses.extend(
        boot::targets(plan)
            .filter(|on| !is_esp(*on))
            .map(|on| (on, "place for boot code".to_owned())),
    );
    for (index, (on, purpose)) in uses.iter().enumerate() {
        if let BlockRef::Partition { disk, number } = *on
            && plan.partition(disk, number).is_none()
        {
            diagnostics.error(PlanError::Dangling {
                what: purpose.clone(),
                target: plan.node_of(*on),
            });
        }
        if let Some((_, first)) = uses[..index].iter().find(|(other, _)| other == on) {
            diagnostics.error(PlanError::UsedTwice {
                device: plan.node_of(*on),
                first: first.clone(),
                second: purpose.clone(),
            });
        }
    }
}
