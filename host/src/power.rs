//! Reboot, power off and kexec at the end of a run.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::reboot::{RebootMode, reboot};

use crate::ioctl::kexec;

/// How the machine is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// Reboot through the firmware.
    Reboot,
    /// Power off.
    PowerOff,
    /// Start the kernel that [`NextKernel::load`] has loaded, without the firmware in between.
    Kexec,
}

/// Writes out the page cache, then ends the machine. Returns only if the kernel refuses.
///
/// This is `reboot(2)`: no process is asked to end, which is right for a ramdisk whose init has nothing to stop.
pub fn end_machine(action: PowerAction) -> io::Result<Infallible> {
    nix::unistd::sync();
    let mode = match action {
        PowerAction::Reboot => RebootMode::RB_AUTOBOOT,
        PowerAction::PowerOff => RebootMode::RB_POWER_OFF,
        PowerAction::Kexec => RebootMode::RB_KEXEC,
    };
    Ok(reboot(mode)?)
}

/// Loads the kernel that [`PowerAction::Kexec`] starts.
pub trait NextKernel: Send {
    /// Loads a kernel with its initial ramdisk and command line, replacing any loaded before. The files are not needed
    /// afterwards.
    fn load(&mut self, kernel: &Path, initrd: &Path, command_line: &str) -> io::Result<()>;
}

/// [`NextKernel`] of this machine, by `kexec_file_load(2)`.
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

/// [`NextKernel`] of a run on regular files: loading is an error.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoKexec;

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
        // EPERM, ENOSYS or ENOEXEC, depending on the machine: never Ok
        Kexec.load(&file, &file, "root=/dev/x ro").unwrap_err();
        Kexec
            .load(&folder.path().join("none"), &file, "")
            .unwrap_err();
        let error = Kexec.load(&file, &file, "a\0b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!next_kernel_is_loaded());
    }
}
