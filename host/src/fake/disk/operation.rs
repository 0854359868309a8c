//! What is done to disks in memory, and where it goes wrong.

use std::fmt;
use std::path::PathBuf;

use crate::blockdev::Access;
use crate::units::{Bytes, Extent};

/// What was done to a device.
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
    /// The kernel was told of a partition.
    AddPartition(u32, Extent),
    /// The kernel was told to forget a partition.
    RemovePartition(u32),
}

/// One thing that was done, and to what: extents count from the beginning of the device that was opened.
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
        }
    }
}

/// Where something goes wrong; all counts from 0 and over all disks together.
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
    /// The nth partition told to the kernel fails.
    AddPartition(usize),
    /// Reads of this byte of any disk fail.
    ReadAt(Bytes),
}
