//! The installed system's tree, mounted for writing files into it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use host::mount::MountMode;
use host::tree::Tree;

use super::context::{Context, Target, disk_error};
use super::outcome::Outcome;
use crate::model::error::{Error, Kind};
use crate::model::index::FilesystemIndex;
use crate::model::plan::Plan;
use crate::model::storage::Mount;

/// Why nothing is written into the installed system where disks are files.
pub(super) const ON_FILES: &str = "mounting its filesystems needs a block device";

/// Performs a step that writes files into the installed system: mounts it before the first of them.
pub(super) fn within(
    context: &mut Context<'_>,
    step: impl FnOnce(&mut Context<'_>) -> Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    context.target()?;
    step(context)
}

impl Context<'_> {
    /// Where `/` of the installed system is, mounted for writing; on first use everything is mounted, and the UUIDs of
    /// all filesystems are known from then on.
    pub fn target(&mut self) -> Result<PathBuf, Error> {
        if let Some(target) = &self.state.target {
            return Ok(target.root.clone());
        }
        for (filesystem, _) in self.plan.filesystems() {
            self.filesystem_uuid(filesystem)?;
        }
        self.mount_target(MountMode::Write)
    }

    /// Mounts the tree; after an error nothing of it is left mounted.
    pub(super) fn mount_target(&mut self, mode: MountMode) -> Result<PathBuf, Error> {
        let root = self.options.work.join("target");
        fs::create_dir_all(&root).map_err(|source| {
            let what = format!("cannot make the folder {}", root.display());
            Error::new(Kind::Internal, what).because(source)
        })?;
        self.state.target = Some(Target {
            root: root.clone(),
            mounts: Vec::new(),
        });
        for filesystem in by_depth(self.plan)? {
            if let Err(error) = self.mount_one(filesystem, &root, mode) {
                // The first error is the one that is reported; the clean-up of the run finds what stays mounted.
                let _ = self.unmount_target();
                self.state.target = None;
                return Err(error);
            }
        }
        Ok(root)
    }

    fn mount_one(
        &mut self,
        filesystem: FilesystemIndex,
        root: &Path,
        mode: MountMode,
    ) -> Result<(), Error> {
        let planned = &self.plan[filesystem];
        let Some(Mount::Path(path)) = &planned.mount else {
            return Ok(());
        };
        let node = self.node(planned.on)?;
        let what = || format!("cannot mount {} for {path}", node.display());
        let failed = |source: io::Error| disk_error(what(), &node)(source);
        let at = if path.trim_matches('/').is_empty() {
            root.to_owned()
        } else {
            mount_point(root, path, mode).map_err(failed)?
        };
        let kind = self.plan.kind_of(planned).as_str();
        let mounted = self.host.mounts.mount(&node, &at, kind, mode);
        mounted.map_err(|source| {
            disk_error(what(), &node)(source).hint("see `dmesg` for the kernel's reason")
        })?;
        if let Some(target) = &mut self.state.target {
            target.mounts.push(at);
        }
        Ok(())
    }

    /// Mounts one filesystem by itself, at a folder of that name, for a purpose that the error names:
    /// `cannot mount NODE to PURPOSE`.
    pub(super) fn mount_alone(
        &mut self,
        filesystem: FilesystemIndex,
        name: &str,
        purpose: &str,
    ) -> Result<PathBuf, Error> {
        let planned = &self.plan[filesystem];
        let node = self.node(planned.on)?;
        let folder = self.options.work.join(name);
        let what = format!("cannot mount {} to {purpose}", node.display());
        let made = fs::create_dir_all(&folder);
        let kind = self.plan.kind_of(planned).as_str();
        let mounted = made.and_then(|()| {
            let mounts = &mut self.host.mounts;
            mounts.mount(&node, &folder, kind, MountMode::Write)
        });
        mounted.map_err(disk_error(what, &node))?;
        Ok(folder)
    }

    /// Unmounts what was mounted by itself.
    pub(super) fn unmount_alone(&mut self, folder: &Path) -> Result<(), Error> {
        self.host.mounts.unmount(folder).map_err(|source| {
            let what = format!("cannot unmount {}", folder.display());
            Error::new(Kind::Disk, what).because(source)
        })
    }

    /// Unmounts the tree, the last first. What cannot be unmounted stays on the list.
    pub fn unmount_target(&mut self) -> Result<(), Error> {
        let Some(target) = &mut self.state.target else {
            return Ok(());
        };
        while let Some(at) = target.mounts.last() {
            self.host.mounts.unmount(at).map_err(|source| {
                let what = format!("cannot unmount {}", at.display());
                Error::new(Kind::Disk, what).because(source)
            })?;
            target.mounts.pop();
        }
        self.state.target = None;
        Ok(())
    }
}

/// The filesystems with a mount point, `/` first, each after those above it.
fn by_depth(plan: &Plan) -> Result<Vec<FilesystemIndex>, Error> {
    let mut mounted: Vec<(Vec<&str>, FilesystemIndex)> = Vec::new();
    for (index, filesystem) in plan.filesystems() {
        if let Some(Mount::Path(path)) = &filesystem.mount {
            let names = path.split('/').filter(|name| !name.is_empty()).collect();
            mounted.push((names, index));
        }
    }
    mounted.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    match mounted.first() {
        Some((names, _)) if names.is_empty() => {
            Ok(mounted.into_iter().map(|(_, index)| index).collect())
        }
        _ => {
            let what = "no filesystem is mounted on /: the system cannot be configured";
            Err(Error::new(Kind::Request, what))
        }
    }
}

/// The folder that `path` is in the installed system, made where it is missing and may be: links lead where they will
/// lead there, so never out of it.
fn mount_point(root: &Path, path: &str, mode: MountMode) -> io::Result<PathBuf> {
    let tree = Tree::open(root)?;
    if mode == MountMode::Write {
        tree.make_folder(path, default_mode(path))?;
    }
    tree.real_path(path)
}

/// How a mount point is made that the image has not.
pub(super) fn default_mode(path: &str) -> u32 {
    match path.trim_end_matches('/') {
        "/tmp" | "/var/tmp" => 0o1777,
        "/root" => 0o700,
        _ => 0o755,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::index::DiskIndex;
    use crate::model::step::{Configure, Step};
    use crate::model::storage::BlockRef;
    use crate::testing::step_harness::StepHarness;

    fn partition(number: u32) -> BlockRef {
        BlockRef::Partition {
            disk: DiskIndex(0),
            number,
        }
    }

    fn harness() -> StepHarness {
        let mut harness = StepHarness::new();
        let mut log = harness.plan.filesystems[0].clone();
        log.mount = Some(Mount::Path("/var/log".to_owned()));
        log.on = partition(2);
        let mut var = log.clone();
        var.mount = Some(Mount::Path("/var".to_owned()));
        var.on = partition(5);
        harness.plan.filesystems.extend([log, var]);
        let filesystems = harness.plan.filesystems();
        harness.state.filesystem_uuids = filesystems
            .map(|(filesystem, _)| (filesystem, "0-1".to_owned()))
            .collect();
        harness
    }

    /// Stands for any step that writes into the tree: it needs a node's facts, and those are not given.
    fn mounts(harness: &mut StepHarness) -> (String, Option<Error>) {
        let error = harness.one(&Step::Configure(Configure::Fstab)).err();
        let folder = harness.work.path().display().to_string();
        (harness.mounts.transcript().replace(&folder, "WORK"), error)
    }

    #[test]
    fn the_tree_is_mounted_by_depth() {
        let (transcript, error) = mounts(&mut harness());
        assert!(error.is_none(), "{error:?}");
        insta::assert_snapshot!(transcript, @"
        mount -t ext4 -o rw /dev/mapper/os-root WORK/target
        mount -t ext2 -o rw /dev/sda3 WORK/target/boot
        mount -t ext2 -o rw /dev/sda5 WORK/target/var
        mount -t ext2 -o rw /dev/sda2 WORK/target/var/log
        ");
    }

    #[test]
    fn a_mount_that_fails_takes_the_others_back() {
        for n in 0..4 {
            let mut harness = harness();
            harness.mounts = harness.mounts.failing_at(n);
            let (transcript, error) = mounts(&mut harness);
            assert_eq!(error.unwrap().kind, Kind::Disk);
            let count = |word: &str| transcript.lines().filter(|l| l.starts_with(word)).count();
            assert_eq!(
                (count("mount"), count("umount")),
                (n + 1, n),
                "{transcript}"
            );
            assert!(harness.state.target.is_none());
        }
    }

    #[test]
    fn without_a_root_there_is_nothing_to_mount() {
        let mut harness = harness();
        harness.plan.filesystems.remove(1);
        let (transcript, error) = mounts(&mut harness);
        assert_eq!(
            (transcript.as_str(), error.unwrap().kind),
            ("", Kind::Request)
        );
    }

    #[test]
    fn a_link_in_the_image_does_not_lead_a_mount_out_of_it() {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("target");
        fs::create_dir_all(root.join("run")).unwrap();
        fs::create_dir_all(work.path().join("outside")).unwrap();
        for (link, to) in [("var", "../outside"), ("lock", "/run")] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let at = |path| mount_point(&root, path, MountMode::Write);
        assert_eq!(
            at("/lock").unwrap(),
            root.join("run").canonicalize().unwrap()
        );
        assert!(
            at("/var").is_err(),
            "leads to a folder that the tree does not have"
        );
        assert_eq!(
            fs::read_dir(work.path().join("outside")).unwrap().count(),
            0
        );
    }

    #[test]
    fn temporary_folders_are_for_everybody() {
        assert_eq!(default_mode("/tmp"), 0o1777);
        assert_eq!(default_mode("/var/tmp/"), 0o1777);
        assert_eq!(default_mode("/srv"), 0o755);
    }
}
