//! Errors of archives: the place, the entry, and what is wrong there.

use std::io;

/// Why an archive was not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The input failed before the end of the archive.
    #[error("cannot read the archive after {at} bytes")]
    Read {
        /// Bytes read before the error.
        at: u64,
        /// The reader's error.
        #[source]
        source: io::Error,
    },
    /// It does not begin as a tar archive does.
    #[error("it is not a tar archive")]
    NotTar,
    /// It ends before its two blocks of zeros, or in the middle of a block.
    #[error("it ends in the middle, after {at} bytes{}", of(.entry.as_deref()))]
    Truncated {
        /// Length of the archive in bytes.
        at: u64,
        /// The entry that was being read, if any.
        entry: Option<String>,
    },
    /// Its end is followed by data other than zeros.
    #[error("other data follows after its end, at byte {at}")]
    Trailing {
        /// Offset of that byte in the archive.
        at: u64,
    },
    /// Too many zeros follow after its end.
    #[error("more than {most} zeros follow after its end")]
    Endless {
        /// Limit in bytes.
        most: u64,
    },
    /// A header is invalid.
    #[error("the header at byte {at} {why}")]
    Header {
        /// Offset of the header in the archive, in bytes.
        at: u64,
        /// The problem, as a predicate: `has …`, `is …`.
        why: String,
    },
    /// An entry is invalid or not supported.
    #[error("its entry `{entry}` {why}")]
    Entry {
        /// Its name, escaped and shortened for display.
        entry: String,
        /// The problem, as a predicate: `has …`, `is …`.
        why: String,
    },
}

fn of(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |entry| format!(", in its entry `{entry}`"))
}
