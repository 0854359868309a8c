//! Kernel calls that need `unsafe`: one family a file, each wrapped at once into a safe function.
//!
//! ```text
//!   block      what a block device is, and its partitions
//!   loops      files as block devices: for tests and the testbed
//!   process    a child that dies with us; a descriptor for a child
//!   flags      flags of an inode: efivarfs guards its files with one
//!   kexec      a kernel that is started without the firmware
//!   terminal   how wide a terminal is
//! ```

#![expect(
    unsafe_code,
    reason = "this folder is the boundary: every use carries its argument"
)]

pub mod block;
pub mod flags;
pub mod kexec;
pub mod loops;
pub mod process;
pub mod terminal;
