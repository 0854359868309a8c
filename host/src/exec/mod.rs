//! Programs: what may be started ([`Tool`]), how a start looks ([`Cmd`]), and who starts it ([`Exec`], [`System`]).

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

/// Every program that anything in this workspace starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// Asks a device what is on it.
    Blkid,
    /// Looks into an ext filesystem that is not mounted (builders only).
    Debugfs,
    /// Lists what an ext filesystem does not use (builders only).
    Dumpe2fs,
    /// Device-mapper, for crypt targets that lie on a chosen disk.
    Dmsetup,
    /// Checks an ext filesystem.
    E2fsck,
    /// Makes a GRUB core image.
    GrubMkimage,
    /// LVM: `lvm SUBCOMMAND`.
    Lvm,
    /// Linux software RAID.
    Mdadm,
    /// Makes ext2.
    MkfsExt2,
    /// Makes ext3.
    MkfsExt3,
    /// Makes ext4.
    MkfsExt4,
    /// Makes xfs.
    MkfsXfs,
    /// Makes swap space.
    Mkswap,
    /// Grows an ext filesystem.
    Resize2fs,
    /// Waits for udev.
    Udevadm,
    /// Looks into an xfs that is not mounted (builders only).
    XfsDb,
    /// Grows a mounted xfs.
    XfsGrowfs,
    /// Checks an xfs (builders only).
    XfsRepair,
    /// apt's downloader of package files (builders only).
    AptGet,
    /// Reads apt's configuration (builders only).
    AptConfig,
    /// Asks apt's package lists (builders only).
    AptCache,
    /// Makes a module index (builders only).
    Depmod,
    /// Unpacks Debian packages (builders only).
    DpkgDeb,
    /// Makes a Debian root (builders only).
    Mmdebstrap,
    /// Makes ext from a folder (builders only).
    Mke2fs,
    /// Network links and namespaces (testbed only).
    Ip,
    /// DHCP and TFTP (testbed only).
    Dnsmasq,
    /// HTTP server for images (testbed only).
    Nginx,
    /// The virtual node (testbed only).
    QemuSystem,
    /// Makes disk images of other formats, to be read back (tests only).
    QemuImg,
    /// Makes an archive of a system (testbed only).
    Tar,
    /// Logs in to a node (testbed only).
    Ssh,
    /// Copies to a node (testbed only).
    Scp,
    /// Makes keys (testbed only).
    SshKeygen,
    /// Lines with pipes that are measured as people would type them (testbed only).
    Bash,
    /// Checks a FAT filesystem (tests only).
    FsckFat,
    /// Lists a FAT filesystem (tests only).
    Mdir,
    /// Checks what other shells will read (tests only).
    Sh,
    /// Reads YAML as cloud-init does (tests only).
    Python3,
}

impl Tool {
    /// The program's name, looked up on `PATH`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blkid => "blkid",
            Self::Debugfs => "debugfs",
            Self::Dumpe2fs => "dumpe2fs",
            Self::Dmsetup => "dmsetup",
            Self::E2fsck => "e2fsck",
            Self::GrubMkimage => "grub-mkimage",
            Self::Lvm => "lvm",
            Self::Mdadm => "mdadm",
            Self::MkfsExt2 => "mkfs.ext2",
            Self::MkfsExt3 => "mkfs.ext3",
            Self::MkfsExt4 => "mkfs.ext4",
            Self::MkfsXfs => "mkfs.xfs",
            Self::Mkswap => "mkswap",
            Self::Resize2fs => "resize2fs",
            Self::Udevadm => "udevadm",
            Self::XfsDb => "xfs_db",
            Self::XfsGrowfs => "xfs_growfs",
            Self::XfsRepair => "xfs_repair",
            Self::AptGet => "apt-get",
            Self::AptConfig => "apt-config",
            Self::AptCache => "apt-cache",
            Self::Depmod => "depmod",
            Self::DpkgDeb => "dpkg-deb",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Mke2fs => "mke2fs",
            Self::Ip => "ip",
            Self::Dnsmasq => "dnsmasq",
            Self::Nginx => "nginx",
            Self::QemuSystem => "qemu-system-x86_64",
            Self::QemuImg => "qemu-img",
            Self::Tar => "tar",
            Self::Ssh => "ssh",
            Self::Scp => "scp",
            Self::SshKeygen => "ssh-keygen",
            Self::Bash => "bash",
            Self::FsckFat => "fsck.fat",
            Self::Mdir => "mdir",
            Self::Sh => "sh",
            Self::Python3 => "python3",
        }
    }

    /// The Debian package that brings it: what a hint names when it is missing.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Blkid | Self::Mkswap => "util-linux",
            Self::Dmsetup => "dmsetup",
            Self::Debugfs
            | Self::Dumpe2fs
            | Self::E2fsck
            | Self::MkfsExt2
            | Self::MkfsExt3
            | Self::MkfsExt4
            | Self::Resize2fs
            | Self::Mke2fs => "e2fsprogs",
            Self::GrubMkimage => "grub-common",
            Self::Lvm => "lvm2",
            Self::Mdadm => "mdadm",
            Self::MkfsXfs | Self::XfsDb | Self::XfsGrowfs | Self::XfsRepair => "xfsprogs",
            Self::Udevadm => "udev",
            Self::AptGet | Self::AptConfig | Self::AptCache => "apt",
            Self::Depmod => "kmod",
            Self::DpkgDeb => "dpkg",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Ip => "iproute2",
            Self::Dnsmasq => "dnsmasq-base",
            Self::Nginx => "nginx-light",
            Self::QemuSystem => "qemu-system-x86",
            Self::QemuImg => "qemu-utils",
            Self::Tar => "tar",
            Self::Ssh | Self::Scp | Self::SshKeygen => "openssh-client",
            Self::Bash => "bash",
            Self::FsckFat => "dosfstools",
            Self::Mdir => "mtools",
            Self::Sh => "dash",
            Self::Python3 => "python3",
        }
    }
}

/// One start of a program: a value that can be printed, compared and faked. No shell is involved, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Cmd {
    /// What is started.
    pub tool: Tool,
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
    /// A start of `tool` without arguments, which may take ten minutes and must exit with 0.
    pub fn new(tool: Tool) -> Self {
        Self {
            tool,
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
        f.write_str(self.tool.name())?;
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
    /// Whether it wrote more than was to be kept, so that the beginning of an output is missing. Whoever parses an
    /// output that may be long asks this first.
    pub truncated: bool,
}

/// Why a program gave no [`Output`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It is not on `PATH`.
    #[error("`{}` is not installed", tool.name())]
    Missing {
        /// What was wanted.
        tool: Tool,
    },
    /// The kernel would not start it, or its pipes broke.
    #[error("cannot run `{command}`")]
    Io {
        /// The command line.
        command: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It ended with a status that is not accepted.
    #[error("`{command}` exited with status {status}: {last_line}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: i32,
        /// The last line it wrote to standard error (or output, where that is empty).
        last_line: String,
        /// Everything it wrote to standard error.
        stderr: String,
    },
    /// A signal ended it.
    #[error("`{command}` was ended by signal {signal}")]
    Signalled {
        /// The command line.
        command: String,
        /// The signal's number.
        signal: i32,
    },
    /// It took longer than it may; its process group was killed.
    #[error("`{command}` did not end within {} seconds and was killed", timeout.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// What it had been given.
        timeout: Duration,
    },
    /// We were told to stop while it ran; its process group was ended.
    #[error("stopped while `{command}` ran")]
    Cancelled {
        /// The command line.
        command: String,
    },
}

/// Runs tools. The real one is `System`; tests bring `fake::Script`.
pub trait Exec: Send {
    /// Runs `cmd` to its end.
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError>;

    /// Where `tool` is, or `None` where it is not installed.
    fn find(&self, tool: Tool) -> Option<PathBuf>;
}
