//! Programs: what may be started ([`Program`]), how a start looks ([`Cmd`]), and who starts it ([`Exec`], [`System`]).

mod drain;
mod file_only;
mod running;
mod system;

pub use file_only::FileOnlyExec;
pub use running::Running;
pub use system::System;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A program: its name, and where it comes from. Each crate lists those that it starts in one file, `tools.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    name: &'static str,
    package: &'static str,
    finds_devices: bool,
}

impl Program {
    /// The program `name`, looked up on `PATH`, which the Debian package `package` brings.
    pub const fn new(name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            finds_devices: false,
        }
    }

    /// The tool finds devices of this machine regardless of its arguments: [`FileOnlyExec`] refuses it.
    #[must_use]
    pub const fn on_devices(mut self) -> Self {
        self.finds_devices = true;
        self
    }

    /// Its name, looked up on `PATH`.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The Debian package that brings it: what a hint names when it is missing.
    pub const fn package(self) -> &'static str {
        self.package
    }
}

/// Those of `programs` that are not installed, each once, in the order asked.
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

/// One start of a program: a value that can be printed, compared and faked. No shell is involved, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Cmd {
    /// The program to start.
    pub program: Program,
    /// Its arguments, as they are.
    pub args: Vec<OsString>,
    /// Variables set beside the clean environment (`PATH`, `LC_ALL=C`).
    pub env: Vec<(OsString, OsString)>,
    /// What it reads; nothing when `None`.
    pub stdin: Option<Vec<u8>>,
    /// Exit statuses that are no failure.
    pub accepted: Vec<i32>,
    /// How long it may take before its process group is killed.
    pub timeout: Duration,
    /// Where it runs; the root when `None`.
    pub directory: Option<PathBuf>,
    /// How many bytes are kept of each of its outputs, counted from the end.
    pub keep: usize,
}

impl Cmd {
    /// A start of `program` without arguments, which may take ten minutes and must exit with 0.
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

    /// Sets a variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it something to read.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Names the exit statuses that are no failure, `0` included if it is one of them.
    pub fn accept(mut self, statuses: &[i32]) -> Self {
        self.accepted = statuses.to_vec();
        self
    }

    /// Sets how long it may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes are kept of each of its outputs; more is cut at the beginning and said in
    /// [`Output::truncated`].
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Sets where it runs.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }
}

impl fmt::Display for Cmd {
    /// A line that can be pasted into a shell. Standard input is not part of it: it may hold secrets.
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

/// The word as a POSIX shell would have to be given it.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What a program that ended well left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status, one of those accepted.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Whether the beginning of an output is missing because it exceeded the limit. Check this before parsing output
    /// that may be long.
    pub truncated: bool,
}

/// Why a program gave no [`Output`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It is not on `PATH`.
    #[error("`{}` is not installed", program.name())]
    Missing {
        /// The missing program.
        program: Program,
    },
    /// The kernel would not start it, or its pipes broke.
    #[error("cannot run `{command}`")]
    Io {
        /// The command line, quoted for a shell.
        command: String,
        /// What the kernel said.
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
        /// Everything it wrote to standard error.
        stderr: String,
        /// Everything it wrote to standard output: some tools say there what is wrong.
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
    /// It took longer than it may; its process group was killed.
    #[error("`{command}` did not end within {} seconds and was killed", timeout.as_secs())]
    TimedOut {
        /// The command line, quoted for a shell.
        command: String,
        /// What it had been given.
        timeout: Duration,
    },
    /// We were told to stop while it ran; its process group was ended.
    #[error("stopped while `{command}` ran")]
    Cancelled {
        /// The command line, quoted for a shell.
        command: String,
    },
}

impl ExecError {
    /// What to try, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { program } => {
                Some(format!("install the package `{}`", program.package()))
            }
            _ => None,
        }
    }

    /// Whether the program could not do its work because another one holds a device.
    pub fn is_busy(&self) -> bool {
        let Self::Failed { stdout, stderr, .. } = self else {
            return false;
        };
        BUSY.iter()
            .any(|words| stderr.contains(words) || stdout.contains(words))
    }
}

/// What tools say where another program holds the device that they want for themselves: most repeat the kernel's words
/// for `EBUSY`, and mke2fs, e2fsck, LVM and mdadm have words of their own.
const BUSY: [&str; 5] = [
    "Device or resource busy",
    "is apparently in use by the system",
    " in use.",
    "exclusively.  Mounted filesystem?",
    "Cannot get exclusive access to",
];

/// Runs programs. The real one is `System`; tests bring `fake::Script`.
pub trait Exec: Send {
    /// Runs `cmd` to its end.
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError>;

    /// Where `program` is, or `None` where it is not installed.
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
