//! What several test programs share: upstream's fixtures and their form of a machine.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code, of which each test program uses a part"
)]

pub mod machine;
pub mod mutation;
pub mod render;
pub mod scheme;
pub mod upstream;

use std::path::{Path, PathBuf};

/// The folder with upstream's fixtures; `None`, with a word about it, on a machine that does not have them.
pub fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/fuel");
    if folder.is_dir() {
        return Some(folder);
    }
    host::fake::skipped("no ../shared/fixtures/fuel beside the repository");
    None
}

/// A file of the fixtures, read as JSON.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of all fixtures that have upstream's layout or error beside them, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder is readable")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().ok()?;
            Some(name.strip_suffix(".scheme.json")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// The inventory that a fixture was made with, from its `expect.md`.
pub fn inventory_of(folder: &Path, name: &str) -> fuel_agent::model::inventory::Inventory {
    let text = std::fs::read_to_string(folder.join(format!("{name}.expect.md"))).expect("readable");
    let file = ["inventory-nvme.json", "inventory-mpath.json"]
        .into_iter()
        .find(|file| text.contains(file))
        .unwrap_or("inventory-sample.json");
    upstream::inventory(&json(&folder.join(file)))
}
