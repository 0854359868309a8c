//! The program: a tiny image, one round, with the tools that are installed.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::SystemTime;

use assert_cmd::Command;

/// A program of this workspace, in the same folder.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name(name)
}

/// Whether a program of another crate is newer than its sources: cargo does not build it for this test.
fn is_fresh(name: &str, sources: &str) -> bool {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(sources);
    let built = fs::metadata(beside(name)).and_then(|meta| meta.modified());
    built.is_ok_and(|built| newest(&sources.join("src")) < built)
}

/// The time of the last change in a folder.
fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let changed = entries.map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            newest(&entry.path())
        } else {
            entry.metadata().unwrap().modified().unwrap()
        }
    });
    changed.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn bench(work: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command
        .args(["--quick", "--work"])
        .arg(work)
        .arg("--agent")
        .arg(beside("provision"))
        .arg("--builder")
        .arg(beside("image-builder"))
        .args(more);
    command.output().unwrap()
}

/// Whether the bench can run here; otherwise the test is recorded as skipped.
fn equipped() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|it| {
        use std::os::unix::fs::MetadataExt;
        it.uid() == 0
    });
    let programs = [
        "/usr/sbin/nginx",
        "/usr/sbin/sgdisk",
        "/usr/bin/zstd",
        "/usr/sbin/mkfs.vfat",
    ];
    let missing: Vec<&&str> = programs
        .iter()
        .filter(|program| !Path::new(program).exists())
        .collect();
    if !root || !missing.is_empty() || !Path::new("/dev/loop-control").exists() {
        host::fake::skipped(format_args!("root {root}, not installed: {missing:?}"));
        return false;
    }
    true
}

#[test]
fn a_quick_run_writes_samples_and_results() {
    if !equipped() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    // another tool, two limits
    let mut only = vec!["curl-zstd", "limit-write", "limit-fetch-zst"];
    if is_fresh("provision", "fuel-agent") && is_fresh("image-builder", "image-builder") {
        only.extend(["zst-unverified", "delta"]);
    } else {
        println!("without rows of the agent: `cargo build --workspace` builds it");
    }
    let words: Vec<&str> = only.iter().flat_map(|word| ["--only", *word]).collect();
    let output = bench(work.path(), &words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{error}");
    for row in ["limit-write-data-parallel", "limit-write-all-single"] {
        assert!(text.contains(&format!("1/1  {row}")), "{text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
    assert_eq!(
        fs::read_to_string(work.path().join("results.json")).unwrap(),
        "[]\n"
    );
    let samples = fs::read_to_string(work.path().join("samples.jsonl")).unwrap();
    assert!(samples.lines().count() > 4, "{samples}");
    // with `--resume` no sample is measured again
    let output = bench(work.path(), &[&words[..], &["--resume"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !text.contains("1/1  "), "{text}");
}

#[test]
fn rows_are_listed_without_measuring_and_an_unknown_word_selects_none() {
    if !equipped() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let output = bench(work.path(), &["--list"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("limit-write-data-single"), "{text}");
    assert!(!work.path().join("served").exists());
    let output = bench(work.path(), &["--only", "no-such-row"]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("no row can be measured"), "{error}");
}
