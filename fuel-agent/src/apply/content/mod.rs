//! Moving what an image has under a mount point into the filesystem that is mounted there.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use host::move_tree;
use host::tree::Tree;

use super::context::Context;
use super::outcome::Outcome;
use super::target::{ON_FILES, default_mode};
use crate::model::error::{Error, Kind};
use crate::model::index::FilesystemIndex;
use crate::model::storage::Mount;

/// What the filesystems are mounted for.
const PURPOSE: &str = "move content";

/// Moves the tree under `path` of one filesystem into another, with everything that belongs to a file. The folder
/// itself stays: it is the mount point.
pub(super) fn relocate(
    context: &mut Context<'_>,
    from: FilesystemIndex,
    to: FilesystemIndex,
    path: &str,
) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    context.check_cancel()?;
    let source = context.mount_alone(from, "content-from", PURPOSE)?;
    let goal = context.mount_alone(to, "content-to", PURPOSE);
    let moved = goal.and_then(|goal| {
        let moved = move_tree(context, &source, &goal, to, path);
        let unmounted = context.unmount_alone(&goal);
        moved.and_then(|outcome| unmounted.map(|()| outcome))
    });
    // The first error is the one that is reported.
    let unmounted = context.unmount_alone(&source);
    moved.and_then(|outcome| unmounted.map(|()| outcome))
}

fn move_tree(
    context: &Context<'_>,
    source: &Path,
    goal: &Path,
    to: FilesystemIndex,
    path: &str,
) -> Result<Outcome, Error> {
    let planned = &context.plan[to];
    let mount = planned.mount.as_ref().map_or("", Mount::as_str);
    let failed = |source: io::Error| {
        let (kind, hint) = match source.kind() {
            io::ErrorKind::StorageFull => (
                Kind::Request,
                Some("make that volume larger: what the image has there does not fit"),
            ),
            io::ErrorKind::QuotaExceeded => (
                Kind::Image,
                Some("make the image with fewer hard links there, or leave that mount point out"),
            ),
            _ => (Kind::Disk, None),
        };
        let what = format!(
            "cannot move what the image has in {mount} to {}",
            planned.device
        );
        let error = Error::new(kind, what)
            .device(&planned.device)
            .because(source);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    };
    if let Some(folder) = folder(source, path).map_err(failed)? {
        move_tree::move_content(&folder, goal).map_err(failed)?;
    } else {
        let mode = fs::Permissions::from_mode(default_mode(mount));
        fs::set_permissions(goal, mode).map_err(failed)?;
    }
    Ok(Outcome::Changed)
}

/// Where the folder `path` of the image really is, if it is there: links lead where they will lead in the installed
/// system, which is where it will mount, and never into ours.
fn folder(root: &Path, path: &str) -> io::Result<Option<PathBuf>> {
    match Tree::open(root)?.real_path(path) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
