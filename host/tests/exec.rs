//! Programs really started: how they end, what they leave behind, and what stops them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Program, System};
use host::wait;
use tempfile::TempDir;

/// Names that no file of this machine has.
const ONE: Program = Program::new("one-shell", "none");
const TWO: Program = Program::new("two-shells", "none");

/// A folder in which every program that the tests use is a shell.
fn shells() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in [ONE, TWO] {
        symlink("/bin/sh", folder.path().join(program.name())).unwrap();
    }
    folder
}

fn system(folder: &TempDir, cancel: &Cancel) -> System {
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    System::new(cancel.clone()).with_path(path)
}

fn script(text: &str) -> Cmd {
    Cmd::new(ONE).args(["-c", text])
}

fn run(cmd: &Cmd) -> Result<host::exec::Output, ExecError> {
    system(&shells(), &Cancel::new()).run(cmd)
}

/// Waits until a test's program has written its file.
fn text_of(file: &Path) -> String {
    wait::until(Duration::from_mins(1), || {
        let text = fs::read_to_string(file).unwrap_or_default();
        Ok(text.ends_with('\n').then(|| text.trim().to_owned()))
    })
    .unwrap()
}

/// Waits until a process has ended; an unreaped one has ended too.
fn wait_gone(pid: &str) {
    wait::until(Duration::from_mins(1), || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        Ok(stat
            .map_or(true, |stat| stat.contains(") Z "))
            .then_some(()))
    })
    .unwrap();
}

#[test]
fn a_program_gets_a_clean_environment_and_the_root() {
    let cmd = script("pwd; env | grep -v PWD | sort; cat").env("KEY", "a b");
    let folder = shells();
    let output = system(&folder, &Cancel::new()).run(&cmd).unwrap();
    let path = format!("PATH={}:/usr/bin:/bin", folder.path().display());
    let lines: Vec<&str> = output
        .stdout
        .lines()
        .filter(|line| !line.starts_with("_="))
        .collect();
    assert_eq!(lines, ["/", "KEY=a b", "LC_ALL=C", &path]);
    assert_eq!(output.stderr, "");
}

#[test]
fn it_runs_in_the_folder_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&script("pwd -P").directory(folder.path())).unwrap();
    let expected = folder.path().canonicalize().unwrap();
    assert_eq!(Path::new(output.stdout.trim()), expected);
}

#[test]
fn a_status_that_is_accepted_is_returned() {
    let output = run(&script("echo out; echo err >&2; exit 2").accept(&[0, 2])).unwrap();
    assert_eq!(
        (
            output.status,
            output.stdout.as_str(),
            output.stderr.as_str()
        ),
        (2, "out\n", "err\n")
    );
}

#[test]
fn another_status_is_an_error_with_the_last_line() {
    let error = run(&script(
        "echo first >&2; echo the cause >&2; echo >&2; exit 3",
    ))
    .unwrap_err();
    let ExecError::Failed {
        status,
        last_line,
        stderr,
        stdout,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*status, last_line.as_str()), (3, "the cause"));
    assert_eq!(
        (stderr.as_str(), stdout.as_str()),
        ("first\nthe cause\n\n", "")
    );
    let error = run(&script("echo only out; exit 1")).unwrap_err();
    assert!(error.to_string().ends_with("status 1: only out"), "{error}");
    let error = run(&script("exit 1")).unwrap_err();
    assert!(
        error.to_string().ends_with("status 1: it printed nothing"),
        "{error}"
    );
}

#[test]
fn a_signal_is_not_a_status() {
    let error = run(&script("kill -9 $$")).unwrap_err();
    assert!(
        matches!(error, ExecError::Signalled { signal: 9, .. }),
        "{error}"
    );
}

#[test]
fn a_tool_that_is_not_there_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = System::new(Cancel::new()).with_path(folder.path());
    let error = system.run(&Cmd::new(ONE)).unwrap_err();
    assert!(
        matches!(error, ExecError::Missing { program: ONE }),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_executed_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(ONE.name()), "").unwrap();
    let system = System::new(Cancel::new()).with_path(folder.path());
    assert_eq!(system.find(ONE), None);
}

#[test]
fn a_folder_that_is_not_there_is_an_error_with_its_cause() {
    let error = run(&script("true").directory("/nonexistent")).unwrap_err();
    assert!(matches!(error, ExecError::Io { .. }), "{error}");
}

#[test]
fn input_and_outputs_larger_than_any_pipe_do_not_block() {
    let input = vec![b'x'; 5 << 20];
    let cmd = script("cat; echo end >&2").stdin(input).keep(8 << 20);
    let output = run(&cmd).unwrap();
    assert_eq!(
        (output.stdout.len(), output.stderr.as_str()),
        (5 << 20, "end\n")
    );
    assert!(!output.truncated);
}

#[test]
fn of_a_huge_output_the_end_is_kept() {
    let output =
        run(&script("head -c 50000000 /dev/zero | tr '\\0' x; echo end").keep(1000)).unwrap();
    assert_eq!(output.stdout.len(), 1000);
    assert!(output.truncated && output.stdout.ends_with("xend\n"));
}

#[test]
fn input_that_is_not_wanted_is_no_error() {
    let output = run(&script("exit 0").stdin(vec![b'x'; 5 << 20])).unwrap();
    assert_eq!(output.status, 0);
}

#[test]
fn output_that_is_no_text_is_kept_as_far_as_it_can_be() {
    assert_eq!(
        run(&script(r"printf 'a\377b'")).unwrap().stdout,
        "a\u{fffd}b"
    );
}

#[test]
fn too_long_is_too_long_for_grandchildren_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // Both ignore SIGTERM; only the kill after the grace ends them.
    let text = format!(
        "trap '' TERM; sleep 1000 & echo $! > {}; wait",
        file.display()
    );
    let cmd = script(&text).timeout(Duration::from_millis(200));
    let shells = shells();
    let mut system = system(&shells, &Cancel::new()).with_grace(Duration::from_millis(50));
    let error = system.run(&cmd).unwrap_err();
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    if let Ok(pid) = fs::read_to_string(&file) {
        wait_gone(pid.trim());
    }
}

#[test]
fn a_daemon_left_behind_is_not_waited_for() {
    let output = run(&script("sleep 30 & echo $!")).unwrap();
    let pid = output.stdout.trim();
    let still = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(!still.contains(") Z "), "{still}");
    run(&script(&format!("kill {pid}"))).unwrap();
}

#[test]
fn a_set_flag_stops_what_runs_and_lets_it_clean_up() {
    let (folder, shells) = (tempfile::tempdir().unwrap(), shells());
    let (started, cleaned) = (folder.path().join("started"), folder.path().join("cleaned"));
    let text = format!(
        "trap 'echo yes > {}; exit 0' TERM; echo go > {}; while :; do sleep 0.05; done",
        cleaned.display(),
        started.display()
    );
    let cancel = Cancel::new();
    let waiter = {
        let (cancel, started) = (cancel.clone(), started.clone());
        thread::spawn(move || {
            text_of(&started);
            cancel.cancel();
        })
    };
    let error = system(&shells, &cancel).run(&script(&text)).unwrap_err();
    waiter.join().unwrap();
    assert!(matches!(error, ExecError::Cancelled { .. }), "{error}");
    assert_eq!(text_of(&cleaned), "yes");
}

#[test]
fn once_the_flag_is_set_nothing_is_started_but_clean_up() {
    let cancel = Cancel::new();
    let shells = shells();
    let mut system = system(&shells, &cancel);
    cancel.cancel();
    let error = system.run(&script("true")).unwrap_err();
    assert!(matches!(error, ExecError::Cancelled { .. }), "{error}");
    cancel.begin_clean_up();
    system.run(&script("true")).unwrap();
}

#[test]
fn a_program_in_the_background_runs_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let shells = shells();
    let system = system(&shells, &Cancel::new());
    let cmd = script("cat; echo err >&2; sleep 1000 & echo $!; wait").stdin("in\n");
    let mut running = system.spawn(&cmd, &log).unwrap();
    let grandchild = wait::until(Duration::from_mins(1), || {
        let text = fs::read_to_string(&log)?;
        let lines: Vec<&str> = text.lines().collect();
        Ok((lines.len() == 3 && text.ends_with('\n')).then(|| lines[2].to_owned()))
    })
    .unwrap();
    assert_eq!(running.try_wait().unwrap(), None);
    let status = running.stop().unwrap();
    assert_eq!(status.code(), None);
    wait_gone(&grandchild);
    assert!(fs::read_to_string(&log).unwrap().starts_with("in\nerr\n"));
}

#[test]
fn a_program_in_the_background_has_an_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let shells = shells();
    let system = system(&shells, &Cancel::new());
    let log = folder.path().join("log");
    let mut running = system.spawn(&script("exit 7"), &log).unwrap();
    let status = running
        .wait_timeout(Duration::from_mins(1))
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(running.stop().unwrap().code(), Some(7));
    let mut running = system.spawn(&script("kill -9 $$"), &log).unwrap();
    let status = running
        .wait_timeout(Duration::from_mins(1))
        .unwrap()
        .unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
}

#[test]
fn a_program_in_the_background_outlives_the_thread_that_asked_for_it_but_not_its_handle() {
    let folder = tempfile::tempdir().unwrap();
    let shells = shells();
    let system = system(&shells, &Cancel::new());
    let log = folder.path().join("log");
    let mut running = thread::spawn(move || system.spawn(&script("sleep 1000"), &log))
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(
        running.wait_timeout(Duration::from_millis(50)).unwrap(),
        None
    );
    let pid = running.pid().to_string();
    drop(running);
    wait_gone(&pid);
}

#[test]
fn what_cannot_be_logged_is_not_started() {
    let shells = shells();
    let system = system(&shells, &Cancel::new());
    let error = system
        .spawn(&script("true"), Path::new("/nonexistent/log"))
        .unwrap_err();
    let ExecError::Io { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
}
