//! The interfaces of this crate without a machine, for tests.
//!
//! Each fake is a handle: clones share one state, so that a test moves one into a [`crate::Host`] and inspects another
//! afterwards.

mod disk;
mod memory;
mod mounts;
mod script;
mod skip;

pub use disk::{FakeDevices, Fault, Operation, What};
pub use mounts::FakeMounts;
pub use script::Script;
pub use skip::skipped;

use std::fs::File;

use crate::Host;
use crate::blockdev::DirectWriter;
use crate::cancel::Cancel;
use crate::efivars::Variables;
use crate::units::{Bytes, Extent};

/// A host of fakes without EFI variables; a test that needs some sets `variables` to a folder.
pub fn host(exec: &Script, devices: &FakeDevices, mounts: &FakeMounts) -> Host {
    Host {
        exec: Box::new(exec.clone()),
        devices: Box::new(devices.clone()),
        mounts: Box::new(mounts.clone()),
        next_kernel: Box::new(crate::power::NoKexec),
        variables: Variables::none(),
        cancel: Cancel::new(),
    }
}

/// A [`DirectWriter`] on the part of `file` from `start`, without direct I/O: any alignment is accepted.
///
/// # Panics
///
/// If the descriptor cannot be duplicated.
#[expect(clippy::expect_used, reason = "a fake for tests")]
pub fn direct(file: &File, start: Bytes, length: Bytes) -> DirectWriter {
    let file = file.try_clone().expect("an open file");
    DirectWriter::new(file, Extent { start, length })
}
