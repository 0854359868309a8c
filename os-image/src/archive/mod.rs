//! A tar archive as a stream: its entries one after the other, with their data in place.
//!
//! ```text
//!   walk        headers, data, the end
//!   entry       what a header and those before it come to
//!   header      one block: fields, checksum, four layouts (old, POSIX, star, GNU)
//!   extended    records for what has no room in a block (PAX): names, sizes, times, attributes
//!   acl         an access control list as text, to the kernel's own form
//!   sparse      which parts of a file with holes are there
//!   name        where an entry belongs: below the root, or nowhere
//! ```
//!
//! Read are the formats of GNU tar (`gnu`, `oldgnu`, `pax`, `posix`, `ustar`, `v7`), bsdtar and Go, with long names, large and
//! negative numbers, extended attributes, and sparse files in GNU's four forms. What would be unpacked by guesswork, or not as it was
//! archived, is an error that names the entry: unknown kinds, parts of incremental or multi-volume archives, links that
//! have data, names that lead out. Memory is bounded: an extended header has 1 MiB at most.
//!
//! The end counts too. Two blocks of zeros have to be there, and nothing but zeros after them, so that whoever digests what is read
//! digests everything.

mod acl;
mod entry;
mod error;
mod extended;
mod header;
mod name;
mod sparse;
mod walk;

#[cfg(test)]
mod tests;

pub use error::ArchiveError;
pub use extended::{Attribute, Time};
pub use name::Name;
pub use walk::Archive;

/// An entry, as it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// Number of its owner; the name that an archive may have as well means nothing on another machine.
    pub user: u32,
    /// Number of its group.
    pub group: u32,
    /// When it was changed last.
    pub modified: Time,
    /// Its extended attributes, access control lists among them.
    pub attributes: Vec<Attribute>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its data follows.
    File {
        /// How long it is, holes included.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// What is written in it: any bytes.
        to: Vec<u8>,
    },
    /// Another name of a file that came before.
    HardLink {
        /// Its name.
        to: Name,
    },
    /// A character device.
    Character {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Pipe,
}
