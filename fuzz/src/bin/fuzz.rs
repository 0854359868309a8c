//! The fuzzer: one target of [`fuzz::TARGETS`], named by the variable `FUZZ_TARGET`, with libFuzzer's own options.

#![no_main]

use std::sync::OnceLock;

use fuzz::Target;

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(bytes);
    }
});

/// Fails where there is no such target: a run without one would find nothing.
#[allow(clippy::panic, reason = "a fuzzer reports by panicking")]
fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = fuzz::target(&name) else {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET=`{name}` is none of {}", names.join(" "));
    };
    let _ = TARGET.set(target);
}
