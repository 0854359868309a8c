//! The end of a run that ends the machine.

use std::convert::Infallible;
use std::io;

use nix::sys::reboot::{RebootMode, reboot};

/// What happens to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// It starts again.
    Reboot,
    /// It goes off.
    PowerOff,
}

/// Writes out what is left in the page cache, then does it. Returns only where the kernel refuses.
///
/// This is the kernel's own reboot, right for a ramdisk whose init has nothing to stop: nothing is asked to end.
pub fn end_machine(action: PowerAction) -> io::Result<Infallible> {
    nix::unistd::sync();
    let mode = match action {
        PowerAction::Reboot => RebootMode::RB_AUTOBOOT,
        PowerAction::PowerOff => RebootMode::RB_POWER_OFF,
    };
    Ok(reboot(mode)?)
}
