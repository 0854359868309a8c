//! The order of the stages, and what becomes of errors, panics and signals.

use super::*;
use crate::events::Silence;

/// Records the stages; fails, panics or is cancelled in the given one.
#[derive(Default)]
struct Fake {
    seen: Vec<Stage>,
    fails: Vec<Stage>,
    panics: Option<Stage>,
    cancels: Option<(Stage, Cancel)>,
    has_pending: bool,
}

impl StageHandler for Fake {
    fn has(&self, _: Stage) -> bool {
        true
    }

    fn stage(&mut self, stage: Stage, _: &RunOutcome) -> Result<(), Error> {
        self.seen.push(stage);
        assert!(self.panics != Some(stage), "boom");
        if let Some((at, cancel)) = &self.cancels
            && *at == stage
        {
            cancel.cancel();
        }
        if self.fails.contains(&stage) {
            return Err(Error::new(Kind::Disk, format!("{stage} broke")));
        }
        Ok(())
    }

    fn touched(&self) -> bool {
        false
    }

    fn has_pending(&self) -> bool {
        self.has_pending
    }
}

fn after(stage: Stage) -> Vec<Stage> {
    Stage::ALL
        .into_iter()
        .filter(|s| *s <= stage || s.always())
        .collect()
}

#[test]
fn all_stages_run_in_their_order() {
    let mut fake = Fake::default();
    let outcome = run_stages(&mut fake, &Silence, &Cancel::new());
    assert_eq!(fake.seen, Stage::ALL);
    assert!(outcome.failure.is_none() && outcome.stages.iter().all(|record| record.ok));
}

#[test]
fn after_an_error_in_any_stage_only_those_run_that_always_do() {
    for stage in Stage::ALL {
        let mut fake = Fake {
            fails: vec![stage],
            ..Fake::default()
        };
        let outcome = run_stages(&mut fake, &Silence, &Cancel::new());
        assert_eq!(fake.seen, after(stage), "{stage}");
        assert_eq!(outcome.failure.unwrap().0, stage);
    }
}

#[test]
fn a_clean_up_that_fails_does_not_hide_the_first_error() {
    let mut fake = Fake {
        fails: vec![Stage::Image, Stage::Cleanup, Stage::Report],
        ..Fake::default()
    };
    let outcome = run_stages(&mut fake, &Silence, &Cancel::new());
    let (stage, error) = outcome.failure.unwrap();
    assert_eq!((stage, error.what.as_str()), (Stage::Image, "image broke"));
    let unclean: Vec<Stage> = outcome.unclean.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(unclean, [Stage::Cleanup, Stage::Report]);
}

#[test]
fn a_panic_in_any_stage_is_an_internal_error_and_clean_up_still_comes() {
    for stage in Stage::ALL {
        let mut fake = Fake {
            panics: Some(stage),
            ..Fake::default()
        };
        let outcome = run_stages(&mut fake, &Silence, &Cancel::new());
        assert_eq!(fake.seen, after(stage), "{stage}");
        let (_, error) = outcome.failure.unwrap();
        assert_eq!(error.kind, Kind::Internal);
        assert!(error.causes()[0].contains("boom"), "{:?}", error.causes());
    }
}

#[test]
fn a_signal_in_any_stage_before_the_completion_ends_the_run_as_interrupted() {
    for stage in Stage::ALL.into_iter().filter(|s| *s < Stage::Closeup) {
        let cancel = Cancel::new();
        let mut fake = Fake {
            cancels: Some((stage, cancel.clone())),
            ..Fake::default()
        };
        let outcome = run_stages(&mut fake, &Silence, &cancel);
        let (at, error) = outcome.failure.unwrap();
        assert_eq!((at, error.kind), (stage, Kind::Interrupted));
        assert_eq!(fake.seen, after(stage));
    }
}

#[test]
fn a_signal_after_the_completion_was_accepted_only_keeps_the_node_from_being_rebooted() {
    for stage in [Stage::Closeup, Stage::Cleanup, Stage::Report] {
        let cancel = Cancel::new();
        let mut fake = Fake {
            cancels: Some((stage, cancel.clone())),
            ..Fake::default()
        };
        let outcome = run_stages(&mut fake, &Silence, &cancel);
        assert!(outcome.failure.is_none(), "{stage}");
        assert!(!fake.seen.contains(&Stage::Terminate), "{stage}");
    }
}

#[test]
fn an_error_that_a_signal_caused_is_an_interruption_with_its_cause() {
    let cancel = Cancel::new();
    let mut fake = Fake {
        fails: vec![Stage::Lvm],
        cancels: Some((Stage::Lvm, cancel.clone())),
        ..Fake::default()
    };
    let outcome = run_stages(&mut fake, &Silence, &cancel);
    let (_, error) = outcome.failure.unwrap();
    assert_eq!(error.kind, Kind::Interrupted);
    assert_eq!(error.causes(), ["lvm broke"]);
}

#[test]
fn only_who_owes_a_completion_is_told_that_the_node_is_installed() {
    for has_pending in [true, false] {
        let cancel = Cancel::new();
        let mut fake = Fake {
            fails: vec![Stage::Closeup],
            cancels: Some((Stage::Closeup, cancel.clone())),
            has_pending,
            ..Fake::default()
        };
        let outcome = run_stages(&mut fake, &Silence, &cancel);
        let (_, error) = outcome.failure.unwrap();
        let hint = error.hint.unwrap();
        assert_eq!(hint.contains("is installed"), has_pending, "{hint}");
    }
}

/// Cancels when a stage has ended: a signal between two stages.
struct Between(Stage, Cancel);

impl Events for Between {
    fn emit(&self, event: &Event) {
        if matches!(event, Event::StageEnd { stage, .. } if *stage == self.0) {
            self.1.cancel();
        }
    }
}

#[test]
fn a_signal_between_commit_and_completion_does_not_call_the_node_installed() {
    let cancel = Cancel::new();
    let mut fake = Fake::default();
    let outcome = run_stages(&mut fake, &Between(Stage::Commit, cancel.clone()), &cancel);
    let (at, error) = outcome.failure.unwrap();
    assert_eq!(at, Stage::Closeup);
    assert_eq!(error.hint.as_deref(), Some("run again"));
    assert!(!fake.seen.contains(&Stage::Closeup), "nothing was offered");
}
