//! All access to the machine: programs, block devices, ioctls, mounts, and the units they are counted in.
//!
//! ```text
//!   units      amounts of disk: Bytes, KernelSectors, Extent           pure
//!   exec       Program, Cmd, trait Exec, System: every program that is started
//!   blockdev   trait BlockDevice and Devices: real devices, or regular files standing for disks
//!   partition_table  GPT and MBR, read and written
//!   efivars    the EFI variables of a UEFI node: its boot list
//!   ioctl      the kernel calls that need `unsafe`, one family a file
//!   mount      trait Mounts: mount and unmount, undone in reverse
//!   procfs     mounts and swap as the kernel lists them
//!   move_tree  moves files to another filesystem, with all their metadata
//!   extract    the entries of an archive, unpacked, confined to its root
//!   nonblocking  writing to FIFOs, consoles and pipes within a time limit
//!   terminal   the width of the terminal
//!   remove_tree  removes a folder, but never what is mounted in it
//!   lock       one agent at a time; a disk whose table is being changed
//!   power      reboot, power off, and the kernel that starts without the firmware
//!   beneath    one file below a folder, whose path is not trusted
//!   tree       files of a system that is not running, confined to its root
//!   resolve    paths in a tree that is not trusted, links included
//!   calendar   dates in UTC                                       pure
//!   wait       waiting for a condition within a time limit
//!   cancel     a flag that SIGTERM sets and every long loop polls
//!   error      how an error is printed: on lines, or on one line
//!   printable  escapes foreign text for printing
//!   fake       the same interfaces without a machine, for tests
//! ```
//!
//! No decisions are made here. No other crate starts a program, opens a device or mounts.

pub mod beneath;
pub mod blockdev;
pub mod calendar;
pub mod cancel;
pub mod efivars;
pub mod error;
pub mod exec;
pub mod extract;
pub mod ioctl;
pub mod lock;
pub mod mount;
pub mod move_tree;
pub mod nonblocking;
pub mod partition_table;
pub mod power;
pub mod printable;
pub mod procfs;
pub mod remove_tree;
mod resolve;
pub mod terminal;
pub mod tree;
pub mod units;
pub mod wait;

#[cfg(any(test, feature = "fake"))]
pub mod fake;

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Everything that can change a machine, behind traits.
///
/// Planning, validation and dry runs never hold one.
pub struct Host {
    /// Starts programs.
    pub exec: Box<dyn exec::Exec>,
    /// Opens disks and partitions, and updates the kernel's list of partitions.
    pub devices: Box<dyn blockdev::Devices>,
    /// Mounts and unmounts.
    pub mounts: Box<dyn mount::Mounts>,
    /// Loads the kernel that is started next.
    pub next_kernel: Box<dyn power::NextKernel>,
    /// The firmware's variables; none on a BIOS node.
    pub variables: efivars::Variables,
    /// Set by SIGTERM; long work polls it and stops.
    pub cancel: cancel::Cancel,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    /// This machine. Programs are [confined](exec::System::confined).
    pub fn real(cancel: cancel::Cancel) -> Self {
        Self {
            exec: Box::new(exec::System::new(cancel.clone()).confined()),
            devices: Box::new(blockdev::NodeDevices::new()),
            mounts: Box::new(mount::KernelMounts),
            next_kernel: Box::new(power::Kexec),
            variables: efivars::Variables::real(),
            cancel,
        }
    }

    /// Regular files that stand for disks: (name of the disk, file, size to extend it to). This machine's disks and
    /// mounts cannot be reached through it, and programs that act on devices are refused.
    pub fn on_files(
        disks: Vec<(String, PathBuf, Option<units::Bytes>)>,
        cancel: cancel::Cancel,
    ) -> io::Result<Self> {
        let mut devices = blockdev::FileDevices::new();
        for (name, file, size) in disks {
            devices.add(&name, &file, size)?;
        }
        Ok(Self {
            exec: Box::new(exec::FileOnlyExec(
                exec::System::new(cancel.clone()).confined(),
            )),
            devices: Box::new(devices),
            mounts: Box::new(mount::NoMounts),
            next_kernel: Box::new(power::NoKexec),
            variables: efivars::Variables::none(),
            cancel,
        })
    }
}
