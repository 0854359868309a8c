//! Plans for one image onto one device: steps, what they destroy, and targets that are refused.

use super::*;
use crate::model::filesystem::ImageFormat;
use crate::model::index::DiskIndex;
use crate::model::inventory::{ExistingPartition, Stack, StackKind};
use crate::model::partition_type;
use crate::model::plan::RefusedBy;
use crate::model::request::Container;
use crate::model::sources::SourceFacts;
use crate::plan::check::violations;
use crate::testing::sample_request::{empty_disk, mib, node, steps_of};

fn image(raw_size: Option<Bytes>) -> PlannedImage {
    PlannedImage {
        url: "http://s/disk.img.gz".into(),
        onto: ImageTarget::Disk(DiskIndex(0)),
        format: ImageFormat::Unspecified,
        container: Container::Gzip,
        facts: SourceFacts {
            raw_size_bytes: raw_size,
            ..SourceFacts::default()
        },
    }
}

/// A disk of 100 MiB with an EFI system partition, one with a filesystem, and a volume group on that.
fn target(kind: TargetKind) -> Target {
    let part = |number: u32, start: u64, size: u64, kind: &str| ExistingPartition {
        number,
        path: format!("/dev/sda{number}"),
        start_bytes: mib(start),
        size_bytes: mib(size),
        partition_type: Some(kind.into()),
        ..ExistingPartition::default()
    };
    let mut disk = empty_disk("/dev/sda", 100);
    disk.table = Some("gpt".to_owned());
    disk.partitions = vec![
        part(1, 1, 20, &partition_type::ESP.to_string()),
        part(2, 21, 30, "0x83"),
    ];
    Target {
        kind,
        node: node(vec![disk.clone()]),
        disk,
    }
}

fn planned(target: &Target, raw_size: u64) -> Plan {
    plan(image(mib(raw_size).into()), target, &Options::default())
}

/// Steps and what each destroys.
fn listed(plan: &Plan) -> String {
    let destroyed = plan.steps.iter().map(|step| {
        let places = step.destroys.iter();
        let places = places.map(|it| format!("{} at {}", it.length, it.offset));
        places.collect::<Vec<_>>().join(", ")
    });
    let steps = steps_of(plan);
    let lines = steps.lines().zip(destroyed);
    lines.fold(String::new(), |text, (step, destroyed)| {
        text + step.trim_start() + "\n    " + &destroyed + "\n"
    })
}

#[test]
fn a_disk_is_disarmed_with_both_copies_of_its_table_before_anything_else() {
    let target = target(TargetKind::Device);
    let plan = planned(&target, 30);
    insta::assert_snapshot!(listed(&plan), @"
    1 release     disarm /dev/sda: boot code, identity stamp, 3 old boot areas
        440 B at 0 B, 16896 B at 512 B, 64 KiB at 512 KiB, 1 MiB at 1 MiB, 16896 B at 104840704 B
    2 partition   wipe old signatures on /dev/sda
        1 MiB at 50 MiB, 1 MiB at 99 MiB
    3 image       write http://s/disk.img.gz to /dev/sda: as it is in gzip, 30 MiB, no digest known, trusted by: none
        30 MiB at 0 B
    4 image       have the kernel read the partition table of /dev/sda
    ");
    assert_eq!(violations(&plan, &target.inventory()), Vec::<String>::new());
    assert!(plan.tools().is_empty(), "{:?}", plan.tools());
}

#[test]
fn a_partition_is_not_disarmed_and_of_a_file_nothing_but_the_image_is_touched() {
    let mut target = target(TargetKind::Partition);
    target.disk = Disk {
        path: "/dev/sda2".to_owned(),
        size_bytes: mib(30),
        ..Disk::default()
    };
    insta::assert_snapshot!(listed(&planned(&target, 30)), @"
    1 image       write http://s/disk.img.gz to /dev/sda2: as it is in gzip, 30 MiB, no digest known, trusted by: none
        30 MiB at 0 B
    ");
    insta::assert_snapshot!(listed(&planned(&target, 10)), @"
    1 partition   wipe old signatures on /dev/sda2
        1 MiB at 29 MiB
    2 image       write http://s/disk.img.gz to /dev/sda2: as it is in gzip, 10 MiB, no digest known, trusted by: none
        10 MiB at 0 B
    ");
    target.kind = TargetKind::File;
    insta::assert_snapshot!(listed(&planned(&target, 10)), @"
    1 image       write http://s/disk.img.gz to /dev/sda2: as it is in gzip, 10 MiB, no digest known, trusted by: none
        10 MiB at 0 B
    ");
    let unknown = plan(image(None), &target, &Options::default());
    insta::assert_snapshot!(listed(&unknown), @"
    1 image       write http://s/disk.img.gz to /dev/sda2: as it is in gzip, size unknown, no digest known, trusted by: none
        30 MiB at 0 B
    ");
}

fn refused(target: &Target, options: &Options) -> String {
    let plan = plan(image(None), target, options);
    let by_run = |by: RefusedBy| assert_eq!(by, RefusedBy::Run);
    plan.refusals.iter().for_each(|refusal| by_run(refusal.by));
    let what = plan.refusals.iter().map(|refusal| refusal.what.as_str());
    what.collect::<Vec<_>>().join("; ")
}

/// The same node, and a device on it that is no disk.
fn beside(target: &Target, path: &str) -> Target {
    let mut other = target.clone();
    other.disk = Disk {
        path: path.to_owned(),
        size_bytes: mib(20),
        ..Disk::default()
    };
    other
}

fn protecting(entry: &str) -> Options {
    Options {
        protect: vec![entry.to_owned()],
        ..Options::default()
    }
}

fn group(disks: &[&str], active: bool) -> Stack {
    Stack {
        kind: StackKind::VolumeGroup,
        name: "os".to_owned(),
        members: Vec::new(),
        disks: disks.iter().map(|&disk| disk.to_owned()).collect(),
        active,
        nodes: vec!["dm-0".to_owned()],
    }
}

#[test]
fn what_a_run_would_not_touch_is_refused_with_its_partitions() {
    let mut disk = target(TargetKind::Device);
    disk.node.disks[0].mounted = true;
    let options = protecting("SN-sda");
    for target in [&disk, &beside(&disk, "/dev/sda1")] {
        let text = refused(target, &options);
        assert!(text.contains("is protected (`SN-sda`)"), "{text}");
        assert!(text.contains("holds a mounted filesystem"), "{text}");
    }
    assert_eq!(refused(&beside(&disk, "/dev/loop7"), &options), "");
    let mut file = beside(&disk, "/dev/sda1");
    file.kind = TargetKind::File;
    assert_eq!(refused(&file, &options), "");
}

#[test]
fn what_is_no_disk_is_protected_by_its_name_and_with_the_disks_below_it() {
    let mut disk = target(TargetKind::Device);
    disk.node.stacks = vec![group(&["/dev/sda"], true)];
    for (entry, device, what) in [
        ("sn-sda", "/dev/dm-0", "/dev/sda is protected (`sn-sda`)"),
        ("loop7", "/dev/loop7", "/dev/loop7 is protected (`loop7`)"),
    ] {
        let options = protecting(entry);
        assert_eq!(refused(&beside(&disk, device), &options), what);
        assert_eq!(refused(&beside(&disk, "/dev/loop8"), &options), "");
    }
}

#[test]
fn an_entry_that_protects_nothing_is_told_or_refused() {
    let target = target(TargetKind::Device);
    let mut options = protecting("S3X8");
    let plan = plan(image(None), &target, &options);
    assert_eq!(
        plan.warnings,
        ["`protect` names `S3X8`, which is not a disk of this node: it protects nothing"]
    );
    options.protect_strict = true;
    let text = refused(&target, &options);
    assert!(
        text.contains("`S3X8`, which is not a disk of this node"),
        "{text}"
    );
}

#[test]
fn nothing_is_released_for_it() {
    for (stack, allowed) in [
        (group(&["/dev/sda"], true), false),
        (group(&["/dev/sda", "/dev/sdb"], false), false),
        (group(&["/dev/sda"], false), true),
        (group(&["/dev/sdb"], true), true),
    ] {
        let case = format!("{stack:?}");
        let mut target = target(TargetKind::Device);
        target.node.stacks = vec![stack];
        let text = refused(&target, &Options::default());
        assert_eq!(text.is_empty(), allowed, "{case}: {text}");
    }
}
