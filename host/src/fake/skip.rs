//! Tests that cannot run on this machine.
#![expect(clippy::print_stdout, reason = "the output of a test")]

use std::fmt::Display;
use std::io::Write as _;

/// Prints why a test does not run here: a tool, a fixture or a right is missing. The caller returns.
///
/// # Panics
///
/// If the environment has `CI=true`: there, everything that tests need must be installed, and a skipped test would look
/// like one that passed.
pub fn skipped(why: impl Display) {
    assert_not_ci(&why.to_string(), std::env::var("CI").ok().as_deref());
    println!("skipped: {why}");
    note(&why.to_string());
}

/// Adds a line to the file that `SKIPPED_TESTS` names: `make test` counts them at its end.
fn note(why: &str) {
    let Some(path) = std::env::var_os("SKIPPED_TESTS") else {
        return;
    };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    if let Err(error) = log.and_then(|mut log| writeln!(log, "{test}: {why}")) {
        println!("cannot add to SKIPPED_TESTS: {error}");
    }
}

fn assert_not_ci(why: &str, ci: Option<&str>) {
    assert!(ci != Some("true"), "skipped where CI=true: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_test_fails_where_ci_is_true() {
        for ci in [None, Some(""), Some("false")] {
            assert_not_ci("no loop device", ci);
        }
        let failed = std::panic::catch_unwind(|| assert_not_ci("no loop device", Some("true")));
        assert!(failed.is_err());
    }
}
