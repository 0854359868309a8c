use super::*;
use crate::model::index::FilesystemIndex;
use crate::model::step::{ImageStep, Make, Step};
use crate::testing::step_harness::{StepHarness, sized};
use host::fake::Script;

/// Index of the filesystem of the sample plan that is on a partition, and of the one with an image.
const BOOT: FilesystemIndex = FilesystemIndex(0);
const ROOT: FilesystemIndex = FilesystemIndex(1);

fn harness(kind: &str) -> StepHarness {
    let mut harness = StepHarness::new();
    let planned = &mut harness.plan[BOOT];
    planned.kind = kind.into();
    planned.label = "a label that is long".to_owned();
    planned.options = " -O  ^has_journal ".to_owned();
    let found = format!("UUID={}\nTYPE={kind}\n", planned.uuid);
    harness.script = Script::new().answering("blkid --probe --output export /dev/sda3", &found);
    harness
}

fn make(harness: &mut StepHarness) -> Result<Outcome, Error> {
    harness.one(&Step::Make(Make::Filesystem(BOOT)))
}

#[test]
fn each_type_is_made_by_its_own_tool_and_looked_at_afterwards() {
    let mut transcript = String::new();
    for kind in ["ext2", "ext3", "ext4", "xfs", "swap"] {
        let mut harness = harness(kind);
        assert_eq!(make(&mut harness).unwrap(), Outcome::Changed);
        transcript += &harness.tools();
        assert!(harness.state.filesystem_uuids.contains_key(&BOOT));
    }
    insta::assert_snapshot!(transcript, @"
    mkfs.ext2 -F -q -U 00000000-0000-0000-0000-000000000007 -L 'a label that' -O ^has_journal /dev/sda3
    blkid --probe --output export /dev/sda3
    mkfs.ext3 -F -q -U 00000000-0000-0000-0000-000000000007 -L 'a label that' -O ^has_journal /dev/sda3
    blkid --probe --output export /dev/sda3
    mkfs.ext4 -F -q -U 00000000-0000-0000-0000-000000000007 -L 'a label that' -O ^has_journal /dev/sda3
    blkid --probe --output export /dev/sda3
    mkfs.xfs -f -q -m uuid=00000000-0000-0000-0000-000000000007 -L 'a label that' -O ^has_journal /dev/sda3
    blkid --probe --output export /dev/sda3
    mkswap -f -U 00000000-0000-0000-0000-000000000007 -L 'a label that' -O ^has_journal /dev/sda3
    blkid --probe --output export /dev/sda3
    ");
}

#[test]
fn whatever_fails_is_told() {
    for n in 0..2 {
        let mut harness = harness("ext4");
        harness.script = harness.script.failing_at(n);
        assert_eq!(make(&mut harness).unwrap_err().kind, Kind::Tool, "{n}");
    }
    for found in [
        "UUID=other\nTYPE=ext4\n",
        "TYPE=ext4\n",
        "UUID=x\nTYPE=ext2\n",
        "",
    ] {
        let mut harness = harness("ext4");
        harness.script = Script::new().answering("blkid", found);
        assert_eq!(make(&mut harness).unwrap_err().kind, Kind::Disk, "{found}");
    }
    let mut ambivalent = harness("ext4");
    ambivalent.script = Script::new().exiting("blkid", 8, "");
    let error = make(&mut ambivalent).unwrap_err();
    insta::assert_snapshot!(crate::model::error::render(&error), @"
    error: /dev/sda3 holds signatures of several things at once, and would not be found by its UUID
      hint: `wipefs` on it lists them
    ");
}

#[test]
fn a_plan_that_makes_an_unknown_type_is_a_defect_and_touches_nothing() {
    let mut harness = harness("reiserfs");
    assert_eq!(make(&mut harness).unwrap_err().kind, Kind::Internal);
    assert!(!harness.state.touched && harness.tools().is_empty());
}

#[test]
fn labels_are_cut_as_fuel_does_and_then_as_the_type_must() {
    assert_eq!(label("0123456789abcdef", 16), "0123456789ab");
    assert_eq!(label("root", 12), "root");
    assert_eq!(label("", 12), "");
    assert_eq!(label("ääääääää", 12), "ääääää");
    assert_eq!(label("ääääääääääääää", 16), "ääääääää");
}

fn growing(format: &str) -> StepHarness {
    let mut harness = StepHarness::new();
    harness.plan.images[0].format = format.into();
    let found = format!("UUID=aa\nTYPE={format}\n");
    harness.script = Script::new().answering("blkid", &found);
    harness
}

fn grow(harness: &mut StepHarness) -> Result<Outcome, Error> {
    harness.one(&Step::Image(ImageStep::Grow(ROOT)))
}

#[test]
fn ext_is_checked_and_grown_where_it_lies_and_xfs_mounted() {
    let mut harness = growing("ext4");
    harness.script = harness.script.exiting("e2fsck", 1, "fixed");
    assert_eq!(grow(&mut harness).unwrap(), Outcome::Changed);
    insta::assert_snapshot!(harness.tools(), @"
    blkid --probe --output export /dev/mapper/os-root
    e2fsck -f -y /dev/mapper/os-root
    resize2fs /dev/mapper/os-root
    blkid --probe --output export /dev/mapper/os-root
    ");
    let mut harness = growing("xfs");
    assert_eq!(grow(&mut harness).unwrap(), Outcome::Changed);
    let folder = harness.work.path().display().to_string();
    let mounts = harness.mounts.transcript().replace(&folder, "WORK");
    insta::assert_snapshot!(harness.tools() + &mounts, @"
    blkid --probe --output export /dev/mapper/os-root
    xfs_growfs -d WORK/grow
    blkid --probe --output export /dev/mapper/os-root
    mount -t xfs -o probe /dev/mapper/os-root WORK/probe
    umount WORK/probe
    mount -t xfs -o rw /dev/mapper/os-root WORK/grow
    umount WORK/grow
    ");
    let mut other = growing("btrfs");
    assert_eq!(grow(&mut other).unwrap(), Outcome::Unchanged);
}

#[test]
fn growing_that_fails_is_told_and_leaves_nothing_mounted() {
    for n in 0..4 {
        let mut harness = growing("ext4");
        harness.script = harness.script.failing_at(n);
        assert_eq!(grow(&mut harness).unwrap_err().kind, Kind::Tool, "{n}");
    }
    for n in 0..3 {
        let mut harness = growing("xfs");
        harness.script = harness.script.failing_at(n);
        assert_eq!(grow(&mut harness).unwrap_err().kind, Kind::Tool, "{n}");
        let mounts = harness.mounts.transcript();
        let count = |word: &str| mounts.lines().filter(|line| line.starts_with(word)).count();
        assert_eq!(count("mount"), count("umount"), "{mounts}");
    }
    for n in 0..4 {
        let mut harness = growing("xfs");
        harness.mounts = harness.mounts.failing_at(n);
        assert_eq!(grow(&mut harness).unwrap_err().kind, Kind::Disk, "{n}");
    }
}

#[test]
fn a_filesystem_is_damaged_only_where_its_check_says_so() {
    let table = [
        (4, "left uncorrected", Kind::Image),
        (12, "left uncorrected", Kind::Image),
        (
            8,
            "e2fsck: Bad magic number in super-block while trying to open /dev/sda3",
            Kind::Image,
        ),
        (8, "The superblock could not be read", Kind::Image),
        (
            8,
            "e2fsck: Input/output error while trying to open /dev/sda3",
            Kind::Tool,
        ),
        (
            8,
            "e2fsck: No such file or directory while trying to open /dev/sda3",
            Kind::Tool,
        ),
        (32, "canceled", Kind::Tool),
    ];
    for (status, printed, kind) in table {
        let mut harness = growing("ext4");
        harness.script = harness.script.exiting("e2fsck", status, printed);
        assert_eq!(
            grow(&mut harness).unwrap_err().kind,
            kind,
            "{status} {printed}"
        );
    }
}

#[test]
fn what_is_held_for_a_moment_ends_nothing() {
    let mut harness = growing("ext4");
    harness.script = harness
        .script
        .exiting_once("e2fsck", 8, "/dev/mapper/os-root is in use.")
        .exiting_once(
            "resize2fs",
            1,
            "resize2fs: Device or resource busy while trying to open it",
        );
    assert_eq!(grow(&mut harness).unwrap(), Outcome::Changed);
    insta::assert_snapshot!(harness.tools(), @r"
    blkid --probe --output export /dev/mapper/os-root
    e2fsck -f -y /dev/mapper/os-root
    e2fsck -f -y /dev/mapper/os-root
    resize2fs /dev/mapper/os-root
    resize2fs /dev/mapper/os-root
    blkid --probe --output export /dev/mapper/os-root
    ");
}

#[test]
fn a_uuid_that_changes_on_the_way_is_an_error() {
    let mut harness = growing("ext4");
    harness.script = Script::new()
        .answering_once("blkid", "UUID=aa\nTYPE=ext4\n")
        .answering("blkid", "UUID=bb\nTYPE=ext4\n");
    assert_eq!(grow(&mut harness).unwrap_err().kind, Kind::Disk);
}

#[test]
fn on_files_what_lies_on_lvm_is_skipped() {
    for step in [
        Step::Make(Make::Filesystem(FilesystemIndex(2))),
        Step::Image(ImageStep::Grow(ROOT)),
    ] {
        let mut harness = StepHarness::new();
        harness.disks = sized().as_file();
        assert!(matches!(
            harness.one(&step).unwrap(),
            Outcome::Skipped { .. }
        ));
        assert!(harness.tools().is_empty());
    }
}
