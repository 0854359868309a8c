//! The installed system's tree, mounted for writing files into it.

use std::path::{Path, PathBuf};

use host::mount::MountMode;

use super::raid::on_file;
use super::{Context, table};
use crate::error::{Error, Kind};
use crate::request::spec::Mount;

/// The installed system's filesystems, mounted below one folder in the order of their depth.
#[derive(Debug)]
pub struct Target {
    /// Where `/` of the installed system is now.
    pub root: PathBuf,
    /// Mount points below it, in the order they were mounted; unmounted in reverse.
    pub mounts: Vec<PathBuf>,
}

/// Filesystems with a path, the shallowest first: indexes into the plan.
pub(super) fn by_depth(context: &Context<'_>) -> Vec<(usize, String)> {
    let paths = context
        .plan
        .filesystems
        .iter()
        .enumerate()
        .filter_map(|(index, filesystem)| match &filesystem.mount {
            Some(Mount::Path(path)) => Some((index, path.clone())),
            _ => None,
        });
    let mut paths: Vec<(usize, String)> = paths.collect();
    paths.sort_by_key(|(_, path)| {
        (
            path.split('/').filter(|part| !part.is_empty()).count(),
            path.clone(),
        )
    });
    paths
}

/// Whether anything of the tree lies in a regular file, which cannot be mounted.
pub(super) fn in_files(context: &Context<'_>) -> bool {
    let parts: Vec<_> = context
        .plan
        .filesystems
        .iter()
        .map(|filesystem| filesystem.on)
        .collect();
    on_file(context, &parts)
}

/// Mounts the tree unless it is; on files that stand for disks there is none.
pub(super) fn ensure(context: &mut Context<'_>, mode: MountMode) -> Result<(), Error> {
    if context.state.target.is_some() || in_files(context) {
        return Ok(());
    }
    let root = context.options.work.join("target");
    make_folder(&root)?;
    let mut mounts: Vec<PathBuf> = Vec::new();
    for (index, path) in by_depth(context) {
        let point = point(&root, &path);
        if mode == MountMode::Write && path != "/" {
            make_point(&root, &path)?;
        }
        let node = context.node(context.plan.filesystems[index].on)?;
        let kind = super::fstab::kind(context.plan, &context.plan.filesystems[index]).to_owned();
        let mounted = context.host.mounts.mount(&node, &point, &kind, mode);
        if let Err(source) = mounted {
            unmount(context, &mounts)?;
            return Err(table::failed(&format!("mount {path} from"), &node, source));
        }
        mounts.push(point);
    }
    context.state.target = Some(Target { root, mounts });
    Ok(())
}

/// Where a path of the installed system is below `root`.
fn point(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Makes a mount point inside the tree, without leaving it.
fn make_point(root: &Path, path: &str) -> Result<(), Error> {
    let made = host::tree::Tree::open(root)
        .and_then(|tree| tree.make_folder(path.trim_start_matches('/'), 0o755));
    made.map_err(|source| {
        Error::new(Kind::Disk, format!("cannot make the mount point {path}")).because(source)
    })
}

pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| {
        Error::new(Kind::Internal, format!("cannot make {}", path.display())).because(source)
    })
}

/// Unmounts the tree, if it is mounted; all of it is on the disks when this returns.
pub(super) fn release(context: &mut Context<'_>) -> Result<(), Error> {
    match context.state.target.take() {
        Some(target) => unmount(context, &target.mounts),
        None => Ok(()),
    }
}

fn unmount(context: &mut Context<'_>, mounts: &[PathBuf]) -> Result<(), Error> {
    for point in mounts.iter().rev() {
        context
            .host
            .mounts
            .unmount(point)
            .map_err(|source| table::failed("unmount", point, source))?;
    }
    Ok(())
}
