//! Children: one that is told when we die, and a descriptor that becomes readable when it ends.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Lets the kernel send `SIGTERM` to the child when the *thread* that starts it ends, however it ends.
pub fn die_with_parent(command: &mut Command) {
    let parent = Pid::this();
    let arm = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
        // We may have died between fork and the line above: then the child would get no signal any more.
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
/// `pid` must be a child of ours that has not been waited for: only then is the number still its own.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid: libc::pid_t = pid
        .try_into()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the call has just given us this descriptor (close-on-exec by definition), and it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
