use std::io::Write;

use super::*;
use crate::apply::outcome::{StepResult, StepRun};
use crate::model::error::Kind;
use crate::model::index::DiskIndex;
use crate::model::index::{FilesystemIndex, ImageIndex};
use crate::model::plan::PlannedFilesystem;
use crate::model::request::Container;
use crate::model::step::{ImageStep, Step};
use crate::model::storage::BlockRef;
use crate::testing::fault_server::{Fault, FaultServer, ReceivedRequest, Reply};
use crate::testing::step_harness::{StepHarness, sized};
use host::fake::What;
use host::units::{Bytes, Extent};
use sha2::{Digest, Sha256};

const WRITE: Step = Step::Image(ImageStep::Write {
    image: ImageIndex(0),
    with_previous: false,
});
const BLKID: &str = "blkid --probe --output export /dev/mapper/os-root";
const FOUND: &str = "UUID=aa-bb\nTYPE=ext4\n";

fn content() -> Vec<u8> {
    (0..3_000_000_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect()
}

/// A bench with an image in a file beside it.
fn harness() -> StepHarness {
    let mut harness = StepHarness::new();
    let path = harness.work.path().join("root.img");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(&content())
        .unwrap();
    let image = &mut harness.plan.images[0];
    image.url = format!("file://{}", path.display()).into();
    image.container = Container::Raw;
    let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
    image.facts.raw_sha256 = Some(Sha256::digest(content()).iter().fold(String::new(), hex));
    harness.script = harness
        .script
        .answering(BLKID, FOUND)
        .exiting("blkid --cache-file", 2, "");
    harness
}

#[test]
fn it_is_written_and_its_uuid_is_known_from_then_on() {
    let mut harness = harness();
    assert_eq!(harness.one(&WRITE).unwrap(), Outcome::Changed);
    let written = Extent::new(Bytes::ZERO, Bytes(3_000_000)).unwrap();
    assert!(
        harness
            .disks
            .content("/dev/mapper/os-root", written)
            .unwrap()
            == content()
    );
    assert!(harness.state.images[&ImageIndex(0)].verified && harness.state.touched);
    assert_eq!(harness.state.filesystem_uuids[&FilesystemIndex(1)], "aa-bb");
    assert!(harness.recorded.warnings().is_empty());
}

#[test]
fn the_same_uuid_elsewhere_is_worth_a_word() {
    let mut harness = harness();
    harness.script = host::fake::Script::new()
        .answering(BLKID, FOUND)
        .answering("blkid --cache-file", "/dev/mapper/os-root\n/dev/sdz1\n");
    harness.one(&WRITE).unwrap();
    let warnings = harness.recorded.warnings();
    insta::assert_snapshot!(warnings.join("\n"), @"the filesystem UUID aa-bb of the image for /dev/mapper/os-root is on /dev/sdz1 as well");
}

#[test]
fn whatever_fails_is_told() {
    for (fault, kind) in [
        (host::fake::Fault::Open(0), Kind::Disk),
        (host::fake::Fault::Write(0), Kind::Disk),
        (host::fake::Fault::Flush(0), Kind::Disk),
    ] {
        let mut harness = harness();
        harness.disks = harness.disks.failing(fault);
        assert_eq!(harness.one(&WRITE).unwrap_err().kind, kind, "{fault:?}");
    }
    for n in 0..2 {
        let mut harness = harness();
        harness.script = harness.script.failing_at(n);
        assert_eq!(harness.one(&WRITE).unwrap_err().kind, Kind::Tool, "{n}");
    }
}

#[test]
fn what_is_not_what_the_request_says_is_refused() {
    for found in ["UUID=1\nTYPE=xfs\n", "TYPE=ext4\n", ""] {
        let mut harness = harness();
        harness.script = host::fake::Script::new().answering(BLKID, found);
        assert_eq!(
            harness.one(&WRITE).unwrap_err().kind,
            Kind::Image,
            "{found}"
        );
    }
    let mut other = harness();
    other.plan.images[0].facts.raw_sha256 = Some("00".repeat(32));
    assert_eq!(other.one(&WRITE).unwrap_err().kind, Kind::Image);
    let mut without = harness();
    without.plan.images[0].facts.raw_sha256 = None;
    assert_eq!(without.one(&WRITE).unwrap_err().kind, Kind::Refused);
}

#[test]
fn a_stream_is_refused_where_only_signed_images_are_written() {
    let mut harness = harness();
    harness.packed.images.require_signature = true;
    let error = harness.one(&WRITE).unwrap_err();
    assert_eq!(error.kind, Kind::Image);
    assert!(
        error.what.ends_with("its signature is unknown"),
        "{}",
        error.what
    );
    assert!(!harness.state.touched);
}

#[test]
fn on_a_file_a_logical_volume_is_skipped() {
    let mut harness = harness();
    harness.disks = sized().as_file();
    assert!(matches!(
        harness.one(&WRITE).unwrap(),
        Outcome::Skipped { .. }
    ));
}

const BOOT: &str = "/dev/sda3";

/// A bench with a second image for /boot, which has the same name.
fn two() -> StepHarness {
    let mut harness = harness();
    let mut second = harness.plan.images[0].clone();
    let on_boot = |filesystem: &PlannedFilesystem| {
        filesystem.on
            == BlockRef::Partition {
                disk: DiskIndex(0),
                number: 3,
            }
    };
    let boot = harness.plan.filesystems.iter().position(on_boot).unwrap();
    let boot = FilesystemIndex(boot);
    second.onto = ImageTarget::Filesystem(boot);
    second.format = harness.plan[boot].kind.as_str().into();
    harness.plan.images.push(second);
    let found = format!("UUID=cc-dd\nTYPE={}\n", harness.plan[boot].kind);
    harness.script = harness
        .script
        .answering(&format!("blkid --probe --output export {BOOT}"), &found);
    harness
}

fn endings(performed: &[StepRun]) -> String {
    let each = performed.iter().map(|it| match &it.ending {
        StepResult::Done(outcome) => format!("{outcome:?}"),
        StepResult::Failed(error) => format!("{:?}", error.kind),
        StepResult::Stopped => "Stopped".to_owned(),
    });
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn two_at_the_same_time_both_arrive() {
    let mut harness = two();
    let performed = harness.together(&[0, 1]);
    assert_eq!(endings(&performed), "Changed Changed");
    let written = Extent::new(Bytes::ZERO, Bytes(3_000_000)).unwrap();
    for (image, device) in ["/dev/mapper/os-root", BOOT].into_iter().enumerate() {
        assert!(harness.disks.content(device, written).unwrap() == content());
        assert!(harness.state.images[&ImageIndex(image)].verified);
    }
    assert_eq!(harness.state.filesystem_uuids.len(), 2);
}

/// Nothing has come through yet: what else is written waits here for its beginning until it is cancelled.
fn stalled(request: &ReceivedRequest) -> Reply {
    Reply::file(request, &content(), "\"1\"").fault(Fault::StallAt(0))
}

#[test]
fn the_first_that_fails_stops_the_other_and_is_the_one_that_is_told() {
    let server = FaultServer::start(stalled).unwrap();
    for broken in [0, 1] {
        let mut harness = two();
        harness.plan.images[broken].facts.raw_sha256 = Some("00".repeat(32));
        harness.plan.images[1 - broken].url = server.url("/root.img").into();
        let performed = harness.together(&[0, 1]);
        let expected = ["Image Stopped", "Stopped Image"][broken];
        assert_eq!(endings(&performed), expected);
        assert!(harness.state.images.is_empty());
        assert!(harness.recorded.warnings().is_empty());
        let device = ["/dev/mapper/os-root", BOOT][1 - broken];
        let head = Extent::new(Bytes::ZERO, Bytes::MIB).unwrap();
        let head = harness.disks.content(device, head).unwrap();
        assert!(
            head.iter().all(|byte| *byte == 0),
            "{device} is not a filesystem"
        );
    }
}

#[test]
fn a_device_that_cannot_be_opened_lets_none_begin() {
    for broken in [0, 1] {
        let mut harness = two();
        harness.disks = harness.disks.failing(host::fake::Fault::Open(broken));
        let performed = harness.together(&[0, 1]);
        let expected = ["Disk Stopped", "Stopped Disk"][broken];
        assert_eq!(endings(&performed), expected);
        let log = harness.disks.log();
        let is_change = |it: &What| matches!(it, What::Write(_) | What::Zero(_));
        assert!(!log.iter().any(|it| is_change(&it.what)));
    }
}

#[test]
fn a_fault_of_any_write_is_told_once_and_no_image_counts_that_did_not_arrive() {
    for at in 0..10 {
        let mut harness = two();
        harness.disks = harness.disks.failing(host::fake::Fault::Write(at));
        let performed = harness.together(&[0, 1]);
        let is_failed = |it: &&StepRun| matches!(it.ending, StepResult::Failed(_));
        let failed = performed.iter().filter(is_failed).count();
        let injected = harness
            .disks
            .log()
            .iter()
            .filter(|it| matches!(it.what, What::Write(_) | What::Zero(_)))
            .count()
            > at;
        assert_eq!(
            failed,
            usize::from(injected),
            "{at}: {}",
            endings(&performed)
        );
        for (image, performed) in performed.iter().enumerate() {
            let is_kept = harness.state.images.contains_key(&ImageIndex(image));
            assert_eq!(
                is_kept,
                matches!(performed.ending, StepResult::Done(_)),
                "{at}"
            );
        }
    }
}

#[test]
fn who_says_stop_stops_both() {
    let mut harness = two();
    let cancel = harness.cancel.clone();
    let requests = std::sync::atomic::AtomicUsize::new(0);
    // stopped when both have begun
    let server = FaultServer::start(move |it| {
        if requests.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            cancel.cancel();
        }
        stalled(it)
    })
    .unwrap();
    for image in &mut harness.plan.images {
        image.url = server.url("/root.img").into();
    }
    let performed = harness.together(&[0, 1]);
    let endings = endings(&performed);
    assert!(
        ["Interrupted Stopped", "Stopped Interrupted"].contains(&endings.as_str()),
        "{endings}"
    );
}

#[test]
fn progress_says_which_of_two_images_of_one_name_it_is_about() {
    let mut harness = two();
    harness.together(&[0, 1]);
    let moved = harness.recorded.moved();
    for device in ["/dev/mapper/os-root", BOOT] {
        let what = format!("root.img to {device}");
        assert!(moved.contains(&what), "{what} in {moved:?}");
    }
}
