//! The same doors without a machine: for tests of those who go through them.
//!
//! Each fake is a handle: clones share one state, so that a test gives one away inside a [`crate::Host`] and looks at
//! its own afterwards.

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

/// A host of fakes, whose firmware keeps no variables; a test that wants some gives it a folder of its own.
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

/// The part of `file` from `start`, as if it were open for direct I/O: alignments are not asked for.
///
/// # Panics
///
/// Where the file cannot be opened a second time.
#[expect(clippy::expect_used, reason = "a fake for tests")]
pub fn direct(file: &File, start: Bytes, length: Bytes) -> DirectWriter {
    let file = file.try_clone().expect("an open file");
    DirectWriter::new(file, Extent { start, length })
}
