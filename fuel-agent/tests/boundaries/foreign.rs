//! Rooms that read what others wrote (requests, answers of servers, images, disks) check arithmetic and indexes: there
//! a length that somebody else chose is an error, never a panic and never a number that went round.

use std::path::{Path, PathBuf};

/// The files whose first lines switch the lints on, for themselves and for the modules below them.
const CHECKED: [&str; 25] = [
    "configdrive/src/lib.rs",
    "fuel-agent/src/apply/bootconfig/mod.rs",
    "fuel-agent/src/apply/stamp.rs",
    "fuel-agent/src/events/mod.rs",
    "fuel-agent/src/http/mod.rs",
    "fuel-agent/src/inventory/mod.rs",
    "fuel-agent/src/model/mod.rs",
    "fuel-agent/src/pool.rs",
    "fuel-agent/src/request/mod.rs",
    "fuel-agent/src/settings/mod.rs",
    "fuel-agent/src/source/mod.rs",
    "fuel-agent/src/stream/mod.rs",
    "host/src/blockdev/mod.rs",
    "host/src/calendar.rs",
    "host/src/efivars.rs",
    "host/src/extract/mod.rs",
    "host/src/nonblocking.rs",
    "host/src/partition_table/mod.rs",
    "host/src/printable.rs",
    "host/src/procfs.rs",
    "host/src/resolve.rs",
    "host/src/tree.rs",
    "host/src/units.rs",
    "host/src/wait.rs",
    "os-image/src/lib.rs",
];

const LINTS: &str =
    "#![cfg_attr(not(test),warn(clippy::arithmetic_side_effects,clippy::indexing_slicing))]";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn rooms_that_read_bytes_of_others_check_arithmetic_and_indexes() {
    for file in CHECKED {
        let text = std::fs::read_to_string(workspace().join(file)).expect(file);
        let text: String = text.split_whitespace().collect();
        assert!(text.contains(LINTS), "{file} does not begin with {LINTS}");
    }
}

/// What the fuzzer reaches by a door of its own reads bytes of others.
#[test]
fn rooms_with_a_door_for_the_fuzzer_are_among_them() {
    let is_checked = |room: &Path| {
        CHECKED.iter().any(|file| {
            let file = Path::new(file);
            let is_room = file.ends_with("mod.rs") || file.ends_with("lib.rs");
            is_room && file.parent().is_some_and(|above| room.starts_with(above))
        })
    };
    let mut doors = 0;
    let mut folders = vec![PathBuf::from("fuel-agent/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(workspace().join(&folder)).expect("a folder of sources") {
            let name = entry.expect("an entry").file_name();
            let path = folder.join(&name);
            if workspace().join(&path).is_dir() {
                folders.push(path);
            } else if name == "fuzzing.rs" {
                doors += 1;
                assert!(is_checked(&folder), "{} is not checked", folder.display());
            }
        }
    }
    assert!(doors > 3, "only {doors} doors were found");
}
