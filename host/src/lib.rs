//! The one door to the machine: programs, block devices, ioctls, mounts, and the units they are counted in.
//!
//! ```text
//!   units      amounts of disk: Bytes, KernelSectors, Extent           pure
//!   exec       Tool, Cmd, trait Exec, System: every program we start
//!   blockdev   trait BlockDevice and Devices: real nodes, or regular files standing for disks
//!   ioctl      the kernel calls that need `unsafe`, one family a file
//!   mount      trait Mounts: mount and unmount, undone in reverse
//!   tree       files of a system that is not running, confined to its root
//!   settle     waiting for a condition, bounded, never a bare sleep
//!   cancel     a flag that SIGTERM sets and every long loop asks
//!   fake       the same doors without a machine, for tests
//! ```
//!
//! Nothing here decides anything; nothing elsewhere starts a program, opens a device or mounts.

pub mod blockdev;
pub mod cancel;
pub mod exec;
pub mod ioctl;
pub mod mount;
pub mod settle;
pub mod tree;
pub mod units;

#[cfg(any(test, feature = "fake"))]
pub mod fake;

use std::fmt;

/// Everything that can change a machine, behind traits, handed to those who may.
///
/// Planning, validation and dry runs never hold one.
pub struct Host {
    /// Starts programs.
    pub exec: Box<dyn exec::Exec>,
    /// Opens disks and partitions, and tells the kernel about partitions.
    pub devices: Box<dyn blockdev::Devices>,
    /// Mounts and unmounts.
    pub mounts: Box<dyn mount::Mounts>,
    /// Set by SIGTERM; long work asks it and stops.
    pub cancel: cancel::Cancel,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
