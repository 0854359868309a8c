//! Moving what an image has under a mount point into the filesystem that is mounted there.

use std::io;
use std::path::{Path, PathBuf};

use host::mount::MountMode;
use host::moving;

use super::raid::{on_file, skipped};
use super::{Context, Outcome, table, target};
use crate::error::{Error, Kind};

/// Moves the tree under `path` of one filesystem into another, with everything that belongs to a file. The folder itself
/// stays: it is the mount point.
pub(super) fn relocate(
    context: &mut Context<'_>,
    from: usize,
    to: usize,
    path: &str,
) -> Result<Outcome, Error> {
    let parts = [
        context.plan.filesystems[from].on,
        context.plan.filesystems[to].on,
    ];
    if on_file(context, &parts) {
        return Ok(skipped("moving files into a filesystem of their own"));
    }
    let (source, goal) = (
        context.options.work.join("from"),
        context.options.work.join("to"),
    );
    mount(context, from, &source)?;
    let moved = mount(context, to, &goal).and_then(|()| {
        let moved = move_tree(&source, &goal, path);
        unmount(context, &goal).and(moved)
    });
    unmount(context, &source).and(moved)
}

fn mount(context: &mut Context<'_>, filesystem: usize, point: &Path) -> Result<(), Error> {
    target::make_folder(point)?;
    let node: PathBuf = context.node(context.plan.filesystems[filesystem].on)?;
    let kind = super::fstab::kind(context.plan, &context.plan.filesystems[filesystem]).to_owned();
    let mounted = context
        .host
        .mounts
        .mount(&node, point, &kind, MountMode::Write);
    mounted.map_err(|source| table::failed("mount", &node, source))
}

fn unmount(context: &mut Context<'_>, point: &Path) -> Result<(), Error> {
    context
        .host
        .mounts
        .unmount(point)
        .map_err(|source| table::failed("unmount", point, source))
}

fn move_tree(source: &Path, goal: &Path, path: &str) -> Result<Outcome, Error> {
    let failed = |source: std::io::Error| {
        Error::new(
            Kind::Disk,
            format!("cannot move /{path} of the image into its own filesystem"),
        )
        .because(source)
    };
    let Some(folder) = plain_folder(source, path).map_err(failed)? else {
        return Ok(Outcome::Unchanged);
    };
    if folder.symlink_metadata().map_err(failed)?.is_dir() {
        moving::move_content(&folder, goal).map_err(failed)?;
        return Ok(Outcome::Changed);
    }
    let what = format!("/{path} of the image is no folder, but something is to be mounted there");
    Err(Error::new(Kind::Image, what))
}

/// Where `path` is below `root`, if it is there. Links on the way are not followed: an absolute one would lead out of the
/// image, into our own system.
fn plain_folder(root: &Path, path: &str) -> io::Result<Option<PathBuf>> {
    let mut at = root.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at.push(part);
        match at.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                return Err(io::Error::other(format!(
                    "{} is a symbolic link",
                    at.display()
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_the_way_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("real/var")).unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("var")).unwrap();
        assert!(plain_folder(root.path(), "var/log").is_err());
        assert_eq!(plain_folder(root.path(), "srv").unwrap(), None);
        assert_eq!(
            plain_folder(root.path(), "real/var").unwrap(),
            Some(root.path().join("real/var"))
        );
    }
}
