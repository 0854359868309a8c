//! What is on the disks already, and what is built on what.

use crate::model::inventory::{Inventory, Stack, StackKind};
use crate::model::step::Step;
use crate::testing::sample_request::{empty_disk, installed, lvm_request, node, plan_of};

fn stack(kind: StackKind, name: &str, members: &[&str], disks: &[&str]) -> Stack {
    Stack {
        kind,
        name: name.to_owned(),
        members: members.iter().map(Into::into).collect(),
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        active: true,
        nodes: Vec::new(),
    }
}

fn with(stacks: Vec<Stack>) -> Inventory {
    let mut inventory = node(vec![
        empty_disk("/dev/sda", 20480),
        empty_disk("/dev/sdx", 20480),
    ]);
    installed(&lvm_request(), 0, &mut inventory.disks[0]);
    inventory.stacks = stacks;
    inventory
}

fn released(stacks: Vec<Stack>) -> Vec<String> {
    let plan = plan_of(&lvm_request(), &with(stacks)).unwrap();
    assert_eq!(plan.refusals, []);
    let releases = plan
        .steps
        .iter()
        .take_while(|planned| !matches!(planned.step, Step::Disarm { .. }));
    releases.map(|planned| planned.what.clone()).collect()
}

#[test]
fn stacks_are_let_go_from_the_top_down_whatever_their_order_and_names() {
    let disks = ["/dev/sda"];
    let mut array = stack(StackKind::Raid, "/dev/md127", &["/dev/sda4"], &disks);
    array.nodes = vec!["md127".to_owned()];
    let crypt = stack(StackKind::Crypt, "secret", &["/dev/md127"], &disks);
    let group = stack(
        StackKind::VolumeGroup,
        "my-vg",
        &["/dev/mapper/secret"],
        &disks,
    );
    let inner = stack(
        StackKind::Crypt,
        "inner",
        &["/dev/mapper/my--vg-home"],
        &disks,
    );
    let top = stack(StackKind::Raid, "/dev/md5", &["/dev/mapper/inner"], &disks);
    let wanted = [
        "stop array /dev/md5 on /dev/mapper/inner",
        "close mapping `inner`",
        "deactivate volume group `my-vg`",
        "close mapping `secret`",
        "stop array /dev/md127 on /dev/sda4",
    ];
    let all = [array, crypt, group, inner, top];
    for turn in 0..all.len() {
        let mut stacks = all.to_vec();
        stacks.rotate_left(turn);
        assert_eq!(released(stacks), wanted);
    }
}

#[test]
fn groups_with_like_names_are_told_apart() {
    let disks = ["/dev/sda"];
    let stacks = vec![
        stack(StackKind::VolumeGroup, "a", &["/dev/mapper/a--b-c"], &disks),
        stack(StackKind::VolumeGroup, "a-b", &["/dev/sda4"], &disks),
    ];
    assert_eq!(
        released(stacks),
        [
            "deactivate volume group `a`",
            "deactivate volume group `a-b`"
        ]
    );
    let stacks = vec![
        stack(StackKind::VolumeGroup, "a", &["/dev/sda4"], &disks),
        stack(StackKind::VolumeGroup, "a-b", &["/dev/a/c"], &disks),
    ];
    assert_eq!(
        released(stacks),
        [
            "deactivate volume group `a-b`",
            "deactivate volume group `a`"
        ]
    );
}

#[test]
fn a_ring_of_stacks_ends() {
    let disks = ["/dev/sda"];
    let stacks = vec![
        stack(StackKind::Crypt, "a", &["/dev/mapper/b"], &disks),
        stack(StackKind::Crypt, "b", &["/dev/mapper/a"], &disks),
    ];
    assert_eq!(released(stacks).len(), 2);
}

#[test]
fn what_reaches_beyond_the_chosen_disks_is_refused_and_not_touched() {
    for (kind, what) in [
        (
            StackKind::Raid,
            "array `x` lies on /dev/sdx too, which the request does not name",
        ),
        (
            StackKind::VolumeGroup,
            "volume group `x` lies on /dev/sdx too, which the request does not name",
        ),
        (
            StackKind::Crypt,
            "crypt mapping `x` lies on /dev/sdx too, which the request does not name",
        ),
        (
            StackKind::Btrfs,
            "btrfs `x` lies on /dev/sdx too, which the request does not name",
        ),
    ] {
        let spanning = stack(
            kind,
            "x",
            &["/dev/sda4", "/dev/sdx1"],
            &["/dev/sda", "/dev/sdx"],
        );
        let plan = plan_of(&lvm_request(), &with(vec![spanning])).unwrap();
        let printed: Vec<&str> = plan
            .refusals
            .iter()
            .map(|refusal| refusal.what.as_str())
            .collect();
        assert_eq!(printed, [what]);
        assert!(matches!(plan.steps[0].step, Step::Disarm { .. }));
    }
}

#[test]
fn stacks_on_other_disks_are_left_alone() {
    let other = stack(
        StackKind::VolumeGroup,
        "other",
        &["/dev/sdx1"],
        &["/dev/sdx"],
    );
    assert_eq!(released(vec![other]), Vec::<String>::new());
}

#[test]
fn a_name_that_another_disk_has_is_refused() {
    let other = stack(StackKind::VolumeGroup, "os", &["/dev/sdx1"], &["/dev/sdx"]);
    let plan = plan_of(&lvm_request(), &with(vec![other])).unwrap();
    assert_eq!(
        plan.refusals[0].what,
        "the name `os` is taken by something on /dev/sdx, which is not chosen"
    );
}
