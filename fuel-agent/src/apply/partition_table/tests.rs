use super::*;
use crate::model::index::DiskIndex;
use crate::model::step::{Make, Step};
use crate::testing::sample_plan;
use crate::testing::step_harness::{StepHarness, sized};
use host::fake::Fault;

const WRITE: Step = Step::Make(Make::Table(DiskIndex(0)));

fn wiping() -> Step {
    let extent = |start, length| Extent {
        start: Bytes(start),
        length: Bytes(length),
    };
    let extents = vec![
        extent(0, 1 << 20),
        extent(100, 10),
        extent(2047 << 20, 1 << 20),
    ];
    Step::Make(Make::Wipe {
        disk: DiskIndex(0),
        extents,
    })
}

#[test]
fn old_partitions_go_and_new_ones_come_one_by_one() {
    let mut harness = StepHarness::new();
    let before = harness.disks.log().len();
    assert_eq!(harness.one(&WRITE).unwrap(), Outcome::Changed);
    let log: Vec<String> = harness.disks.log()[before..]
        .iter()
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(log.join("\n"), @"
    remove /dev/sda 1
    remove /dev/sda 2
    remove /dev/sda 3
    remove /dev/sda 4
    remove /dev/sda 5
    open /dev/sda Write
    write /dev/sda 16 KiB at 2147466752 B
    write /dev/sda 512 B at 2147483136 B
    flush /dev/sda
    write /dev/sda 16 KiB at 1 KiB
    flush /dev/sda
    write /dev/sda 512 B at 512 B
    flush /dev/sda
    write /dev/sda 512 B at 0 B
    flush /dev/sda
    add /dev/sda 1 24 MiB at 1 MiB
    add /dev/sda 2 200 MiB at 25 MiB
    add /dev/sda 3 200 MiB at 225 MiB
    add /dev/sda 4 1500 MiB at 425 MiB
    add /dev/sda 5 20 MiB at 1925 MiB
    open /dev/sda1 Read
    open /dev/sda2 Read
    open /dev/sda3 Read
    open /dev/sda4 Read
    open /dev/sda5 Read
    ");
    assert_eq!(harness.tools(), "udevadm settle --timeout=60\n".repeat(2));
    assert!(harness.state.touched);
}

#[test]
fn whatever_fails_is_told() {
    let adds = sample_plan::plan().disks[0].partitions.len();
    let faults = (0..5)
        .map(Fault::Write)
        .chain((0..5).map(Fault::HalfWrite))
        .chain((0..4).map(Fault::Flush))
        .chain((adds..2 * adds).map(Fault::AddPartition))
        .chain([
            Fault::Open(0),
            Fault::ReadAt(Bytes(512)),
            Fault::ReadAt(Bytes((2 << 30) - 1)),
        ]);
    for fault in faults {
        let mut harness = StepHarness::new();
        harness.disks = harness.disks.failing(fault);
        let error = harness.one(&WRITE).unwrap_err();
        assert_eq!(error.kind, Kind::Disk, "{fault:?}: {error}");
    }
}

#[test]
fn wiping_keeps_the_stub_in_the_first_sector() {
    let mut harness = StepHarness::new();
    harness
        .disks
        .put("/dev/sda", Bytes::ZERO, &[0xeb; 4096])
        .unwrap();
    harness.one(&wiping()).unwrap();
    let start = Extent::new(Bytes::ZERO, Bytes(4096)).unwrap();
    let start = harness.disks.content("/dev/sda", start).unwrap();
    assert_eq!(start[..440], [0xeb; 440]);
    assert!(start[440..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_wipe_that_fails_is_told() {
    for fault in [
        Fault::Open(0),
        Fault::Write(0),
        Fault::Write(1),
        Fault::Flush(0),
    ] {
        let mut harness = StepHarness::new();
        harness.disks = harness.disks.failing(fault);
        assert_eq!(
            harness.one(&wiping()).unwrap_err().kind,
            Kind::Disk,
            "{fault:?}"
        );
    }
}

#[test]
fn a_disk_that_has_changed_since_is_not_written_to() {
    for step in [WRITE, wiping()] {
        let mut harness = StepHarness::new();
        harness.plan.disks[0].size = Bytes(3 << 30);
        let before = harness.disks.log().len();
        let error = harness.one(&step).unwrap_err();
        assert_eq!(error.kind, Kind::Hardware);
        assert!(!harness.state.touched && error.retryable);
        let log = &harness.disks.log()[before..];
        assert!(!log.iter().any(|done| matches!(
            done.what,
            host::fake::What::Write(_) | host::fake::What::Zero(_)
        )));
    }
}

#[test]
fn msdos_is_refused() {
    let mut harness = StepHarness::new();
    harness.plan.disks[0].table = Table::Msdos;
    let error = harness.one(&WRITE).unwrap_err();
    insta::assert_snapshot!(crate::model::error::render(&error), @"
    error: /dev/sda is to get an msdos partition table, and only GPT is made
      hint: ask for `gpt`; BIOS nodes boot from it too
    ");
}

#[test]
fn nobody_waits_for_udev_on_a_file() {
    let mut harness = StepHarness::new();
    harness.disks = sized().as_file();
    harness.one(&WRITE).unwrap();
    assert_eq!(harness.tools(), "");
}
