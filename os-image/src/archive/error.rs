//! What may be wrong with an archive: where, in which entry, and what is not so there.

use std::io;

/// Why an archive was not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes did not arrive.
    #[error("cannot read the archive after {at} bytes")]
    Read {
        /// How many were read before.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not begin as a tar archive does.
    #[error("it is no tar archive")]
    NotTar,
    /// It ends before its two blocks of zeros, or in the middle of a block.
    #[error("it ends in the middle, after {at} bytes{}", of(.entry.as_deref()))]
    Truncated {
        /// How many there are.
        at: u64,
        /// What was being read.
        entry: Option<String>,
    },
    /// There is something behind its end that is not zeros.
    #[error("something follows after its end, at byte {at}")]
    Trailing {
        /// Where.
        at: u64,
    },
    /// The zeros behind its end are too many.
    #[error("more than {most} zeros follow after its end")]
    Endless {
        /// The most that are read.
        most: u64,
    },
    /// A header, or what it stands for, cannot be.
    #[error("the header at byte {at} {why}")]
    Header {
        /// Where it begins.
        at: u64,
        /// What is not so.
        why: String,
    },
    /// An entry cannot be.
    #[error("its entry `{entry}` {why}")]
    Entry {
        /// Its name, for people.
        entry: String,
        /// What is not so.
        why: String,
    },
}

fn of(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |entry| format!(", in its entry `{entry}`"))
}
