//! Child processes: a signal to them when the parent dies, and a descriptor that becomes readable when they end.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Makes the kernel send `SIGTERM` to the child when the *thread* that starts it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = Pid::this();
    let arm = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
        // The parent may have died between fork and the line above: then the kernel sends no signal.
        if getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and builds an error from a number: it takes no
    // lock and allocates nothing, so that locks held by other threads at the fork do not matter.
    unsafe { command.pre_exec(arm) };
}

/// A descriptor for the child `pid` that polls readable once it has ended, reaped or not.
///
/// `pid` must be a child of this process that has not been waited for: otherwise the number may have been reused.
pub(crate) fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid: libc::pid_t = pid
        .try_into()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: pidfd_open takes two integers and accesses no memory of this process.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the call has just returned this descriptor (close-on-exec by definition); it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
