//! Logged operations and injected faults of disks in memory.

use std::fmt;
use std::path::PathBuf;

use crate::blockdev::Access;
use crate::units::{Bytes, Extent};

/// Kind of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Opened.
    Open(Access),
    /// Written to.
    Write(Extent),
    /// Zeroed.
    Zero(Extent),
    /// Flushed.
    Flush,
    /// A partition was added to the kernel's list.
    AddPartition(u32, Extent),
    /// A partition was removed from the kernel's list.
    RemovePartition(u32),
    /// The kernel was told to read the partition table.
    ReadTable,
}

/// One operation on a device. Its extents count from the beginning of the device that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The disk or partition.
    pub device: PathBuf,
    /// The operation, with its extent or partition.
    pub what: What,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.display();
        match &self.what {
            What::Open(access) => write!(f, "open {device} {access:?}"),
            What::Write(extent) => {
                write!(f, "write {device} {} at {}", extent.length, extent.start)
            }
            What::Zero(extent) => write!(f, "zero {device} {} at {}", extent.length, extent.start),
            What::Flush => write!(f, "flush {device}"),
            What::AddPartition(number, extent) => {
                write!(
                    f,
                    "add {device} {number} {} at {}",
                    extent.length, extent.start
                )
            }
            What::RemovePartition(number) => write!(f, "remove {device} {number}"),
            What::ReadTable => write!(f, "read table {device}"),
        }
    }
}

/// An injected fault; counts from 0, over all disks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The nth write, or zeroing, fails; nothing of it is written.
    Write(usize),
    /// The nth write, or zeroing, fails after half of it was written.
    HalfWrite(usize),
    /// The nth flush fails; so do all later ones of the same open device.
    Flush(usize),
    /// The nth open fails.
    Open(usize),
    /// Adding the nth partition to the kernel's list fails.
    AddPartition(usize),
    /// The nth partition table that the kernel is to read fails.
    ReadTable(usize),
    /// Reads of this byte of any disk fail.
    ReadAt(Bytes),
}
