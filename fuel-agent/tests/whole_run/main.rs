//! Whole runs of the binary: onto files that stand for disks, and, where there are loop devices and root, onto block
//! devices with all that follows: mounts, boot code, stamp, completion.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program"
)]

mod archive;
mod attacks;
mod faults;
mod file_disk;
mod lab;
mod local_files;
mod loop_disk;
mod packed;
mod reverify;
mod round_trip;
mod secrets;
mod signed;
mod talking;
mod trust;
mod write;
