//! Filesystems and swap: what is made where, and what their makers would refuse half way.

use host::units::Bytes;

use crate::model::error::Kind;
use crate::model::storage::{BlockRef, FilesystemSpec, Mount, Storage};

use super::diagnostics::Diagnostics;
use super::{Ids, PlanError, boot, format};
use crate::model::plan::{Plan, PlannedFilesystem};

/// Types that can be made and grown.
const KNOWN: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "swap"];
/// `mkfs.xfs` of xfsprogs 5.19 and newer refuses less.
const LEAST_XFS: Bytes = Bytes(300 << 20);
/// Least room in which mkfs and mkswap make anything of use.
const LEAST: Bytes = Bytes::MIB;

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

/// What is odd about them, once it is known which of them come with an image.
pub(super) fn sane(plan: &Plan, specs: &[FilesystemSpec], diagnostics: &mut Diagnostics) {
    for (index, filesystem) in plan.filesystems.iter().enumerate() {
        let (device, kind) = (&filesystem.device, filesystem.kind.as_str());
        if !KNOWN.contains(&kind) {
            diagnostics.refuse_run(
                Kind::Request,
                format!("{device} asks for a filesystem of type `{kind}`"),
                format!("ask for one of {}", KNOWN.join(", ")),
            );
        }
        let is_swap = kind == "swap";
        if is_swap != matches!(filesystem.mount, Some(Mount::Swap))
            && (is_swap || filesystem.mount.is_some())
        {
            diagnostics.refuse_run(
                Kind::Request,
                format!(
                    "{device} of type `{kind}` has the mount point `{}`",
                    filesystem.mount.as_ref().map_or("none", Mount::as_str)
                ),
                "give `swap` as type and as mount point, or as neither",
            );
        }
        let twin = plan.filesystems[..index].iter().find(|other| {
            matches!(filesystem.mount, Some(Mount::Path(_))) && other.mount == filesystem.mount
        });
        if let Some(twin) = twin {
            diagnostics.refuse_run(
                Kind::Request,
                format!(
                    "{} and {device} are both mounted on {}",
                    twin.device,
                    format::purpose(filesystem.mount.as_ref())
                ),
                "give each its own mount point",
            );
        }
        if let Some(Mount::Path(path)) = &filesystem.mount {
            mount_point(device, path, diagnostics);
        }
        if plan.is_made(filesystem) && plan.size_of(filesystem.on).is_some() {
            room(filesystem, &specs[index], diagnostics);
        }
    }
}

fn mount_point(device: &str, path: &str, diagnostics: &mut Diagnostics) {
    let odd = path.split('/').any(|part| part == "." || part == "..")
        || path.contains("//")
        || path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    let trailing = path.len() > 1 && path.ends_with('/');
    if odd || trailing || !path.starts_with('/') {
        diagnostics.refuse_run(
            Kind::Request,
            format!(
                "the mount point `{}` of {device} is not a plain absolute path",
                path.escape_debug()
            ),
            "write it like /var/log: no `..`, no spaces, no slash at the end",
        );
    }
}

fn room(filesystem: &PlannedFilesystem, spec: &FilesystemSpec, diagnostics: &mut Diagnostics) {
    let least = if spec.kind == "xfs" { LEAST_XFS } else { LEAST };
    if filesystem.size < least {
        diagnostics.refuse_run(
            Kind::Request,
            format!(
                "{} has {}, too little for {}",
                filesystem.device, filesystem.size, spec.kind
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
        filesystems.any(|filesystem| filesystem.on == on && filesystem.kind == "vfat")
    };
    uses.extend(
        boot::targets(plan)
            .filter(|on| !is_esp(*on))
            .map(|on| (on, "place for boot code".to_owned())),
    );
    for (index, (on, purpose)) in uses.iter().enumerate() {
        if is_nowhere(plan, *on) {
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

/// A reference that leads to nothing at all.
fn is_nowhere(plan: &Plan, on: BlockRef) -> bool {
    match on {
        BlockRef::Partition { disk, number } => plan.partition(disk, number).is_none(),
        BlockRef::Raid(raid) => raid >= plan.raids.len(),
        BlockRef::Logical(volume) => volume >= plan.logical_volumes.len(),
        BlockRef::Undefined(index) => index >= plan.undefined.len(),
    }
}
