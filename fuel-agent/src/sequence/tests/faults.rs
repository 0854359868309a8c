//! What fails, panics or is interrupted, at each thing that a run does.

use super::*;

#[test]
fn whatever_fails_is_the_error_that_is_told_and_clean_up_and_report_come() {
    for at in 1..work() {
        let world = World::with(|script| script.mishap = Some((at, Mishap::Fails)));
        let left = run(&world, &settings(), false);
        let what = &left.done[at];
        assert_eq!(
            left.done.iter().filter(|it| *it == "clean up").count(),
            1,
            "{what}"
        );
        if what.starts_with("call") {
            assert_eq!(left.exit_status(), 9);
            assert!(!left.did(&format!("call {FAILED}")), "it is installed");
            continue;
        }
        assert_eq!(left.exit_status(), 7, "{what}");
        assert_eq!(left.recorded, ["injected"], "{what}");
        assert_eq!(left.report["error"]["message"], "injected", "{what}");
        assert_eq!(left.report["exit_status"], 7);
        assert_eq!(left.report["touched"], left.did("step"), "{what}");
        assert!(left.did(&format!("call {FAILED}")), "{what}");
        assert!(!left.did(&format!("call {BUILT}")), "{what}");
        assert!(!left.did("end"), "{what}");
        assert_eq!(left.folder.state().unwrap().unwrap().exit_status, Some(7));
        let after = left.done.iter().position(|it| it == "clean up").unwrap();
        assert_eq!(
            after,
            at + 1 + usize::from(arms(what)),
            "nothing is done between `{what}` and clean-up"
        );
    }
}

#[test]
fn of_images_at_the_same_time_the_one_that_failed_is_told_and_the_other_is_in_the_report() {
    let both = |script: &mut world::Script| script.second_image = Some("/var/lib/data");
    let whole = run(&World::with(both), &settings(), false);
    assert_eq!(whole.exit_status(), 0, "{:?}", whole.recorded);
    let first = whole
        .done
        .iter()
        .position(|it| it.starts_with("step write http"));
    let first = first.unwrap();
    assert!(whole.done[first + 1].starts_with("step at the same time, write http"));
    assert!(whole.done[first + 2].starts_with("step grow"));
    for (at, outcomes) in [
        (first, ["failed", "failed"]),
        (first + 1, ["changed", "failed"]),
    ] {
        let world = World::with(|script| {
            both(script);
            script.mishap = Some((at, Mishap::Fails));
        });
        let left = run(&world, &settings(), false);
        assert_eq!(left.exit_status(), 7);
        assert_eq!(left.recorded, ["injected"]);
        let steps = left.report["steps"].as_array().unwrap();
        let last = &steps[steps.len() - 2..];
        assert_eq!([&last[0]["outcome"], &last[1]["outcome"]], outcomes);
        let is_stopped = at == first;
        assert_eq!(last[1]["why"].is_string(), is_stopped, "{}", last[1]);
        assert_eq!(left.done[at + 1], "clean up");
    }
}

#[test]
fn what_cannot_be_disarmed_is_told_and_the_rest_is_still_cleaned_up() {
    let stamp = work() - 2;
    for mishap in [Mishap::Fails, Mishap::Panics] {
        let world = World::with(|script| {
            script.mishap = Some((stamp, Mishap::Fails));
            script.then = Some(mishap);
        });
        let left = run(&world, &settings(), false);
        assert!(arms(&left.done[stamp]) && left.did("clean up"));
        assert_eq!(left.exit_status(), 7);
        assert_eq!(left.report["unclean"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_panic_anywhere_is_an_internal_error_after_clean_up() {
    for at in 0..work() {
        let world = World::with(|script| script.mishap = Some((at, Mishap::Panics)));
        let left = run(&world, &settings(), false);
        let what = &left.done[at];
        assert_eq!(left.exit_status(), 1, "{what}");
        assert_eq!(left.did("clean up"), at > 0, "{what}");
        assert_eq!(left.report["error"]["kind"], "internal", "{what}");
    }
}

#[test]
fn a_signal_anywhere_ends_the_run_with_130_after_clean_up() {
    for at in 1..work() {
        let world = World::with(|script| script.mishap = Some((at, Mishap::IsCancelled)));
        let left = run(&world, &settings(), false);
        let what = &left.done[at];
        assert_eq!(left.exit_status(), 130, "{what}");
        assert!(left.did("clean up"), "{what}");
        assert_eq!(left.report["result"], "interrupted", "{what}");
        assert_eq!(left.report["retryable"], true, "{what}");
        assert!(!left.did("end"), "{what}");
        let installed = what.starts_with("call");
        assert_eq!(left.folder.owed().is_some(), installed, "{what}");
        let notified = left.did(&format!("call {FAILED}"));
        assert!(
            !(installed && notified),
            "a node that starts from its disks is not called failed"
        );
    }
}

#[test]
fn a_clean_up_that_fails_is_told_beside_the_error_that_led_to_it() {
    let world = World::with(|script| script.mishap = Some((work(), Mishap::Fails)));
    let left = run(&world, &settings(), false);
    assert_eq!(left.exit_status(), 7, "alone it is the error");
    assert_eq!(left.report["error"]["stage"], "cleanup");
    assert!(left.did(&format!("call {BUILT}")));
    assert!(
        !left.did(&format!("call {FAILED}")),
        "a node is not both built and failed"
    );
    let world = World::with(|script| {
        script.changes = true;
        script.mishap = Some((7, Mishap::Fails));
    });
    let left = run(&world, &settings(), false);
    assert_eq!(left.done[7], "clean up");
    assert_eq!(left.exit_status(), 5);
    assert_eq!(left.report["unclean"][0]["message"], "injected");
}
