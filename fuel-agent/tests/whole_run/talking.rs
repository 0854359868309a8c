//! Output of a run for programs and orchestrators: standard output, report and callbacks.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::time::Duration;

use fuel_agent::testing::fault_server::Fault;
use host::nonblocking::{self, PollingWriter};

use super::file_disk::{DISK, REQUEST};
use super::lab::{Lab, equipped, signal};

/// A pipe in which there is no room for one byte, with the end that nothing reads from.
fn full_pipe() -> (io::PipeReader, File) {
    let (reader, writer) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    // opened anew, so that filling it does not wait; the end that is handed on does
    let mut filler = PollingWriter::new(nonblocking::open(path.as_ref()).unwrap());
    for bytes in [vec![b'x'; 1 << 20], vec![b'x']] {
        let error = filler
            .write_within(&bytes, Duration::from_millis(1))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
    (reader, File::from(OwnedFd::from(writer)))
}

#[test]
fn an_output_that_is_not_read_does_not_stop_a_run() {
    if !equipped() {
        return;
    }
    for dialect in ["plain", "json", "human"] {
        let lab = Lab::new();
        let (_reader, writer) = full_pipe();
        let dialect = format!("--dialect={dialect}");
        let mut child = lab.start_on(&["run", DISK, REQUEST, &dialect], writer);
        assert_eq!(child.wait().unwrap().code(), Some(10), "{dialect}");
        assert_eq!(lab.report()["images"][0]["verified"], true);
    }
}

#[test]
fn an_output_that_is_not_read_does_not_keep_a_signal_from_ending_a_run() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.mood.lock().unwrap().image = Some(|_, reply| {
        let stall = reply.body.len() > 100_000;
        reply.fault(if stall {
            Fault::StallAt(70_000)
        } else {
            Fault::None
        })
    });
    let (_reader, writer) = full_pipe();
    let mut child = lab.start_on(&["run", DISK, REQUEST], writer);
    lab.until_image_flows();
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(lab.report()["result"], "interrupted");
}

#[test]
fn a_signal_ends_a_failure_callback_that_hangs() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    {
        let mut mood = lab.mood.lock().unwrap();
        mood.failed_hangs = true;
        mood.digest = Some("00000000000000000000000000000000");
    }
    let failure = format!("--set=failure={}", lab.server.url("/failed"));
    let patient = ["--set=http.stall=1h", "--set=notify.budget=1h"];
    let args = [
        "run",
        DISK,
        REQUEST,
        &failure,
        patient[0],
        patient[1],
        "--dialect=json",
    ];
    let child = lab.start(&args);
    let is_called = || {
        let calls = lab.requests_to("/failed");
        Ok(calls.iter().any(|it| it.method == "POST").then_some(()))
    };
    host::wait::until(Duration::from_mins(1), is_called).unwrap();
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    // The run failed before: that is its status.
    assert_eq!(output.status.code(), Some(6));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("interrupted"), "{text}");
    assert_eq!(lab.report()["exit_status"], 6);
}

#[test]
fn a_report_goes_into_what_is_there_and_replaces_no_device() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    symlink("/dev/null", lab.path("null")).unwrap();
    symlink("real.json", lab.path("link")).unwrap();
    for report in ["--report=null", "--report=link"] {
        let left = lab.call(&["run", DISK, REQUEST, report]);
        assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    }
    let null = fs::metadata("/dev/null").unwrap().file_type();
    assert!(null.is_char_device());
    assert!(fs::symlink_metadata(lab.path("link")).unwrap().is_symlink());
    let text = fs::read_to_string(lab.path("real.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["exit_status"], 10);
}

#[test]
fn a_report_that_can_be_written_nowhere_is_refused_before_anything_is_touched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    fs::create_dir(lab.path("folder")).unwrap();
    for report in ["folder", "nowhere/report.json", "/proc/report.json"] {
        let left = lab.call(&["run", DISK, REQUEST, &format!("--report={report}")]);
        assert_eq!(left.status, 2, "{}{}", left.out, left.error);
        assert!(
            left.error.contains("the report cannot be written"),
            "{}",
            left.error
        );
        assert!(!lab.path("disk.img").exists());
    }
    let left = lab.call(&["run", DISK, REQUEST, "--log-file=folder"]);
    assert_eq!(left.status, 2, "{}{}", left.out, left.error);
    assert!(!lab.path("disk.img").exists());
}
