//! What the scripts of the ramdisk share, run by this machine's shell. That the whole of them works is seen in boot.rs.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::Path;

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Program, System};

const SH: Program = Program::new("sh", "dash");

/// What `script` prints after the functions were read; their state is in `folder`.
fn run(folder: &Path, script: &str) -> String {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("files/functions");
    let script = format!(
        ". {}; STATE={}; {script}",
        functions.display(),
        folder.display()
    );
    let cmd = Cmd::new(SH).args(["-c", &script]);
    System::new(Cancel::new()).run(&cmd).unwrap().stdout
}

#[test]
fn secrets_of_an_address_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (url, shown) in [
        ("http://host/r", "http://host/r"),
        ("https://user:pass@host/r?token=x", "https://host/r?..."),
        ("https://host/r?to=a@b", "https://host/r?..."),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
    ] {
        let script = format!("masked '{url}'");
        assert_eq!(run(folder.path(), &script).trim_end(), shown);
    }
}

#[test]
fn a_log_keeps_its_last_part_and_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    run(folder.path(), "seq 1 200000 | logged ssh");
    let text = |name: &str| fs::read_to_string(log.join(name)).unwrap();
    let (last, before) = (text("ssh"), text("ssh.1"));
    assert!(last.ends_with("\n200000\n"));
    assert!(last.len() + before.len() < 600_000);
    let next: u32 = before.lines().last().unwrap().parse().unwrap();
    assert!(last.starts_with(&format!("{}\n", next + 1)));
    assert_eq!(fs::read_dir(&log).unwrap().count(), 2);
}

#[test]
fn a_time_server_that_dhcp_named_is_believed_within_limits() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("built"), "1700000000\n").unwrap();
    let believes = |before: u64, after: u64| {
        let script = format!(
            "BUILT=$STATE/built; if is_believable {before} {after}; then echo yes; else echo no; fi"
        );
        run(folder.path(), &script) == "yes\n"
    };
    let now = 1_750_000_000;
    assert!(believes(now, now + 3600) && believes(now, now - 3600));
    assert!(!believes(now, now + 90_000) && !believes(now, now - 90_000));
    fs::write(folder.path().join("clock-unset"), "").unwrap();
    let built = 1_700_000_000;
    assert!(believes(built, now) && believes(built, built));
    assert!(!believes(built, built - 1) && !believes(built, built + 320_000_000));
}

#[test]
fn the_last_word_of_a_name_counts_and_quotes_keep_blanks_together() {
    let folder = tempfile::tempdir().unwrap();
    let words = "a=1 \"b=2 3\" a=4 flag -- a=5";
    run(
        folder.path(),
        &format!("printf '%s\\n' '{words}' | words >$STATE/words"),
    );
    let param = |name: &str| run(folder.path(), &format!("param {name}"));
    assert_eq!(param("a"), "4\n");
    assert_eq!(param("b"), "2 3\n");
    assert_eq!(param("flag"), "1\n");
    assert_eq!(param("other"), "\n");
}
