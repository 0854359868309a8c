//! Programs in the background, such as a VM or a DHCP server, for the testbed and the demo.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::Cmd;
use super::system::signal_group;
use crate::ioctl::process;

/// A program in the background. When dropped, it and everything it has started are stopped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: OwnedFd,
    command: String,
    grace: Duration,
    status: Option<ExitStatus>,
    reaped: bool,
}

impl Running {
    /// Its process number, which is also its group's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status once it has ended, without waiting.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Waits for its end, at most `time`; then `None`.
    pub fn wait_timeout(&mut self, time: Duration) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && self.wait_unreaped(time)? {
            // It is not reaped here: until then its group's number cannot be reused.
            self.status = Some(self.peek()?);
        }
        Ok(self.status)
    }

    /// Ends it and everything it has started: SIGTERM, and SIGKILL after the grace period.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.end()
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if self.status.is_none() {
            signal_group(&self.child, Signal::SIGTERM);
            self.wait_timeout(self.grace)?;
        }
        signal_group(&self.child, Signal::SIGKILL);
        let status = self.child.wait()?;
        self.reaped = true;
        tracing::debug!(command = %self.command, %status, "stopped");
        Ok(status)
    }

    fn wait_unreaped(&self, time: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut waiting = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut waiting, timeout) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Its exit status, without reaping it.
    fn peek(&self) -> io::Result<ExitStatus> {
        use std::os::unix::process::ExitStatusExt;
        let pid = Pid::from_raw(self.child.id().try_into().map_err(io::Error::other)?);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let raw = match waitid(Id::Pid(pid), flags)? {
            WaitStatus::Exited(_, code) => (code & 0xff) << 8,
            WaitStatus::Signaled(_, signal, _) => {
                #[expect(clippy::as_conversions, reason = "the enum's numbers are the kernel's")]
                let number = signal as i32;
                number
            }
            _ => return Err(io::Error::from(io::ErrorKind::WouldBlock)),
        };
        Ok(ExitStatus::from_raw(raw))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if let Err(error) = self.end() {
            tracing::warn!(command = %self.command, %error, "cannot stop it");
        }
    }
}

/// Starts `command` from a thread that lives as long as this process: the parent-death signal is sent when the starting
/// *thread* ends, and the calling thread may end soon.
pub(super) fn start(command: Command, cmd: &Cmd, grace: Duration) -> io::Result<Running> {
    type Order = (Command, mpsc::SyncSender<io::Result<Child>>);
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let (reply, answer) = mpsc::sync_channel(1);
    starter
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    let mut child = answer.recv().map_err(gone)??;
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), cmd.stdin.clone()) {
        // If the program never reads, this thread ends with it.
        thread::spawn(move || {
            let _ = pipe.write_all(&bytes);
        });
    }
    match process::open_pidfd(child.id()) {
        Ok(ended) => Ok(Running {
            child,
            ended,
            command: cmd.to_string(),
            grace,
            status: None,
            reaped: false,
        }),
        Err(error) => {
            signal_group(&child, Signal::SIGKILL);
            child.wait()?;
            Err(error)
        }
    }
}
