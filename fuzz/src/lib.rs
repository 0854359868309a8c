//! What the fuzzer calls: one target for each parser that reads bytes of others.
//!
//! A target does with its input what the agent does with it, and panics where what came out breaks a promise. An error
//! is a good outcome. `make fuzz` makes inputs up, guided by the code they reach; `tests/corpus.rs` replays those of
//! `testdata/fuzz`, among them every input that was once a fault.

#![allow(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a fuzzer reports by panicking"
)]

mod disk;
mod grub;
mod image;
mod network;
mod request;

/// A parser, with what it must not do.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of the folder of its corpus.
    pub name: &'static str,
    /// Reads one input; panics for a fault.
    pub run: fn(&[u8]),
}

const fn of(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// All targets: first what comes from the network, then what is on disks, then the request.
pub const TARGETS: [Target; 19] = [
    of("http-head", network::head),
    of("metadata", network::metadata),
    of("manifest", network::manifest),
    of("signature", network::signature),
    of("prefix", image::prefix),
    of("decode", image::decode),
    of("tar", image::tar),
    of("qcow2", image::qcow2),
    of("vmdk", image::vmdk),
    of("table", disk::table),
    of("fat", disk::fat),
    of("stamp", disk::stamp),
    of("answers", disk::answers),
    of("request", request::request),
    of("configdrive", request::configdrive),
    of("settings", request::settings),
    of("template", request::template),
    of("grub", grub::quoting),
    of("escape", network::escape),
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    const ALL: &[Target] = &TARGETS;
    ALL.iter().find(|target| target.name == name)
}

/// The first byte, which chooses between ways to read the rest.
fn choice(input: &[u8]) -> Option<(u8, &[u8])> {
    input.split_first().map(|(first, rest)| (*first, rest))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
