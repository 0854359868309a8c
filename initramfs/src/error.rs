//! Errors of composing and reading ramdisks, with hints.

use std::io;
use std::path::{Path, PathBuf};

use apt_sources::{ArchiveError, SourcesError};
use host::exec::ExecError;

/// Why a ramdisk could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// Packages could not be chosen or fetched.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A package does not have a file of the recipe.
    #[error("the package `{package}` has no file `{file}`")]
    NoFile {
        /// Name of the package.
        package: String,
        /// The path or pattern.
        file: String,
    },
    /// No package contains a library.
    #[error("no package has the library `{library}`, which {} needs", needed_by.display())]
    NoLibrary {
        /// Soname of the library.
        library: String,
        /// Path of the file that needs it.
        needed_by: PathBuf,
    },
    /// An ELF file is damaged.
    #[error("{} is not a valid ELF file", path.display())]
    Elf {
        /// Path of the file.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: goblin::error::Error,
    },
    /// The agent's file cannot be read.
    #[error("cannot read the agent {}", path.display())]
    NoAgent {
        /// Path of the file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// The agent needs a loader or libraries.
    #[error("the agent {} is linked dynamically", path.display())]
    DynamicAgent {
        /// Path of the file.
        path: PathBuf,
    },
    /// The built-in recipe is malformed: an error in this program.
    #[error("{file}, line {line}: {why}")]
    Recipe {
        /// Name of the built-in file.
        file: &'static str,
        /// The line's number, from 1.
        line: usize,
        /// The mistake in the line, as a clause.
        why: String,
    },
    /// There is no kernel in the package.
    #[error("`{package}` has no kernel: {why}")]
    NoKernel {
        /// The requested package.
        package: String,
        /// The missing file or folder, as a clause.
        why: String,
    },
    /// Two entries have the same path.
    #[error("both `{first}` and `{second}` have a file `{path}`")]
    PathTaken {
        /// The path in the ramdisk.
        path: String,
        /// Part of the first entry.
        first: String,
        /// Part of the second entry.
        second: String,
    },
    /// The file is not a ramdisk made by this program.
    #[error("{} is not a ramdisk made by `initramfs build`: {why}", path.display())]
    NotARamdisk {
        /// Path of the file.
        path: PathBuf,
        /// The missing file or folder, as a clause.
        why: String,
    },
    /// An option has an invalid value.
    #[error("{what}")]
    Usage {
        /// The mistake, as a clause.
        what: String,
    },
}

impl Error {
    /// The hint: an instruction to the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Tool { source, .. } => return source.hint(),
            Self::Archive(ArchiveError::Sources(SourcesError::NoArchive { .. })) => {
                "give a mirror with `--mirror URL`, or another release with `--suite`".to_owned()
            }
            Self::Archive(source) => return source.hint(),
            Self::NoAgent { .. } => {
                "build it with `make agent`, or give another file with `--agent`".to_owned()
            }
            Self::DynamicAgent { .. } => {
                "build it with `make agent`: for an explicit target, with `+crt-static`".to_owned()
            }
            _ => return None,
        })
    }
}

/// Makes [`Error::Tool`] of a program's error; `doing` completes "cannot …".
pub(crate) fn tool(doing: impl Into<String>) -> impl FnOnce(ExecError) -> Error {
    let doing = doing.into();
    |source| Error::Tool {
        doing,
        source: Box::new(source),
    }
}

/// Makes [`Error::Io`] of an I/O error; `doing` completes "cannot …", followed by the path.
pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        doing,
        path,
        source,
    }
}
