//! Real images: two builds from one lock are the same bytes.
//!
//! Slow (minutes), needs root, and fetches packages the first time:
//! `cargo test -p image-builder --test reproducible -- --ignored`.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops where it fails, and starts the program itself"
)]

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;

/// Builds the image in `folder` from the lock beside it, with the workspace's cache of packages.
fn build(folder: &Path) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let status = Command::new(env!("CARGO_BIN_EXE_image-builder"))
        .args(["build", "debian", "--name", "demo", "--level", "1"])
        .args(["--kernel", "linux-image-cloud-amd64"])
        .args(["--lock", "../demo.lock", "--out", "out", "--work", "work"])
        .arg("--cache")
        .arg(target.join("cache/debs"))
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success());
}

/// Whether two files have the same bytes.
fn is_same(one: &Path, two: &Path) -> bool {
    let (mut one, mut two) = (File::open(one).unwrap(), File::open(two).unwrap());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    loop {
        first.clear();
        second.clear();
        one.by_ref().take(1 << 20).read_to_end(&mut first).unwrap();
        two.by_ref().take(1 << 20).read_to_end(&mut second).unwrap();
        if first != second {
            return false;
        }
        if first.is_empty() {
            return true;
        }
    }
}

#[test]
#[ignore = "builds two images, which takes minutes"]
fn one_lock_gives_the_same_bytes_in_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for folder in [&one, &two] {
        fs::create_dir(folder).unwrap();
        build(folder);
    }
    // what the archive calls required is there, and the local archive is not
    let bill = fs::read_to_string(one.join("out/demo.cdx.json")).unwrap();
    for package in ["apt", "base-files", "cloud-init"] {
        assert!(
            bill.contains(&format!("pkg:deb/debian/{package}@")),
            "{package}"
        );
    }
    let mut names: Vec<_> = fs::read_dir(one.join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let (first, second) = (one.join("out").join(&name), two.join("out").join(&name));
        assert!(is_same(&first, &second), "{name:?} differs");
    }
}
