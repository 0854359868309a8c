//! What state this node is in, and offering a completion again: `provision status` and `provision notify`.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use host::cancel::Cancel;
use host::lock::{Lock, LockError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::context::Places;
use super::installed::{self, Comparison};
use crate::cli::{Format, NotifyOptions, StatusOptions};
use crate::events::clock;
use crate::events::sink::Sink;
use crate::http;
use crate::model::error::{Error, Kind};
use crate::model::report::ReverifiedImage;
use crate::sequence::completion::PendingCompletion;
use crate::sequence::rundir::RunDir;
use crate::sequence::state_file::State;

/// State of a node, from its run folder and its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// The stamp is there, and the request is the one asked for.
    Ready,
    /// Installed, but the orchestrator has not accepted the completion.
    Owed,
    /// Load again, for this reason.
    NotInstalled(String),
    /// A run is under way.
    Running,
    /// The last run failed, with this exit status.
    Failed(u8),
    /// What the last run came to cannot be read.
    Unknown(String),
}

impl Condition {
    const fn exit_status(&self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Unknown(_) => Kind::Internal.exit_status(),
            Self::Owed => 20,
            Self::NotInstalled(_) => 21,
            Self::Running => 22,
            Self::Failed(status) => *status,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Owed => "owed",
            Self::NotInstalled(_) => "not-installed",
            Self::Running => "running",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What is known without reading the disks.
struct Evidence {
    /// Whether another process holds the lock.
    running: bool,
    /// The last run, if there was one since the node started.
    run: Option<State>,
    /// Why that cannot be read, where it cannot.
    unreadable: Option<String>,
    /// Whether a completion is owed.
    owed: bool,
}

/// State of the node. `difference` reads the disks: why they do not hold what is requested, if they do not.
fn condition(
    evidence: &Evidence,
    difference: impl FnOnce(Option<&State>) -> Option<String>,
) -> Condition {
    if evidence.running {
        return Condition::Running;
    }
    if evidence.owed {
        return Condition::Owed;
    }
    if let Some(why) = &evidence.unreadable {
        return Condition::Unknown(why.clone());
    }
    match &evidence.run {
        // Accepted later by `notify`: nothing is owed any more.
        Some(State {
            exit_status: Some(0 | 9),
            ..
        })
        | None => {
            difference(evidence.run.as_ref()).map_or(Condition::Ready, Condition::NotInstalled)
        }
        Some(State {
            exit_status: Some(status),
            ..
        }) => Condition::Failed(*status),
        Some(_) => Condition::NotInstalled("the last run was killed".to_owned()),
    }
}

pub(super) fn status(options: &StatusOptions) -> Result<u8, Error> {
    let places = Places::of_this_machine();
    let folder = RunDir::at(&places.run);
    let holder = Lock::holder(&folder.lock()).map_err(|error| {
        Error::new(Kind::Internal, "cannot find out whether a run is under way").because(error)
    })?;
    let (run, unreadable) = match folder.state() {
        Ok(run) => (run, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let evidence = Evidence {
        running: holder.is_some(),
        run,
        unreadable,
        owed: folder.owed().is_some(),
    };
    let mut compared = None;
    let condition = condition(&evidence, |run| {
        let digest = run.and_then(|run| run.request_digest.as_deref());
        compared
            .insert(installed::compare(options, &places, digest))
            .difference()
    });
    let out = Sink::stdout();
    // A report belongs to a run that has ended: one under way has none yet.
    let report = fs::read(folder.report())
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .filter(|_| condition != Condition::Running);
    match options.format {
        Format::Text => {
            let mut text = text(&condition, &evidence, compared.as_ref());
            for line in reverified(report.as_ref()) {
                let _ = writeln!(text, "  reverify {line}");
            }
            out.text(&text);
        }
        Format::Json => {
            let object = object(&condition, &evidence, compared.as_ref(), report.as_ref());
            out.line(&object.to_string());
        }
    }
    Ok(condition.exit_status())
}

fn object(
    condition: &Condition,
    evidence: &Evidence,
    compared: Option<&Comparison>,
    report: Option<&Value>,
) -> Value {
    json!({
        "status": condition.name(),
        "exit_status": condition.exit_status(),
        "completion_owed": evidence.owed,
        "run": evidence.run,
        // Null where the state is known without reading the disks.
        "compared": compared.map(Comparison::json),
        "report": report,
    })
}

/// What the last run found when it compared the images with the disks, a line for each.
fn reverified(report: Option<&Value>) -> Vec<String> {
    let found = report.and_then(|report| report.get("reverified"));
    let images = found.and_then(|it| Vec::<ReverifiedImage>::deserialize(it).ok());
    let images = images.unwrap_or_default();
    images.iter().map(ToString::to_string).collect()
}

fn text(condition: &Condition, evidence: &Evidence, compared: Option<&Comparison>) -> String {
    let mut text = match condition {
        Condition::Ready => "installed and ready".to_owned(),
        Condition::Owed => "installed, but the orchestrator has not accepted it yet".to_owned(),
        Condition::NotInstalled(why) => format!("not installed: {why}"),
        Condition::Running => "a run is under way".to_owned(),
        Condition::Failed(status) => format!("the last run failed with exit status {status}"),
        Condition::Unknown(why) => {
            format!("unknown: the state of the last run cannot be read: {why}")
        }
    };
    text.push('\n');
    for line in compared.iter().flat_map(|compared| compared.lines()) {
        let _ = writeln!(text, "  {line}");
    }
    let Some(run) = &evidence.run else {
        return text;
    };
    let _ = writeln!(text, "  started  {}", run.started);
    if let Some(stage) = &run.stage {
        let _ = writeln!(text, "  stage    {stage}");
    }
    if let Some(moving) = &run.progress {
        let (what, done) = (&moving.what, clock::amount(moving.done_bytes));
        let of = moving
            .total_bytes
            .map_or_else(String::new, |total| format!(" of {}", clock::amount(total)));
        let _ = writeln!(text, "  moving   {what}: {done}{of}");
    }
    if let Some(ended) = &run.ended {
        let _ = writeln!(text, "  ended    {ended}");
    }
    text
}

pub(super) fn notify(options: &NotifyOptions) -> Result<u8, Error> {
    let places = Places::of_this_machine();
    let (settings, _) = places.settings(Vec::new())?;
    let folder = RunDir::at(&places.run);
    let cancel = Cancel::new();
    super::install::on_signals(&cancel)?;
    let client = http::Client::new(&settings.http, cancel.clone())?;
    let out = super::context::printer()?;
    loop {
        // Read each time: a run that began meanwhile owes something else, or nothing.
        let Some(owed) = folder.owed() else {
            out.line("nothing is owed");
            return Ok(0);
        };
        match http::notify(&client, &owed.call.notice(), settings.notify_budget) {
            Ok(_) => return accepted(&folder, &owed, options),
            Err(error) => {
                let again = options.until_accepted && !cancel.is_cancelled();
                if !again {
                    return Err(error.into());
                }
                out.line(&format!("{} {error}; offering it again", clock::now()));
                // However small the budget is.
                client.pause(Duration::from_secs(1), &cancel)?;
            }
        }
    }
}

/// Nothing is pending any more; a run whose completion was required also ends as it would have.
fn accepted(
    folder: &RunDir,
    owed: &PendingCompletion,
    options: &NotifyOptions,
) -> Result<u8, Error> {
    super::context::printer()?.line(&format!("{} accepted the completion", owed.call.url));
    let Some(_lock) = settled(folder, owed)? else {
        return Ok(0);
    };
    if options.until_accepted {
        crate::sequence::host_executor::end(owed.end)?;
    }
    Ok(0)
}

/// Takes the note away, and gives the lock with which the machine may be ended. `None` where a run goes on, or owes
/// something else by now: the note and the machine are that run's.
fn settled(folder: &RunDir, owed: &PendingCompletion) -> Result<Option<Lock>, Error> {
    let failed = |what: &str| Error::new(Kind::Internal, format!("it was accepted, but {what}"));
    let lock = match Lock::acquire(&folder.lock()) {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => return Ok(None),
        Err(error) => return Err(failed("the lock cannot be taken").because(error)),
    };
    if folder.owed().as_ref() != Some(owed) {
        return Ok(None);
    }
    folder
        .set_pending(None)
        .map_err(|error| failed("that cannot be noted down").because(error))?;
    Ok(Some(lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(exit_status: Option<u8>) -> State {
        State {
            pid: 1,
            started: "2026-11-22T04:05:06.000Z".to_owned(),
            stage: Some("image".to_owned()),
            exit_status,
            ..State::default()
        }
    }

    fn status_of(running: bool, run: Option<State>, owed: bool, stamp: bool) -> u8 {
        let evidence = Evidence {
            running,
            run,
            unreadable: None,
            owed,
        };
        let difference = (!stamp).then(|| "not there".to_owned());
        condition(&evidence, |_| difference).exit_status()
    }

    #[test]
    fn a_state_that_cannot_be_read_is_neither_ready_nor_to_be_loaded_again() {
        let mut evidence = Evidence {
            running: false,
            run: None,
            unreadable: Some("EOF while parsing".to_owned()),
            owed: false,
        };
        let unknown = condition(&evidence, |_| None);
        assert_eq!(unknown.exit_status(), 1);
        insta::assert_snapshot!(text(&unknown, &evidence, None), @"unknown: the state of the last run cannot be read: EOF while parsing");
        evidence.running = true;
        assert_eq!(condition(&evidence, |_| None).exit_status(), 22);
    }

    #[test]
    fn the_exit_status_says_what_to_do_with_the_node() {
        for (running, run, owed, stamp, status) in [
            (true, Some(run(None)), false, true, 22),
            (true, Some(run(Some(0))), true, true, 22),
            (false, None, false, false, 21),
            (false, None, false, true, 0),
            (false, Some(run(Some(0))), false, true, 0),
            (false, Some(run(Some(0))), false, false, 21),
            (false, Some(run(Some(9))), true, true, 20),
            (false, Some(run(Some(9))), false, true, 0),
            (false, Some(run(Some(130))), true, true, 20),
            (false, Some(run(Some(6))), false, true, 6),
            (false, Some(run(Some(10))), false, false, 10),
            (false, Some(run(None)), false, true, 21),
        ] {
            let case = format!("{running} {run:?} {owed} {stamp}");
            assert_eq!(status_of(running, run, owed, stamp), status, "{case}");
        }
    }

    #[test]
    fn an_accepted_completion_ends_the_machine_only_if_no_run_has_come_since() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = RunDir::open(temporary.path()).unwrap();
        let note = |digest: &str| -> PendingCompletion {
            let call = json!({"method": "POST", "url": "http://o/built", "headers": [], "body": "",
                "expect_status": [], "expect_body": null});
            let owed = json!({"call": call, "request_digest": digest, "end": "reboot"});
            serde_json::from_value(owed).unwrap()
        };
        let (old, new) = (note("old"), note("new"));
        folder.set_pending(Some(&old)).unwrap();
        let run = Lock::acquire(&folder.lock()).unwrap();
        assert!(settled(&folder, &old).unwrap().is_none(), "a run goes on");
        assert_eq!(folder.owed().as_ref(), Some(&old));
        folder.set_pending(Some(&new)).unwrap();
        drop(run);
        assert!(settled(&folder, &old).unwrap().is_none(), "another is owed");
        assert_eq!(folder.owed().as_ref(), Some(&new));
        let lock = settled(&folder, &new).unwrap();
        assert!(lock.is_some() && folder.owed().is_none());
        let taken = Lock::holder(&folder.lock()).unwrap();
        assert_eq!(taken, Some(std::process::id()), "no run may begin now");
        drop(lock);
        assert!(
            settled(&folder, &new).unwrap().is_none(),
            "the new run forgot it"
        );
    }

    #[test]
    fn what_a_comparison_found_is_told_as_the_report_has_it() {
        let report = json!({"reverified": [
            {"url": "http://h/usr.img.zst", "place": "/usr", "left_as_written": true,
             "chunks": 46, "differing_chunks": 3, "bytes": 46 << 20, "differing_bytes": 3 << 20},
            {"url": "http://h/opt.img.zst", "place": "/opt", "left_as_written": true,
             "chunks": 2, "differing_chunks": 0, "bytes": 2 << 20, "differing_bytes": 0},
            {"url": "http://h/root.img.gz", "place": "/", "left_as_written": false,
             "not_compared": "it is not a packed image"},
        ]});
        insta::assert_snapshot!(reverified(Some(&report)).join("\n"), @r"
        /usr differs from http://h/usr.img.zst in 3 of 46 chunks (3 MiB of 46 MiB)
        /opt holds http://h/opt.img.zst, all 2 chunks
        / was not compared with http://h/root.img.gz: it is not a packed image
        ");
        assert_eq!(reverified(Some(&json!({"result": "installed"}))), [""; 0]);
        assert_eq!(reverified(None), [""; 0]);
    }

    #[test]
    fn progress_is_told_as_text_and_as_json() {
        let mut state = run(None);
        state.progress = Some(crate::sequence::state_file::Moving {
            what: "/".to_owned(),
            done_bytes: 1 << 30,
            total_bytes: Some(3 << 30),
        });
        let evidence = Evidence {
            running: true,
            run: Some(state),
            unreadable: None,
            owed: false,
        };
        insta::assert_snapshot!(text(&Condition::Running, &evidence, None), @r"
        a run is under way
          started  2026-11-22T04:05:06.000Z
          stage    image
          moving   /: 1.0 GiB of 3.0 GiB
        ");
        let json = object(&Condition::Running, &evidence, None, None);
        insta::assert_snapshot!(format!("{json:#}"), @r#"
        {
          "status": "running",
          "exit_status": 22,
          "completion_owed": false,
          "run": {
            "pid": 1,
            "started": "2026-11-22T04:05:06.000Z",
            "request_digest": null,
            "stage": "image",
            "progress": {
              "what": "/",
              "done_bytes": 1073741824,
              "total_bytes": 3221225472
            },
            "ended": null,
            "exit_status": null
          },
          "compared": null,
          "report": null
        }
        "#);
    }
}
