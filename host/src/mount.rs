//! Mounting and unmounting.

use std::io;
use std::path::Path;

/// What a mount is for; decides its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountMode {
    /// Looking only.
    ReadOnly,
    /// Writing; never `exec`, `suid` or `dev`: nothing of an image is run.
    Write,
}

/// Mounts and unmounts filesystems.
pub trait Mounts: Send {
    /// Mounts `device` of filesystem type `kind` at the existing folder `target`.
    fn mount(
        &mut self,
        device: &Path,
        target: &Path,
        kind: &str,
        mode: MountMode,
    ) -> io::Result<()>;
    /// Unmounts `target`, waiting until all of it is written.
    fn unmount(&mut self, target: &Path) -> io::Result<()>;
    /// What is mounted now, as (device, target), in the order it was mounted.
    fn mounted(&self) -> io::Result<Vec<(String, std::path::PathBuf)>>;
}
