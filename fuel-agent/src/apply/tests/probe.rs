//! Kept filesystems, looked at on fakes.

use host::fake::{FakeMounts, Script};

use super::*;
use crate::model::index::LogicalVolumeIndex;
use crate::model::step::Step;
use crate::testing::step_harness::{StepHarness, sized};

/// The sample plan, which keeps /boot on a partition, and `/` and swap on logical volumes.
fn kept() -> StepHarness {
    let mut harness = StepHarness::new();
    harness.plan.keeps_partitions = true;
    harness.plan.images.clear();
    for filesystem in &mut harness.plan.filesystems {
        filesystem.keep_data = true;
        filesystem.image = None;
    }
    let on_root = BlockRef::Logical(LogicalVolumeIndex(0));
    assert_eq!(harness.plan.filesystems[1].on, on_root);
    harness.script = answers("ext2");
    harness
}

fn answers(boot: &str) -> Script {
    let probe = |node: &str| format!("blkid --probe --output export {node}");
    let found = |kind: &str| format!("UUID=aa\nTYPE={kind}\n");
    Script::new()
        .answering(&probe("/dev/sda3"), &found(boot))
        .answering(&probe("/dev/mapper/os-root"), &found("ext4"))
        .answering(&probe("/dev/mapper/os-swap"), &found("swap"))
}

fn transcript(harness: &StepHarness) -> String {
    let folder = harness.work.path().display().to_string();
    harness.tools() + &harness.mounts.transcript().replace(&folder, "WORK")
}

#[test]
fn what_is_kept_on_partitions_is_looked_at_and_nothing_else() {
    let mut harness = kept();
    harness.probe_kept().unwrap();
    insta::assert_snapshot!(transcript(&harness), @"
    blkid --probe --output export /dev/sda3
    mount -t ext2 -o probe /dev/sda3 WORK/probe
    umount WORK/probe
    ");
    assert!(!harness.state.touched);
}

#[test]
fn what_is_kept_in_groups_is_looked_at_once_they_are_active() {
    let mut harness = kept();
    harness.one(&Step::ActivateKept).unwrap();
    let said = transcript(&harness);
    let (_, after) = said.split_once("--activate y os\n").unwrap();
    insta::assert_snapshot!(after, @"
    blkid --probe --output export /dev/mapper/os-root
    blkid --probe --output export /dev/mapper/os-swap
    mount -t ext4 -o probe /dev/mapper/os-root WORK/probe
    umount WORK/probe
    ");
}

#[test]
fn a_plan_that_keeps_nothing_looks_at_nothing() {
    let mut harness = StepHarness::new();
    harness.probe_kept().unwrap();
    assert_eq!(transcript(&harness), "");
    let mut harness = kept();
    harness.plan.filesystems[0].keep_data = false;
    harness.probe_kept().unwrap();
    assert_eq!(transcript(&harness), "");
}

#[test]
fn a_kept_filesystem_of_another_type_is_refused_untouched() {
    let mut harness = kept();
    harness.script = answers("vfat");
    let error = harness.probe_kept().unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(!harness.state.touched);
    insta::assert_snapshot!(crate::model::error::render(&error), @"
    error: on /dev/sda3 is vfat, and not ext2
      cause: blkid finds `vfat`
      hint: let the request say what is kept there
    ");
}

#[test]
fn one_that_cannot_be_mounted_or_unmounted_is_an_error_and_untouched() {
    for n in 0..2 {
        let mut harness = kept();
        harness.mounts = FakeMounts::new().failing_at(n);
        let error = harness.probe_kept().unwrap_err();
        assert_eq!(error.kind, Kind::Disk, "{n}");
        assert!(!harness.state.touched);
    }
    let mut harness = kept();
    harness.mounts = FakeMounts::new().failing_at(0).with_errno(UCLEAN);
    let error = harness.probe_kept().unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    insta::assert_snapshot!(crate::model::error::render(&error), @"
    error: the ext2 on /dev/sda3 is damaged
      cause: Structure needs cleaning (os error 117)
      hint: nothing was written to it; repair it (`fsck /dev/sda3`), or drop `keep_data` and lose what is on it
    ");
}

#[test]
fn on_files_types_are_compared_and_nothing_is_mounted() {
    let mut harness = kept();
    harness.disks = sized().as_file();
    harness.script = Script::new().answering("blkid", "UUID=aa\nTYPE=ext2\n");
    harness.probe_kept().unwrap();
    assert_eq!(harness.mounts.transcript(), "");
    harness.script = Script::new().answering("blkid", "UUID=aa\nTYPE=xfs\n");
    assert_eq!(harness.probe_kept().unwrap_err().kind, Kind::Refused);
}
