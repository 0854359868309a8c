//! The ground floor: what all rooms speak of. Pure; imports nothing of the agent, and of `host` its units and
//! the names of its tools.
//!
//! ```text
//!   stage        the stages of a run, in their order
//!   url          addresses, whose secrets are never printed
//!   error        what can go wrong, and who can fix it
//!   node         who the node is
//!   operating_system   what its image holds
//!   filesystem   what can be done with each type of filesystem
//!   mkfs_options which options a request may give to the program that makes one
//!   inventory    what the node has; multipath: one medium behind several block devices
//!   partition_type   types of partitions, known and given
//!   signature_places   where a device may hold signatures
//!   index        positions in the lists of storage and plan
//!   storage      what shall be on its disks
//!   request      what is asked: both together, with the images
//!   first_boot   what the installed system changes of itself at its first boot
//!   digest       digests of whole images, and who states them
//!   sources      what is known of the images
//!   time         points in time, as text
//!   trust        what an image is trusted by, and what is required of one
//!   plan, step   what will happen
//!   report       what happened
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub(crate) mod count;
pub mod digest;
pub mod error;
pub mod filesystem;
pub mod first_boot;
pub(crate) mod grub;
pub mod index;
pub mod inventory;
pub mod mismatch;
pub mod mkfs_options;
mod multipath;
pub mod node;
pub mod operating_system;
pub mod partition_type;
pub mod plan;
pub mod report;
pub mod request;
pub mod signature_places;
pub mod sources;
pub mod stage;
pub mod step;
pub mod storage;
pub mod time;
pub mod trust;
pub mod url;
