//! Whole runs in a world of fakes: a fault, a panic and a signal at every single thing that a run does.

mod before;
mod faults;
mod reverify;
mod world;
mod write;

use host::cancel::Cancel;
use host::units::Bytes;
use serde_json::Value;

use super::RunOutcome;
use super::executor::Geometry;
use super::machine::Machine;
use super::preflight::{Discovered, Preflight};
use super::rundir::RunDir;
use super::stages::{Run, RunContext};
use super::state_file::StateFile;
use crate::model::error::{Error, Kind};
use crate::settings::{End, Settings};
use crate::testing::sample_request;
use world::{BUILT, FAILED, Mishap, RecordedEvents, World, run, settings};

#[test]
fn a_pushed_run_does_everything_in_order_and_leaves_the_node_to_its_orchestrator() {
    let left = run(&World::default(), &settings(), false);
    assert_eq!(left.exit_status(), 0);
    insta::assert_snapshot!(left.done.join("\n"), @"
    begin
    make room
    read the request
    look at the node
    look at the images
    hold /dev/sda
    look at the node
    claim /dev/sda
    look at what is kept
    step disarm /dev/sda: boot code, identity stamp
    step wipe old signatures on /dev/sda
    step write a GPT with 6 partitions to /dev/sda
    step make physical volume /dev/sda4 (metadata 2 x 28 MiB)
    step make volume group `os` of /dev/sda4
    step make logical volume `os/root` of 4 GiB
    step make logical volume `os/swap` of 900 MiB
    step make ext2 for /boot (/dev/sda3), 200 MiB
    step make xfs for /var/lib/data (/dev/sda5), 2 GiB
    step make swap space on /dev/mapper/os-swap, 900 MiB
    step write http://10.20.0.2:8080/targetimages/ubuntu.img.gz to / (/dev/mapper/os-root): ext4 in gzip, 3 GiB, md5 5d41402a…, trusted by: same-server
    step grow / (/dev/mapper/os-root) to 4 GiB
    step move `boot` out of / into /boot (/dev/sda3)
    step move `var/lib/data` out of / into /var/lib/data (/dev/sda5)
    step write /etc/fstab
    step write grub.cfg, GRUB's modules and the kernel parameters
    step write the cloud-init data to /dev/sda6
    step flush, then read back tables, signatures and digests, and find the root
    step install boot code on /dev/sda
    step write the identity stamp to /dev/sda
    call http://o/built
    clean up
    ");
    assert_eq!(left.report["result"], "installed");
    assert!(left.folder.owed().is_none());
    let state = left.folder.state().unwrap().unwrap();
    assert_eq!(state.exit_status, Some(0));
    assert_eq!(state.request_digest.as_deref(), Some("0123456789abcdef"));
}

/// How many things a run does before clean-up begins.
fn work() -> usize {
    let done = run(&World::default(), &settings(), false).done;
    done.iter().position(|it| it == "clean up").unwrap()
}

/// Whether there may be boot code on a disk when this is tried.
fn arms(what: &str) -> bool {
    ["step install boot code", "step write the identity stamp"]
        .iter()
        .any(|step| what.starts_with(step))
}

#[test]
fn what_is_called_failed_is_disarmed_before_anybody_hears_of_it() {
    let mut tried = 0;
    for at in 1..work() {
        for mishap in [Mishap::Fails, Mishap::Panics, Mishap::IsCancelled] {
            let world = World::with(|script| script.mishap = Some((at, mishap)));
            let left = run(&world, &settings(), false);
            let what = &left.done[at];
            tried += usize::from(arms(what));
            assert_eq!(left.did("disarm again"), arms(what), "{what} {mishap:?}");
            if arms(what) {
                let rest = &left.done[at + 1..];
                let failed = format!("call {FAILED}");
                assert_eq!(rest, ["disarm again", "clean up", failed.as_str()]);
            }
        }
    }
    assert_eq!(tried, 6, "one disk gets boot code, and a stamp");
}

#[test]
fn a_signal_before_the_completion_is_noted_disarms_and_one_at_a_node_that_was_ready_does_not() {
    for (installed, disarms) in [(None, true), (Some("i-7".to_owned()), false)] {
        let mut outcome = RunOutcome::default();
        let error = Error::new(Kind::Interrupted, "interrupted");
        outcome.failure = Some((crate::model::stage::Stage::Closeup, error));
        let world = World::with(|script| script.installed = installed);
        let done = before_closeup(&world, &outcome);
        assert_eq!(done.contains(&"disarm again".to_owned()), disarms);
    }
}

#[test]
fn a_node_whose_completion_cannot_be_noted_is_disarmed_and_told_as_failed() {
    let world = World::with(|script| script.owed_is_blocked = true);
    let left = run(&world, &settings(), true);
    assert_eq!(left.exit_status(), 1);
    assert_eq!(left.report["error"]["stage"], "closeup");
    let failed = format!("call {FAILED}");
    let rest = &left.done[left.done.len() - 3..];
    assert_eq!(rest, ["disarm again", "clean up", failed.as_str()]);
    assert!(!left.did(&format!("call {BUILT}")) && !left.did("end"));
}

#[test]
fn nothing_that_was_reserved_is_left() {
    let left = run(&World::default(), &settings(), false);
    assert_eq!(left.exit_status(), 0);
    let files = std::fs::read_dir(left.folder.work().parent().unwrap()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(
        names.into_iter().all(|name| !name.starts_with("reserve")),
        "what was reserved is given back"
    );
}

/// Does the stages up to the completion, then cleans up as if the walk had ended like `failed`.
fn before_closeup(world: &World, failed: &RunOutcome) -> Vec<String> {
    use crate::model::stage::Stage;

    let temporary = tempfile::tempdir().unwrap();
    let folder = RunDir::open(temporary.path().join("run")).unwrap();
    let state_file = StateFile::new(&folder);
    let (recorded, settings) = (RecordedEvents::default(), settings());
    let (mut look, mut act) = (world.clone(), world.clone());
    let preflight = Preflight {
        discovery: &mut look,
        settings: &settings,
        events: &recorded,
        known: Discovered::default(),
        until: Stage::Validate,
    };
    let about = RunContext {
        settings: &settings,
        folder: &folder,
        state_file: &state_file,
        report: None,
        machine: Machine::default(),
        pulled: true,
        started: String::new(),
        cancel: Cancel::new(),
    };
    let mut run = Run::new(preflight, &mut act, about);
    for stage in Stage::ALL.into_iter().filter(|it| *it < Stage::Closeup) {
        if super::StageHandler::has(&run, stage) {
            super::StageHandler::stage(&mut run, stage, &RunOutcome::default()).unwrap();
        }
    }
    super::StageHandler::stage(&mut run, Stage::Cleanup, failed).unwrap();
    world.done()
}

#[test]
fn what_the_orchestrator_does_not_accept_stays_owed_and_the_node_up() {
    let world = World::with(|script| script.refuses.push(BUILT));
    let left = run(&world, &settings(), true);
    assert_eq!(left.exit_status(), 9);
    let owed = left.folder.owed().unwrap();
    assert_eq!((owed.call.url.reveal(), owed.end), (BUILT, End::Reboot));
    assert_eq!(left.report["result"], "installed-not-accepted");
    assert!(!left.did("end") && !left.did(&format!("call {FAILED}")));
}

#[test]
fn a_pulled_run_reboots_a_pushed_one_does_not_and_a_setting_says_otherwise() {
    for (pulled, expected, done) in [
        (false, None, None),
        (true, None, Some("end: Reboot")),
        (true, Some(End::None), None),
        (false, Some(End::Poweroff), Some("end: Poweroff")),
    ] {
        let settings = Settings {
            end: expected,
            ..settings()
        };
        let left = run(&World::default(), &settings, pulled);
        let end = left.done.iter().find(|it| it.starts_with("end"));
        assert_eq!(end.map(String::as_str), done);
    }
}

#[test]
fn a_pulled_node_that_is_as_asked_only_says_so_again() {
    let world = || World::with(|script| script.installed = Some("i-7".to_owned()));
    let left = run(&world(), &settings(), true);
    assert_eq!(left.exit_status(), 0);
    assert!(!left.did("step") && !left.did("claim") && left.did(&format!("call {BUILT}")));
    assert_eq!(left.report["already_installed"], true);
    assert_eq!(left.report["result"], "already-installed");
    assert_eq!(left.report["instance_id"], "i-7");
    // A pushed run always installs, and so does one with `reinstall`.
    assert!(run(&world(), &settings(), false).did("step"));
    let reinstalling = Settings {
        reinstall: true,
        ..settings()
    };
    assert!(run(&world(), &reinstalling, true).did("step"));
}

#[test]
fn what_cannot_be_done_on_a_file_makes_the_run_incomplete_and_never_a_success() {
    let world = World::with(|script| script.skips = Some("install boot code"));
    let left = run(&world, &settings(), false);
    assert_eq!(left.exit_status(), 10);
    assert_eq!(left.report["result"], "incomplete");
    let reasons = left.report["incomplete"].as_array().unwrap();
    assert!(
        reasons[0].as_str().unwrap().ends_with("it is a file"),
        "{reasons:?}"
    );
    assert!(!left.did(&format!("call {BUILT}")));
    assert!(
        left.did("step write the identity stamp"),
        "the rest is still done"
    );
}

#[test]
fn without_callbacks_there_is_nothing_to_call() {
    let left = run(&World::default(), &Settings::default(), false);
    assert_eq!((left.exit_status(), left.did("call")), (0, false));
}

#[test]
fn an_orchestrator_that_does_not_answer_yet_is_worth_a_word_and_no_refusal() {
    let left = run(
        &World::with(|script| script.deaf = true),
        &settings(),
        false,
    );
    assert_eq!(left.exit_status(), 0);
    let warnings = left.report["warnings"].as_array().unwrap();
    let unreachable: Vec<&Value> = warnings
        .iter()
        .filter(|it| it.as_str().unwrap().contains("unreachable"))
        .collect();
    assert_eq!(
        unreachable,
        [
            "the callback server http://o is unreachable: connection refused; the agent retries at the end of the run"
        ],
        "both callbacks go to one server, which is asked once"
    );
}
