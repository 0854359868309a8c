//! A look at filesystems that others made, before they are mounted for writing: read-only, the journal left alone.
//!
//! A damaged or hostile filesystem fails here, where nothing was written to it, and by the driver's checks of its
//! superblock and its root folder rather than in the middle of a change.

use std::fs;
use std::path::Path;

use host::mount;

use super::context::{Context, disk_error};
use crate::model::error::{Error, Kind};
use crate::model::index::FilesystemIndex;
use crate::model::plan::PlannedFilesystem;
use crate::model::storage::BlockRef;

/// Looks at the kept filesystems that lie on partitions: before the disks are disarmed, so that a node whose data
/// cannot be kept goes on as it is.
pub fn kept_partitions(context: &mut Context<'_>) -> Result<(), Error> {
    kept(context, |on| matches!(on, BlockRef::Partition { .. }))
}

/// Looks at those in arrays and volume groups. These are not started before the disks are disarmed: starting an array
/// writes to its members, and an unfinished run must not leave one running.
pub(super) fn kept_stacks(context: &mut Context<'_>) -> Result<(), Error> {
    kept(context, |on| !matches!(on, BlockRef::Partition { .. }))
}

fn kept(context: &mut Context<'_>, wanted: impl Fn(BlockRef) -> bool) -> Result<(), Error> {
    if !context.plan.keeps_partitions {
        return Ok(());
    }
    let is_kept = |it: &PlannedFilesystem| it.keep_data && it.image.is_none() && wanted(it.on);
    let kept = context.plan.filesystems();
    let kept: Vec<FilesystemIndex> = kept
        .filter(|(_, filesystem)| is_kept(filesystem))
        .map(|(index, _)| index)
        .collect();
    for index in kept {
        context.check_cancel()?;
        // its type, and that it has a UUID
        context.find_filesystem(index)?;
        let (planned, on_files) = (&context.plan[index], context.on_files());
        let kind = context.plan.kind_of(planned).as_str();
        if on_files || !mount::can_probe(kind) {
            continue;
        }
        let node = context.node(planned.on)?;
        mountable(context, &node, kind, Kind::Refused).map_err(|error| {
            error.hint(format!(
                "nothing was written to it; repair it (`fsck {}`), or drop `keep_data` and lose what is on it",
                node.display()
            ))
        })?;
    }
    Ok(())
}

/// Looks at the filesystem that an image has brought to `node`.
pub(super) fn of_image(context: &mut Context<'_>, node: &Path, kind: &str) -> Result<(), Error> {
    mountable(context, node, kind, Kind::Image).map_err(|error| {
        error.hint(
            "make the image again; a check of its raw form (`xfs_repair -n`) should find nothing",
        )
    })
}

/// `damaged` is the kind of the error where the driver has found that it is damaged.
fn mountable(
    context: &mut Context<'_>,
    node: &Path,
    kind: &str,
    damaged: Kind,
) -> Result<(), Error> {
    let folder = context.options.work.join("probe");
    let made = fs::create_dir_all(&folder);
    let probed =
        made.and_then(|()| mount::probe(context.host.mounts.as_mut(), node, &folder, kind));
    probed.map_err(|source| {
        let is_damaged = matches!(source.raw_os_error(), Some(UCLEAN | INVAL | BADMSG));
        let (path, node) = (node, node.display());
        let (blame, what) = if is_damaged {
            (damaged, format!("the {kind} on {node} is damaged"))
        } else {
            let what = format!("cannot mount the {kind} on {node} read-only to look at it");
            (Kind::Disk, what)
        };
        let mut error = disk_error(what, path)(source);
        if error.kind == Kind::Disk {
            error.kind = blame;
        }
        error
    })
}

/// What the kernel answers where a filesystem contradicts itself, has no superblock that it knows, or a checksum of it
/// is wrong.
const UCLEAN: i32 = 117;
const INVAL: i32 = 22;
const BADMSG: i32 = 74;

#[cfg(test)]
#[path = "tests/probe.rs"]
mod tests;
