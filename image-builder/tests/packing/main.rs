//! `image-builder` as people start it: images of real tools in, packed images out, and nothing where it fails.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test program"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the tools that make the inputs and read the outputs"
)]

mod faults;
mod forms;
mod lab;
mod signing;
mod unused_blocks;
