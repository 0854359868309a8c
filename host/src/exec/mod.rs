//! Programs: what may be started ([`Program`]), a command line ([`Cmd`]), and running it ([`Exec`], [`System`]).

mod drain;
mod file_only;
mod running;
mod sandbox;
mod system;

pub(crate) use file_only::FileOnlyExec;
pub use running::Running;
pub use system::System;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A program: its name and its Debian package. Each crate lists those that it starts in one file, `tools.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    name: &'static str,
    package: &'static str,
    finds_devices: bool,
}

impl Program {
    /// The program `name`, looked up on `PATH`, from the Debian package `package`.
    pub const fn new(name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            finds_devices: false,
        }
    }

    /// Marks a tool that finds devices of this machine regardless of its arguments: it is refused where regular files
    /// stand for disks.
    #[must_use]
    pub const fn on_devices(mut self) -> Self {
        self.finds_devices = true;
        self
    }

    /// The name that is looked up on `PATH`.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The Debian package, which the hint names when the program is missing.
    pub const fn package(self) -> &'static str {
        self.package
    }
}

/// Those of `programs` that are not installed, each once, in the given order.
pub fn missing<P: Into<Program>>(
    exec: &dyn Exec,
    programs: impl IntoIterator<Item = P>,
) -> Vec<Program> {
    let mut absent: Vec<Program> = Vec::new();
    for program in programs.into_iter().map(Into::into) {
        if !absent.contains(&program) && exec.find(program).is_none() {
            absent.push(program);
        }
    }
    absent
}

/// A command to run: a value that can be printed, compared and faked. It never goes through a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Cmd {
    /// The program to start.
    pub program: Program,
    /// Its arguments, not quoted.
    pub args: Vec<OsString>,
    /// Variables set in addition to the clean environment (`PATH`, `LC_ALL=C`).
    pub env: Vec<(OsString, OsString)>,
    /// Content of standard input; `/dev/null` when `None`.
    pub stdin: Option<Vec<u8>>,
    /// Exit statuses that are not a failure.
    pub accepted: Vec<i32>,
    /// Time limit, after which its process group is killed.
    pub timeout: Duration,
    /// Working directory; `/` when `None`.
    pub directory: Option<PathBuf>,
    /// How many bytes of the end of each output are kept.
    pub keep: usize,
    /// Files and folders that a [confined](System::confined) program sees in hidden folders too.
    pub visible: Vec<PathBuf>,
    /// Whether a confined program has no mount namespace of its own.
    pub shares_mounts: bool,
}

impl Cmd {
    /// `program` without arguments, with a time limit of ten minutes; only exit status 0 is accepted.
    pub fn new(program: impl Into<Program>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            accepted: vec![0],
            timeout: Duration::from_mins(10),
            directory: None,
            keep: 1 << 20,
            visible: Vec::new(),
            shares_mounts: false,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds the path of an existing file or folder as an argument; a confined program sees it.
    pub fn path(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.arg(&path).sees(path)
    }

    /// Shows an existing file or folder, which is not an argument, to a confined program.
    pub fn sees(mut self, path: impl Into<PathBuf>) -> Self {
        self.visible.push(path.into());
        self
    }

    /// Lets a confined program have the mounts of this process, because it works on one: a namespace of its own would
    /// hold that mount for a moment after its end, and unmounting would return before everything is written.
    pub fn shares_mounts(mut self) -> Self {
        self.shares_mounts = true;
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the content of standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Replaces the exit statuses that are not a failure; `0` is accepted only if it is among them.
    pub fn accept(mut self, statuses: &[i32]) -> Self {
        self.accepted = statuses.to_vec();
        self
    }

    /// Sets the time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes of the end of each output are kept; [`Output::truncated`] is set if more was written.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Sets the working directory.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }
}

impl fmt::Display for Cmd {
    /// A line that can be pasted into a shell. Standard input is left out: it may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.env {
            write!(f, "{}={} ", key.to_string_lossy(), quoted(value))?;
        }
        f.write_str(self.program.name())?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

/// The word quoted for a POSIX shell.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Result of a program that ended with an accepted status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status, one of [`Cmd::accepted`].
    pub status: i32,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
    /// Whether the beginning of an output is missing because it exceeded the limit. Check this before parsing output
    /// that may be long.
    pub truncated: bool,
}

/// Why there is no [`Output`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It is not on `PATH`.
    #[error("`{}` is not installed", program.name())]
    Missing {
        /// The missing program.
        program: Program,
    },
    /// The kernel could not start it, or a pipe failed.
    #[error("cannot run `{command}`")]
    Io {
        /// The command line, quoted for a shell.
        command: String,
        /// The kernel's error.
        #[source]
        source: std::io::Error,
    },
    /// It ended with a status that is not accepted.
    #[error("`{command}` exited with status {status}: {last_line}")]
    Failed {
        /// The command line, quoted for a shell.
        command: String,
        /// Exit status of the program, 1 to 255.
        status: i32,
        /// The last line it wrote to standard error (or output, where that is empty).
        last_line: String,
        /// Standard error, limited by [`Cmd::keep`].
        stderr: String,
        /// Standard output, limited by [`Cmd::keep`]: some tools print their errors there.
        stdout: String,
    },
    /// A signal ended it.
    #[error("`{command}` was ended by signal {signal}")]
    Signalled {
        /// The command line, quoted for a shell.
        command: String,
        /// The signal's number.
        signal: i32,
    },
    /// It exceeded its time limit; its process group was killed.
    #[error("`{command}` did not end within {} seconds and was killed", timeout.as_secs())]
    TimedOut {
        /// The command line, quoted for a shell.
        command: String,
        /// The time limit.
        timeout: Duration,
    },
    /// The run was cancelled while the program ran; its process group was ended.
    #[error("stopped while `{command}` ran")]
    Cancelled {
        /// The command line, quoted for a shell.
        command: String,
    },
}

impl ExecError {
    /// The hint to print, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { program } => {
                Some(format!("install the package `{}`", program.package()))
            }
            _ => None,
        }
    }

    /// Whether the program failed because another one holds a device.
    pub fn is_busy(&self) -> bool {
        let Self::Failed { stdout, stderr, .. } = self else {
            return false;
        };
        BUSY.iter()
            .any(|words| stderr.contains(words) || stdout.contains(words))
    }
}

/// Error texts of tools that need exclusive access to a device that another program holds: most print the kernel's text
/// for `EBUSY`; mke2fs, e2fsck, LVM and mdadm have their own.
const BUSY: [&str; 5] = [
    "Device or resource busy",
    "is apparently in use by the system",
    " in use.",
    "exclusively.  Mounted filesystem?",
    "Cannot get exclusive access to",
];

/// Runs programs: [`System`] really, `fake::Script` in tests.
pub trait Exec: Send {
    /// Runs `cmd` and waits for its end.
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError>;

    /// Path of `program`, or `None` where it is not installed.
    fn find(&self, program: Program) -> Option<PathBuf>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Script;

    #[test]
    fn what_is_missing_is_named_once() {
        let (here, gone) = (Program::new("here", "a"), Program::new("gone", "b"));
        let exec = Script::new().without(gone);
        assert_eq!(missing(&exec, [gone, here, gone]), [gone]);
    }

    #[test]
    fn what_tools_say_of_a_device_that_is_held_is_understood() {
        let failed = |stdout: &str, stderr: &str| ExecError::Failed {
            command: String::new(),
            status: 1,
            last_line: String::new(),
            stderr: stderr.to_owned(),
            stdout: stdout.to_owned(),
        };
        for stderr in [
            "/dev/sda1 is apparently in use by the system; will not make a filesystem here!",
            "mkfs.xfs: cannot open /dev/sda1: Device or resource busy",
            "mkswap: cannot open /dev/sda1: Device or resource busy",
            "resize2fs 1.47.0\nresize2fs: Device or resource busy while trying to open /dev/sda1",
            "mdadm: super1.x cannot open /dev/sda1: Device or resource busy\nmdadm: create aborted",
            "mdadm: Cannot get exclusive access to /dev/md0:Perhaps a running process?",
            "  Can't open /dev/sda1 exclusively.  Mounted filesystem?",
            "  Logical volume os/root in use.",
        ] {
            assert!(failed("", stderr).is_busy(), "{stderr}");
        }
        assert!(
            failed(
                "/dev/sda1 is in use.\n",
                "e2fsck: Cannot continue, aborting."
            )
            .is_busy()
        );
        for stderr in [
            "",
            "Input/output error",
            "No space left on device",
            "cannot use it",
        ] {
            assert!(!failed("", stderr).is_busy(), "{stderr}");
        }
        let missing = ExecError::Missing {
            program: Program::new("mdadm", "mdadm"),
        };
        assert!(!missing.is_busy());
    }
}
