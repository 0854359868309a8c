//! The real [`Exec`]: runs programs in a clean environment and a process group of their own, within a time limit.

#![expect(
    clippy::disallowed_methods,
    reason = "this file is where programs are started"
)]

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::drain::{OutputCapture, StdinPump};
use super::{Cmd, Exec, ExecError, Output, Program, Running, running, sandbox};
use crate::cancel::Cancel;
use crate::ioctl::process;

/// The default `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How often the cancellation flag is polled while a program runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a program may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// How long a killed program is waited for. One that hangs in the kernel, on a dead disk for example, may not end: the
/// error is reported without it.
const REAP: Duration = Duration::from_secs(10);

/// Starts programs on this machine.
#[derive(Clone, Debug)]
pub struct System {
    path: OsString,
    cancel: Cancel,
    grace: Duration,
    confined: bool,
}

impl System {
    /// Finds programs on the default `PATH`; stops them when `cancel` is set.
    pub fn new(cancel: Cancel) -> Self {
        Self {
            path: PATH.into(),
            cancel,
            grace: GRACE,
            confined: false,
        }
    }

    /// Confines its programs, which are to read what others left on disks: they can gain no privileges and leave no
    /// core; where this process is root they have mounts of their own, in which `/tmp`, where they start, `/root` and
    /// `/run/provision` are empty and read-only, apart from [`Cmd::visible`].
    #[must_use]
    pub fn confined(mut self) -> Self {
        self.confined = true;
        self
    }

    /// Finds programs on `path` instead, which is also their `PATH`.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<OsString>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets how long a program may take to end after SIGTERM, before SIGKILL.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts `cmd` in the background and appends its outputs to the file `output`. Its time limit is ignored: it runs
    /// until it ends, is stopped, or its [`Running`] is dropped, and is killed with this process.
    pub fn spawn(&self, cmd: &Cmd, output: &Path) -> Result<Running, ExecError> {
        let failed = |source| ExecError::Io {
            command: cmd.to_string(),
            source,
        };
        let mut command = self.command(cmd)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(output)
            .map_err(failed)?;
        command.stderr(log.try_clone().map_err(failed)?).stdout(log);
        tracing::debug!(command = %cmd, "start in the background");
        running::start(command, cmd, self.grace).map_err(failed)
    }

    /// The command, complete except for its outputs.
    fn command(&self, cmd: &Cmd) -> Result<Command, ExecError> {
        if self.cancel.is_cancelled() {
            return Err(ExecError::Cancelled {
                command: cmd.to_string(),
            });
        }
        let program = self.find(cmd.program).ok_or(ExecError::Missing {
            program: cmd.program,
        })?;
        let mut command = Command::new(&program);
        command
            .args(&cmd.args)
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .envs(cmd.env.iter().map(|(key, value)| (key, value)))
            .current_dir(cmd.directory.as_deref().unwrap_or(Path::new("/")))
            .process_group(0)
            .stdin(match cmd.stdin {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            });
        process::die_with_parent(&mut command);
        if self.confined {
            sandbox::apply(&mut command, cmd, &program).map_err(|source| ExecError::Io {
                command: cmd.to_string(),
                source,
            })?;
        }
        Ok(command)
    }
}

impl Exec for System {
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        let mut command = self.command(cmd)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        tracing::debug!(command = %cmd, "run");
        let began = Instant::now();
        let watched = command
            .spawn()
            .and_then(|child| Watched::new(child, cmd, self));
        let ended = watched.and_then(Watched::watch);
        let (end, output) = ended.map_err(|source| ExecError::Io {
            command: cmd.to_string(),
            source,
        })?;
        let took = began.elapsed().as_millis();
        tracing::trace!(stdout = %output.stdout, stderr = %output.stderr, took, ?end, "ended");
        judge(cmd, end, output)
    }

    fn find(&self, program: Program) -> Option<PathBuf> {
        find_on(&self.path, OsStr::new(program.name()))
    }
}

/// The first executable file of that name on `path`.
fn find_on(path: &OsStr, name: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By exit or a signal that was not sent here.
    Exited(ExitStatus),
    /// Killed at its time limit.
    TimedOut,
    /// Killed because the run was cancelled.
    Cancelled,
}

/// The result that [`Exec::run`] returns.
fn judge(cmd: &Cmd, end: End, output: Output) -> Result<Output, ExecError> {
    let command = cmd.to_string();
    let status = match end {
        End::TimedOut => {
            let timeout = cmd.timeout;
            return Err(ExecError::TimedOut { command, timeout });
        }
        End::Cancelled => return Err(ExecError::Cancelled { command }),
        End::Exited(status) => status,
    };
    let Some(code) = status.code() else {
        let signal = status.signal().unwrap_or_default();
        return Err(ExecError::Signalled { command, signal });
    };
    if cmd.accepted.contains(&code) {
        let status = code;
        return Ok(Output { status, ..output });
    }
    let last = |text: &str| {
        let mut lines = text.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty()).map(str::to_owned)
    };
    let last_line = last(&output.stderr)
        .or_else(|| last(&output.stdout))
        .unwrap_or_else(|| "it printed nothing".to_owned());
    Err(ExecError::Failed {
        command,
        status: code,
        last_line,
        stderr: output.stderr,
        stdout: output.stdout,
    })
}

/// A running program. If dropped before its end, its process group is killed.
struct Watched<'a> {
    child: Child,
    /// Readable once the child has ended.
    ended: OwnedFd,
    input: StdinPump<'a>,
    output: [OutputCapture; 2],
    cmd: &'a Cmd,
    cancel: Cancel,
    grace: Duration,
}

impl<'a> Watched<'a> {
    fn new(mut child: Child, cmd: &'a Cmd, system: &System) -> io::Result<Self> {
        let watched = Self::pipes(&mut child, cmd);
        match watched {
            Ok((ended, input, output)) => Ok(Self {
                child,
                ended,
                input,
                output,
                cmd,
                cancel: system.cancel.clone(),
                grace: system.grace,
            }),
            Err(error) => {
                signal_group(&child, Signal::SIGKILL);
                child.wait()?;
                Err(error)
            }
        }
    }

    fn pipes(
        child: &mut Child,
        cmd: &'a Cmd,
    ) -> io::Result<(OwnedFd, StdinPump<'a>, [OutputCapture; 2])> {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdout = child.stdout.take().ok_or_else(pipe)?;
        let stderr = child.stderr.take().ok_or_else(pipe)?;
        let stdin = child.stdin.take().map(OwnedFd::from);
        Ok((
            process::open_pidfd(child.id())?,
            StdinPump::new(stdin, cmd.stdin.as_deref().unwrap_or_default())?,
            [
                OutputCapture::new(stdout.into(), cmd.keep)?,
                OutputCapture::new(stderr.into(), cmd.keep)?,
            ],
        ))
    }

    /// Moves bytes through its pipes until it has ended; ends it at its time limit or when the run is cancelled.
    fn watch(mut self) -> io::Result<(End, Output)> {
        let mut deadline = Instant::now() + self.cmd.timeout;
        let mut ending: Option<(End, Signal)> = None;
        while !self.wait_until(deadline.min(Instant::now() + POLL_INTERVAL))? {
            let late = Instant::now() >= deadline;
            let (end, signal, time) = match ending {
                None if self.cancel.is_cancelled() => (End::Cancelled, Signal::SIGTERM, self.grace),
                None if late => (End::TimedOut, Signal::SIGTERM, self.grace),
                Some((end, Signal::SIGTERM)) if late => (end, Signal::SIGKILL, REAP),
                Some((end, _)) if late => return Ok((end, self.take_output())),
                _ => continue,
            };
            signal_group(&self.child, signal);
            ending = Some((end, signal));
            deadline = Instant::now() + time;
        }
        if ending.is_some() {
            // The child is not reaped yet, so the group's number cannot be reused: this kills what it started.
            signal_group(&self.child, Signal::SIGKILL);
        }
        for capture in &mut self.output {
            capture.drain()?;
        }
        let status = self.child.wait()?;
        let end = ending.map_or(End::Exited(status), |(end, _)| end);
        Ok((end, self.take_output()))
    }

    /// Moves bytes until `deadline`, or until the program has ended: then `true`. A daemon that the program leaves
    /// behind, and that holds its pipes, is not waited for.
    fn wait_until(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.wait(left)? {
                return Ok(true);
            }
            self.input.feed()?;
            for capture in &mut self.output {
                capture.drain()?;
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Waits for input, output or the program's end, at most `time`; returns whether the program has ended.
    fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut waiting = vec![PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        let captures = self.output.iter().filter_map(OutputCapture::descriptor);
        waiting.extend(captures.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        let stdin = self.input.descriptor();
        waiting.extend(stdin.map(|pipe| PollFd::new(pipe, PollFlags::POLLOUT)));
        // Rounded up, or the last fraction of a millisecond would be a busy loop.
        let time =
            PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, time) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(other) => return Err(other.into()),
        }
        let ended = waiting.first().and_then(PollFd::revents);
        Ok(ended.is_some_and(|events| !events.is_empty()))
    }

    /// What it has written so far; a second call returns nothing.
    fn take_output(&mut self) -> Output {
        let mut texts = self.output.iter_mut().map(|capture| {
            let empty = super::drain::Tail::new(0);
            std::mem::replace(&mut capture.tail, empty).finish()
        });
        let (stdout, cut_stdout) = texts.next().unwrap_or_default();
        let (stderr, cut_stderr) = texts.next().unwrap_or_default();
        Output {
            status: 0,
            stdout,
            stderr,
            truncated: cut_stdout || cut_stderr,
        }
    }
}

impl Drop for Watched<'_> {
    /// The program is still alive only where [`Self::watch`] failed; it must not go on writing to a disk.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal_group(&self.child, Signal::SIGKILL);
            let _ = self.wait(REAP);
            let _ = self.child.try_wait();
        }
    }
}

/// Sends `signal` to the child's process group.
pub(super) fn signal_group(child: &Child, signal: Signal) {
    if let Ok(group) = i32::try_from(child.id()) {
        // The only possible error is ESRCH: the group has ended already.
        let _ = killpg(Pid::from_raw(group), signal);
    }
}
