//! What is noticed before anything is touched.

use super::*;

#[test]
fn a_node_that_has_changed_meanwhile_is_not_touched() {
    let left = run(
        &World::with(|script| script.changes = true),
        &settings(),
        false,
    );
    assert_eq!((left.exit_status(), left.did("step")), (5, false));
    assert_eq!(
        left.report["error"]["message"],
        "the machine has changed since it was looked at: /dev/sda looks different"
    );
}

#[test]
fn a_disk_that_is_not_as_planned_is_noticed_before_anything_is_touched() {
    let as_planned = Geometry {
        size: sample_request::mib(20 << 10),
        sector_size: Bytes(512),
    };
    let others = [
        Geometry {
            size: sample_request::mib(40 << 10),
            ..as_planned
        },
        Geometry {
            size: Bytes(as_planned.size.0 - 512),
            ..as_planned
        },
        Geometry {
            sector_size: Bytes(4096),
            ..as_planned
        },
    ];
    for other in others {
        let world = World::with(|script| script.geometry = Some(other));
        let left = run(&world, &settings(), false);
        assert_eq!(left.exit_status(), 5, "{other:?}");
        assert!(!left.did("step"), "{other:?}");
        assert_eq!(left.report["touched"], false);
        assert_eq!(left.report["error"]["stage"], "prepare");
    }
    let world = World::with(|script| script.geometry = Some(as_planned));
    assert_eq!(run(&world, &settings(), false).exit_status(), 0);
}

#[test]
fn a_second_agent_leaves_no_trace_of_itself_where_the_first_one_writes() {
    let left = run(
        &World::with(|script| script.locked_out = true),
        &settings(),
        false,
    );
    assert_eq!((left.exit_status(), left.done.len()), (5, 0));
    assert!(
        !left.did("call"),
        "the first one's orchestrator hears of it"
    );
    assert!(left.folder.state().unwrap().is_none());
    assert!(!left.folder.report().exists());
    assert_eq!(left.report["error"]["message"], "another agent is running");
}

#[test]
fn a_run_that_cannot_begin_for_want_of_a_lock_tells_so() {
    let world = World::with(|script| script.mishap = Some((0, Mishap::Fails)));
    let left = run(&world, &settings(), false);
    let failed = format!("call {FAILED}");
    assert_eq!(left.done, ["begin", failed.as_str()]);
    assert!(
        left.folder.state().unwrap().is_none(),
        "the folder is not ours"
    );
}
