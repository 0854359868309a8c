//! What operating-system images are, as bytes: how they are wrapped, and what lies beside them.
//!
//! ```text
//!   archive     a tar archive of a root filesystem, as a stream of entries
//!   container   which kind of file the first bytes belong to; what a zstd frame asks for
//!   content     what a raw image is: a disk with a partition table, a filesystem
//!   disk        disk images of virtual machines (qcow2, VMDK), in pieces, within bounds
//!   members     compressed members one after the other, and what may follow the last
//!   metadata    the YAML that Fuel publishes beside an image: sizes and digests, read and written
//!   manifest    what a packed image is: read as a stream within bounds, and written
//!   index       its chunks, in memory, consistent by construction
//!   codec       one chunk packed and unpacked, checked on the way
//!   signature   who vouches for a manifest
//!   error       what may be wrong with one
//!   hex         digests as text
//! ```
//!
//! docs/packed-images.md specifies the format. Nothing here knows of disks, networks or agents; whoever has bytes may ask.

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
