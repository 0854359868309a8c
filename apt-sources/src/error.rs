//! Errors of finding package sources, of choosing and fetching packages, with hints.

use std::io;
use std::path::{Path, PathBuf};

use host::exec::ExecError;

/// Why the package sources are unknown.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// `apt-config` failed.
    #[error("cannot read apt's configuration")]
    Config(#[from] ExecError),
    /// A file or folder of apt's configuration could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The machine's apt has no entry for the suite.
    #[error("apt on this machine has no Debian archive entry for the suite `{suite}`")]
    NoArchive {
        /// The suite that was asked for.
        suite: String,
    },
    /// The machine's apt is told not to check the signature of an archive.
    #[error("apt on this machine takes packages of {uri} without a signature (`{field}: yes`)")]
    Unsigned {
        /// URLs of the archive.
        uri: String,
        /// The field of its entry.
        field: &'static str,
    },
}

impl SourcesError {
    /// The hint: an instruction to the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(source) => source.hint(),
            Self::Read { .. } => None,
            Self::NoArchive { .. } => Some("give a mirror with `--mirror URL`".to_owned()),
            Self::Unsigned { .. } => Some(
                "remove the option and name the archive's key (`Signed-By`), give a signed mirror with `--mirror URL`, \
                 or accept what anyone on the way may have changed with `--allow-unsigned-archive`"
                    .to_owned(),
            ),
        }
    }
}

/// Why packages could not be chosen or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A program failed.
    #[error("cannot {doing}")]
    Tool {
        /// The failed operation, like `fetch apt's package lists`.
        doing: String,
        /// The program's error.
        #[source]
        source: Box<ExecError>,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The failed operation, like `read`.
        doing: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The package sources are unknown.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// The package lists do not have the package.
    #[error("the suite `{suite}` has no package `{package}`")]
    NoPackage {
        /// Name of the package.
        package: String,
        /// Name of the suite that was searched, like `bookworm`.
        suite: String,
    },
    /// apt's output could not be parsed.
    #[error("cannot parse apt's output for {subject}: {why}")]
    AptOutput {
        /// The package or list that apt was asked about.
        subject: String,
        /// What is missing or wrong.
        why: String,
    },
    /// The file is not a valid lock file.
    #[error("{} is not a lock file of this program", path.display())]
    LockFormat {
        /// Path of the file.
        path: PathBuf,
        /// The JSON parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// The lock was made for other options.
    #[error("the lock {} was made for other options: {what}", path.display())]
    LockMismatch {
        /// Path of the file.
        path: PathBuf,
        /// The difference, as a clause.
        what: String,
    },
    /// A locked version is no longer available.
    #[error("the locked package `{package}` {version} is neither in the cache {} nor on the mirror", cache.display())]
    LockedVersionGone {
        /// Name of the package.
        package: String,
        /// Version in the lock.
        version: String,
        /// Cache folder for package files.
        cache: PathBuf,
    },
    /// The mirror's package file has another sha256 than in the lock.
    #[error("the mirror's `{package}` {version} has another sha256 than in the lock")]
    WrongDigest {
        /// Name of the package.
        package: String,
        /// Version in the lock.
        version: String,
    },
}

impl ArchiveError {
    /// The hint: an instruction to the user. The options that it names are those of all programs that use this crate.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Tool { source, .. } => return source.hint(),
            Self::Sources(source) => return source.hint(),
            Self::NoPackage { .. } => {
                "check the spelling; firmware needs a mirror that has `non-free-firmware`"
                    .to_owned()
            }
            Self::LockFormat { .. } | Self::LockMismatch { .. } => {
                "make a new lock with `--renew-lock`, or give another file with `--lock`".to_owned()
            }
            Self::LockedVersionGone { .. } => {
                "use current versions with `--renew-lock`, or put the package file into the cache"
                    .to_owned()
            }
            Self::WrongDigest { .. } => {
                "find out why before you accept the mirror's file with `--renew-lock`".to_owned()
            }
            Self::Io { .. } | Self::AptOutput { .. } => return None,
        })
    }
}

/// Makes [`ArchiveError::Tool`] of a program's error; `doing` completes "cannot …".
pub(crate) fn tool(doing: impl Into<String>) -> impl FnOnce(ExecError) -> ArchiveError {
    let doing = doing.into();
    |source| ArchiveError::Tool {
        doing,
        source: Box::new(source),
    }
}

/// Makes [`ArchiveError::Io`] of an I/O error; `doing` completes "cannot …", followed by the path.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io {
        doing,
        path,
        source,
    }
}
