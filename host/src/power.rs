//! The end of a run that ends the machine, and the kernel that may start without the firmware in between.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::reboot::{RebootMode, reboot};

use crate::ioctl::kexec;

/// What happens to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// It starts again.
    Reboot,
    /// It goes off.
    PowerOff,
    /// The kernel that was loaded starts, without the firmware in between.
    Kexec,
}

/// Writes out what is left in the page cache, then does it. Returns only where the kernel refuses.
///
/// This is the kernel's own reboot, right for a ramdisk whose init has nothing to stop: nothing is asked to end.
pub fn end_machine(action: PowerAction) -> io::Result<Infallible> {
    nix::unistd::sync();
    let mode = match action {
        PowerAction::Reboot => RebootMode::RB_AUTOBOOT,
        PowerAction::PowerOff => RebootMode::RB_POWER_OFF,
        PowerAction::Kexec => RebootMode::RB_KEXEC,
    };
    Ok(reboot(mode)?)
}

/// Takes a kernel into memory that is to be started by [`PowerAction::Kexec`].
pub trait NextKernel: Send {
    /// Loads it with its initial ramdisk and command line, in place of any loaded before. The files are not needed
    /// afterwards.
    fn load(&mut self, kernel: &Path, initrd: &Path, command_line: &str) -> io::Result<()>;
}

/// This machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kexec;

impl NextKernel for Kexec {
    fn load(&mut self, kernel: &Path, initrd: &Path, command_line: &str) -> io::Result<()> {
        tracing::debug!(kernel = %kernel.display(), initrd = %initrd.display(), command_line, "kexec load");
        let line = CString::new(command_line)?;
        let (kernel, initrd) = (File::open(kernel)?, File::open(initrd)?);
        kexec::load(kernel.as_fd(), initrd.as_fd(), &line)
    }
}

/// For disks that are files: this machine goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKexec;

impl NextKernel for NoKexec {
    fn load(&mut self, _: &Path, _: &Path, _: &str) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Whether a kernel is loaded that [`PowerAction::Kexec`] would start.
pub fn next_kernel_is_loaded() -> bool {
    fs::read_to_string("/sys/kernel/kexec_loaded").is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vmlinuz");
        fs::write(&file, "no kernel").unwrap();
        // not root, no such call in this kernel, or not the format of a kernel: never Ok
        Kexec.load(&file, &file, "root=/dev/x ro").unwrap_err();
        Kexec
            .load(&folder.path().join("none"), &file, "")
            .unwrap_err();
        let error = Kexec.load(&file, &file, "a\0b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!next_kernel_is_loaded());
    }
}
