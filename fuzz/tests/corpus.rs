//! Each input of `testdata/fuzz/TARGET` once through its target: examples, and inputs that were once faults.

#![allow(clippy::expect_used, clippy::panic, reason = "a test program")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_input_is_read_without_a_fault() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/fuzz"));
    let folders = fs::read_dir(folder).expect("testdata/fuzz");
    let names = folders.map(|entry| entry.expect("a folder").file_name());
    let found: BTreeSet<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let expected = fuzz::TARGETS.iter().map(|target| target.name.to_owned());
    assert_eq!(found, expected.collect(), "a folder for each target");
    for target in &fuzz::TARGETS {
        let inputs = fs::read_dir(folder.join(target.name)).expect("a corpus");
        let mut count = 0;
        for input in inputs {
            let path = input.expect("an input").path();
            let bytes = fs::read(&path).expect("an input");
            assert!(bytes.len() <= 64 << 10, "{} is large", path.display());
            let run = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(run.is_ok(), "{} is a fault", path.display());
            count += 1;
        }
        assert!(count > 0, "{} has no inputs", target.name);
    }
}
