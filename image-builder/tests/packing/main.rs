//! Runs of `image-builder`: real tools make its inputs and read its outputs.

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
