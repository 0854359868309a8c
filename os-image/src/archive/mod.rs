//! A tar archive as a stream: its entries one after the other, with their data in place.
//!
//! ```text
//!   walk        headers, data, the end
//!   entry       a header combined with the extended headers before it
//!   header      one block: fields, checksum, four layouts (old, POSIX, star, GNU)
//!   extended    records for fields that do not fit into a block (PAX): names, sizes, times, attributes
//!   acl         converts an access control list from text to the kernel's format
//!   sparse      which parts of a sparse file are data
//!   name        names of entries, confined to the root
//! ```
//!
//! Read are the formats of GNU tar (`gnu`, `oldgnu`, `pax`, `posix`, `ustar`, `v7`), bsdtar and Go, with long names,
//! large and negative numbers, extended attributes, and sparse files in GNU's four forms. An entry that cannot be
//! unpacked exactly as it was archived is an error that names the entry: unknown types, parts of incremental or
//! multi-volume archives, links with data, names that lead out of the archive. Memory is bounded: an extended header
//! has 1 MiB at most.
//!
//! The end is checked too: two blocks of zeros, and nothing but zeros after them, so that a digest of the bytes that
//! were read covers the whole file.

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

/// An entry, as it is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the root.
    pub name: Name,
    /// Its kind, with what belongs to that kind only.
    pub kind: Kind,
    /// Permissions, set-id and sticky bits (at most 0o7777).
    pub mode: u32,
    /// Numeric id of its owner; a user name in the archive is ignored, since it may mean another id on this machine.
    pub user: u32,
    /// Numeric id of its group.
    pub group: u32,
    /// Time of its last modification.
    pub modified: Time,
    /// Its extended attributes, access control lists among them.
    pub attributes: Vec<Attribute>,
}

/// Kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its data follows.
    File {
        /// Its size in bytes, holes included.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Its target: any bytes.
        to: Vec<u8>,
    },
    /// A hard link: another name of an earlier entry.
    HardLink {
        /// Path of the earlier entry, below the root.
        to: Name,
    },
    /// A character device.
    Character {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
    /// A named pipe.
    Pipe,
}
