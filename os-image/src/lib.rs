//! What operating-system images are, as bytes: how they are wrapped, and what lies beside them.
//!
//! ```text
//!   container   which kind of file the first bytes belong to; what a zstd frame asks for
//!   metadata    the YAML that Fuel publishes beside an image: sizes and digests, read and written
//! ```
//!
//! Nothing here knows of disks, networks or agents; whoever has bytes may ask.

pub mod container;
pub mod metadata;
