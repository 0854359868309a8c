//! Formats of operating-system images, and of the files beside them.
//!
//! ```text
//!   archive     a tar archive of a root filesystem, as a stream of entries
//!   container   the format of a file by its first bytes; the memory that a zstd frame needs
//!   content     the content of a raw image: a disk with a partition table, a filesystem
//!   disk        disk images of virtual machines (qcow2, VMDK), in pieces, within bounds
//!   members     concatenated compressed members, and what may follow the last one
//!   metadata    the YAML that Fuel publishes beside an image: sizes and digests, read and written
//!   manifest    the description of a packed image: read as a stream within bounds, and written
//!   index       its chunks, in memory, consistent by construction
//!   codec       one chunk packed and unpacked, checked on the way
//!   signature   signatures of manifests
//!   error       errors of manifests
//!   hex         digests as text
//! ```
//!
//! docs/packed-images.md specifies the format. This crate only handles bytes: it does not depend on disks, networks or
//! the agent.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod archive;
pub mod codec;
pub mod container;
pub mod content;
pub mod disk;
pub mod error;
pub mod hex;
pub mod index;
pub mod manifest;
pub mod members;
pub mod metadata;
pub mod signature;
