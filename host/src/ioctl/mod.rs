//! Kernel calls that need `unsafe`: one family per file, each wrapped in a safe function.
//!
//! ```text
//!   block      block devices and their partitions
//!   loops      loop devices: files as block devices
//!   process    parent-death signals; descriptors of children
//!   confine    what a child sees of this machine
//!   flags      inode flags: efivarfs protects its files with one
//!   kexec      loading a kernel that is started without the firmware
//!   terminal   the width of a terminal
//! ```

#![expect(
    unsafe_code,
    reason = "this folder is the boundary: every use carries its argument"
)]

pub mod block;
pub(crate) mod confine;
pub mod flags;
pub(crate) mod kexec;
pub mod loops;
pub(crate) mod process;
pub(crate) mod terminal;
