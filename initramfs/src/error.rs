//! What can go wrong while composing or reading a ramdisk, and what to try.

use std::io;
use std::path::{Path, PathBuf};

use apt_sources::SourcesError;
use host::exec::ExecError;

/// Why there is no ramdisk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program failed.
    #[error("cannot {doing}")]
    Tool {
        /// What was being done.
        doing: String,
        /// What the program said.
        #[source]
        source: Box<ExecError>,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done, like `read`.
        doing: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Where packages come from is not known.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// apt knows no such package.
    #[error("apt knows no package `{package}` in the suite `{suite}`")]
    NoPackage {
        /// Name of the package.
        package: String,
        /// The suite that was asked for.
        suite: String,
    },
    /// apt's answer was not understood.
    #[error("apt's answer about {about} is not understood: {why}")]
    AptAnswer {
        /// The subject of the question to apt.
        about: String,
        /// What is missing or wrong.
        why: String,
    },
    /// The lock file is not one.
    #[error("{} is not a lock file of this program", path.display())]
    LockFormat {
        /// Path of the file.
        path: PathBuf,
        /// What the JSON parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The lock was made for something else.
    #[error("the lock {} was made for other input: {what}", path.display())]
    LockMismatch {
        /// Path of the file.
        path: PathBuf,
        /// The difference, as a clause.
        what: String,
    },
    /// A locked version is gone.
    #[error("the locked package `{package}` {version} is neither in the cache {} nor on the mirror", cache.display())]
    LockedVersionGone {
        /// Name of the package.
        package: String,
        /// The version that the lock names.
        version: String,
        /// Where package files are kept.
        cache: PathBuf,
    },
    /// The mirror's package file has other bytes than the lock says.
    #[error("the mirror's `{package}` {version} does not have the sha256 that the lock names")]
    WrongDigest {
        /// Name of the package.
        package: String,
        /// The version that the lock names.
        version: String,
    },
    /// A package does not hold a file that the recipe names.
    #[error("the package `{package}` has no file `{file}`")]
    NoFile {
        /// Name of the package.
        package: String,
        /// The path or pattern.
        file: String,
    },
    /// No package brings a library.
    #[error("no package brings the library `{library}`, which {} needs", needed_by.display())]
    NoLibrary {
        /// Its `soname`.
        library: String,
        /// Who needs it.
        needed_by: PathBuf,
    },
    /// A file that should be a program or library cannot be read as one.
    #[error("{} is not an ELF file that can be read", path.display())]
    Elf {
        /// Path of the file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: goblin::error::Error,
    },
    /// There is no agent to put into the ramdisk.
    #[error("cannot read the agent {}", path.display())]
    NoAgent {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent needs a loader and libraries.
    #[error("the agent {} is linked dynamically", path.display())]
    DynamicAgent {
        /// Path of the file.
        path: PathBuf,
    },
    /// The recipe or a module list is wrong: a mistake in this program.
    #[error("{file}, line {line}: {why}")]
    Recipe {
        /// Which of the built-in files.
        file: &'static str,
        /// The line's number, from 1.
        line: usize,
        /// The mistake in the line, as a clause.
        why: String,
    },
    /// No kernel in the package.
    #[error("`{package}` brings no kernel: {why}")]
    NoKernel {
        /// The package that was asked for.
        package: String,
        /// The missing file or folder, as a clause.
        why: String,
    },
    /// Two things want one path.
    #[error("`{path}` is wanted by `{first}` and by `{second}`")]
    PathTaken {
        /// The path in the ramdisk.
        path: String,
        /// The part that has it.
        first: String,
        /// The part that also wants it.
        second: String,
    },
    /// A file is not a ramdisk of ours.
    #[error("{} is not a ramdisk made by `initramfs build`: {why}", path.display())]
    NotARamdisk {
        /// Path of the file.
        path: PathBuf,
        /// The missing file or folder, as a clause.
        why: String,
    },
    /// An option's value cannot be used.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// An order to the reader, where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Tool { source, .. } => return source.hint(),
            Self::Sources(SourcesError::Config(source)) => {
                return source.hint();
            }
            Self::Sources(SourcesError::NoArchive { .. }) => {
                "name a mirror with `--mirror URL`, or another release with `--suite`".to_owned()
            }
            Self::NoPackage { .. } => {
                "check the spelling; firmware needs a mirror that has `non-free-firmware`"
                    .to_owned()
            }
            Self::LockFormat { .. } | Self::LockMismatch { .. } => {
                "make a new one with `--renew-lock`, or name another file with `--lock`".to_owned()
            }
            Self::LockedVersionGone { .. } => {
                "take today's versions with `--renew-lock`, or put the package file into the cache"
                    .to_owned()
            }
            Self::WrongDigest { .. } => {
                "ask why, before you take the mirror's bytes with `--renew-lock`".to_owned()
            }
            Self::NoAgent { .. } => {
                "build it with `make agent`, or name another file with `--agent`".to_owned()
            }
            Self::DynamicAgent { .. } => {
                "build it with `make agent`: for an explicit target, with `+crt-static`".to_owned()
            }
            _ => return None,
        })
    }
}

/// Names what was being done when a program failed.
pub fn tool(doing: impl Into<String>) -> impl FnOnce(ExecError) -> Error {
    let doing = doing.into();
    |source| Error::Tool {
        doing,
        source: Box::new(source),
    }
}

/// Names the file and what was being done with it.
pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        doing,
        path,
        source,
    }
}
