//! Mounting and unmounting.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::procfs::parse_mountinfo;
use crate::wait;

/// How long an unmount is retried while the filesystem is busy: a daemon that scans new mounts releases it in a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel follows no link of the filesystem, for no process; `crate::resolve` reads those that have to be
/// followed. Kernels before 5.10 do not know the flag and ignore it; nix does not name it.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(libc::MS_NOSYMFOLLOW);

/// What a mount is for; decides its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountMode {
    /// Read-only.
    ReadOnly,
    /// Read-write.
    Write,
    /// Read-only without replaying the journal, which a read-only mount would do: nothing is written, even if the
    /// filesystem is damaged. Of the types that [`can_probe`] names.
    Probe,
}

/// Mounts and unmounts filesystems.
pub trait Mounts: Send {
    /// Mounts `device`, of filesystem type `kind`, on the existing folder `target`. No program of it is run, no device
    /// node or set-id bit in it is in force, and no link in it is followed.
    fn mount(
        &mut self,
        device: &Path,
        target: &Path,
        kind: &str,
        mode: MountMode,
    ) -> io::Result<()>;
    /// Unmounts `target` after writing everything out.
    fn unmount(&mut self, target: &Path) -> io::Result<()>;
    /// The mounts as (device, target), in the order they were made.
    fn mounted(&self) -> io::Result<Vec<(String, PathBuf)>>;
}

/// The kernel's mounts.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelMounts;

impl Mounts for KernelMounts {
    fn mount(
        &mut self,
        device: &Path,
        target: &Path,
        kind: &str,
        mode: MountMode,
    ) -> io::Result<()> {
        let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | NOSYMFOLLOW;
        if mode != MountMode::Write {
            flags |= MsFlags::MS_RDONLY;
        }
        let options = match mode {
            MountMode::Probe => Some(probe_options(kind).ok_or(io::ErrorKind::Unsupported)?),
            MountMode::ReadOnly | MountMode::Write => None,
        };
        tracing::debug!(device = %device.display(), target = %target.display(), kind, ?mode, "mount");
        // Programs that probed or formatted the device just before may still have it open.
        wait::while_busy(PATIENCE, || {
            mount(Some(device), target, Some(kind), flags, options)
        })
    }

    fn unmount(&mut self, target: &Path) -> io::Result<()> {
        tracing::debug!(target = %target.display(), "unmount");
        // umount writes everything out but does not report a failure to; syncfs does.
        let written = fs::File::open(target)
            .and_then(|root| nix::unistd::syncfs(&root).map_err(io::Error::from));
        // Never lazily: that would return before everything is written, and hide that it is still in use.
        wait::while_busy(PATIENCE, || umount2(target, MntFlags::UMOUNT_NOFOLLOW))?;
        written
    }

    fn mounted(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mounts = parse_mountinfo(&fs::read("/proc/self/mountinfo")?);
        Ok(mounts
            .into_iter()
            .map(|mount| (mount.source.to_string_lossy().into_owned(), mount.target))
            .collect())
    }
}

/// Mount options with which the driver of `kind` leaves the journal alone, empty where it has none to replay; `None` for
/// types of which it is not known.
fn probe_options(kind: &str) -> Option<&'static str> {
    match kind {
        "xfs" => Some("norecovery"),
        "ext3" | "ext4" => Some("noload"),
        "ext2" => Some(""),
        _ => None,
    }
}

/// Whether [`probe`] can be used for filesystems of type `kind`.
pub fn can_probe(kind: &str) -> bool {
    probe_options(kind).is_some()
}

/// Checks that the kernel reads the filesystem on `device`, without writing anything to it: mounts it on the existing
/// folder `target`, lists its root folder and unmounts it.
pub fn probe(mounts: &mut dyn Mounts, device: &Path, target: &Path, kind: &str) -> io::Result<()> {
    mounts.mount(device, target, kind, MountMode::Probe)?;
    let listed =
        fs::read_dir(target).and_then(|mut entries| entries.try_for_each(|entry| entry.map(drop)));
    let unmounted = mounts.unmount(target);
    listed.and(unmounted)
}

/// Moves this process, and the programs that it starts from here on, into a new mount namespace: the kernel unmounts
/// what they leave mounted when the last of them ends. Call it before other threads are started.
pub fn own_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    own_mounts()
}

/// To be called in a new mount namespace: makes all mounts private, so that later mounts are visible to this process
/// and its children only.
pub fn own_mounts() -> io::Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    match mount(None::<&str>, "/", None::<&str>, flags, None::<&str>) {
        // a process in a chroot cannot reach the mount that the chroot lies on
        Err(Errno::EINVAL) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "/ is not a mount point, as in a chroot: before entering it, bind-mount its folder (mount --bind DIR DIR)",
        )),
        other => Ok(other?),
    }
}

/// Unmounts everything below a folder, the last mount first; returns what could not be unmounted, with the errors.
pub fn unmount_below(
    folder: &Path,
    mounts: &mut dyn Mounts,
) -> io::Result<Vec<(PathBuf, io::Error)>> {
    let mounted = mounts.mounted()?;
    let below = mounted.into_iter().rev().map(|(_, target)| target);
    Ok(below
        .filter(|target| target.starts_with(folder))
        .filter_map(|target| {
            let error = mounts.unmount(&target).err()?;
            Some((target, error))
        })
        .collect())
}

/// [`Mounts`] of a run on regular files: mounting is an error, and the machine's mounts are never touched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoMounts;

impl Mounts for NoMounts {
    fn mount(&mut self, device: &Path, _: &Path, _: &str, _: MountMode) -> io::Result<()> {
        let what = format!(
            "{} is part of a file and cannot be mounted",
            device.display()
        );
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }

    fn unmount(&mut self, target: &Path) -> io::Result<()> {
        let what = format!("nothing is mounted at {}", target.display());
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }

    fn mounted(&self) -> io::Result<Vec<(String, PathBuf)>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_root() {
        let mounts = KernelMounts.mounted().unwrap();
        assert!(mounts.iter().any(|(_, target)| target == Path::new("/")));
    }
}
