//! Images in every container, written to every kind of disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use host::blockdev::{Access, Devices, FileDevices, NodeDevices};
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::units::Bytes;

use super::{
    DISK, MIB, Plan, RecordedEvents, client, content, digest_only, dirty, expected, frames, gzip,
    image, job, on_file, scripted, sha256, size, wrapped, write_file, write_to, zstandard,
};
use crate::events::Event;
use crate::model::request::Container;
use crate::stream::{StreamError, write_image};
use crate::testing::fault_server::{Fault, ReceivedRequest, Reply};

#[test]
fn every_container_arrives_exactly_and_nothing_else_changes() {
    for length in [5 * MIB / 2 + 77, 3 * MIB, 1, 1000, MIB] {
        let raw = image(length);
        for (name, container, bytes) in wrapped(&raw) {
            let devices = dirty(4 * MIB);
            let outcome = write_file(&devices, container, &bytes, expected(&raw)).unwrap();
            assert!(content(&devices, 0, length) == raw, "{name} {length}");
            // the head is zeroed first, however much of it the image covers
            let end = length.max(MIB);
            let rest = content(&devices, end, 4 * MIB - end);
            assert!(rest.iter().all(|byte| *byte == 0xaa), "{name} {length}");
            assert!(outcome.verified);
            assert_eq!(outcome.raw_bytes, size(length));
            assert_eq!(outcome.fetched_bytes, size(bytes.len()));
            assert_eq!(outcome.raw_sha256, sha256(&raw));
        }
    }
}

#[test]
fn zeros_are_made_by_the_device_and_the_head_comes_last() {
    let mut raw = vec![0; 6 * MIB];
    raw[..10].fill(1);
    raw[MIB + 70_000..MIB + 70_010].fill(2);
    raw[5 * MIB..].fill(3);
    let devices = dirty(8 * MIB);
    write_file(&devices, Container::Gzip, &gzip(&raw), expected(&raw)).unwrap();
    assert!(content(&devices, 0, raw.len()) == raw);
    insta::assert_snapshot!(devices.transcript(), @r"
    open /dev/sda Write
    zero /dev/sda 1 MiB at 0 B
    flush /dev/sda
    zero /dev/sda 64 KiB at 1 MiB
    write /dev/sda 64 KiB at 1088 KiB
    zero /dev/sda 3968 KiB at 1152 KiB
    write /dev/sda 1 MiB at 5 MiB
    flush /dev/sda
    write /dev/sda 1 MiB at 0 B
    flush /dev/sda
    ");
}

#[test]
fn direct_writes_to_a_real_file_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    for length in [5 * MIB + 4097, 2 * MIB, 700] {
        let raw = image(length);
        std::fs::write(&path, vec![0xaa; 8 * MIB]).unwrap();
        let mut devices = FileDevices::new();
        devices.add(DISK, &path, None).unwrap();
        let file = on_file(&zstandard(&raw));
        let plan = Plan {
            url: &file.1,
            container: Container::Zstd,
            expected: expected(&raw),
        };
        write_to(&devices, plan).unwrap();
        let disk = std::fs::read(&path).unwrap();
        assert!(disk[..length] == raw);
        assert!(disk[length.max(MIB)..].iter().all(|byte| *byte == 0xaa));
    }
}

#[test]
fn long_frames_do_not_wait_for_each_others_buffers() {
    // one write per frame, and more frames than buffers
    let mut raw = vec![0; 48 * MIB];
    for at in (0..raw.len()).step_by(4 * MIB) {
        raw[at + 70_000..at + 300_000].fill(7);
        raw[at + 3 * MIB..at + 3 * MIB + 9000].fill(9);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    std::fs::write(&path, vec![0xaa; raw.len()]).unwrap();
    let mut devices = FileDevices::new();
    devices.add(DISK, &path, None).unwrap();
    let file = on_file(&frames(&raw, 4 * MIB));
    for _ in 0..4 {
        let plan = Plan {
            url: &file.1,
            container: Container::Zstd,
            expected: expected(&raw),
        };
        write_to(&devices, plan).unwrap();
        assert!(std::fs::read(&path).unwrap() == raw);
    }
}

#[test]
fn direct_writes_to_a_block_device_arrive_whatever_its_sectors() {
    for sector in [512, 4096] {
        let backing = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(backing.path(), vec![0xaa; 8 * MIB]).unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .open(backing.path())
            .unwrap();
        let options = LoopOptions {
            sector_size: Bytes(sector),
            ..LoopOptions::default()
        };
        let node = match LoopDevice::attach(&file, options) {
            Ok(node) => node,
            Err(error) => {
                host::fake::skipped(format_args!("no loop device: {error}"));
                return;
            }
        };
        let mut target = NodeDevices::new()
            .open(node.path(), Access::Exclusive)
            .unwrap();
        assert!(target.direct().unwrap().is_some(), "nothing direct to test");
        for length in [5 * MIB + 4096 + 512, 3 * MIB + 1, 700] {
            let raw = image(length);
            let bytes = gzip(&raw);
            let source = on_file(&bytes);
            let plan = Plan {
                url: &source.1,
                container: Container::Gzip,
                expected: expected(&raw),
            };
            write_image(job(
                plan,
                &mut *target,
                &client(),
                &RecordedEvents::default(),
            ))
            .unwrap();
            // as seen through the device, and in the file behind it
            let mut seen = vec![0; length];
            target.read_at(&mut seen, Bytes::ZERO).unwrap();
            assert!(seen == raw, "{sector} {length}");
            file.read_exact_at(&mut seen, 0).unwrap();
            assert!(seen == raw, "{sector} {length}");
        }
    }
}

#[test]
fn a_new_version_that_appears_midway_is_written_whole_and_nothing_of_the_old_one_stays() {
    let (old, new) = (image(3 * MIB + 5000), image(2 * MIB).split_off(4096));
    let first = Reply::file(&ReceivedRequest::default(), &old, "\"old\"");
    let cut = first.fault(Fault::DropAt(old.len() - 1000));
    let server = scripted(&new, "\"new\"", vec![cut]);
    let devices = dirty(4 * MIB);
    let plan = Plan {
        url: &server.url("/x"),
        container: Container::Raw,
        expected: expected(&new),
    };
    // the old version is longer than the new one may be
    let error = write_to(&devices, plan).unwrap_err();
    assert!(matches!(error, StreamError::Length { .. }), "{error}");
    let server = scripted(
        &new,
        "\"new\"",
        vec![
            Reply::file(&ReceivedRequest::default(), &old, "\"old\"")
                .fault(Fault::DropAt(old.len() - 1000)),
        ],
    );
    let plan = Plan {
        url: &server.url("/x"),
        container: Container::Raw,
        expected: digest_only(&new),
    };
    let outcome = write_to(&devices, plan).unwrap();
    assert_eq!(outcome.retries, 1);
    assert!(content(&devices, 0, new.len()) == new);
    let after = content(&devices, new.len(), old.len() - 5000 - new.len());
    assert!(after.iter().all(|byte| *byte == 0));
}

#[test]
fn progress_ends_at_the_whole() {
    let raw = image(3 * MIB);
    let recorded = RecordedEvents::default();
    let file = on_file(&gzip(&raw));
    let devices = dirty(4 * MIB);
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    let plan = Plan {
        url: &file.1,
        container: Container::Gzip,
        expected: expected(&raw),
    };
    write_image(job(plan, &mut *target, &client(), &recorded)).unwrap();
    let recorded = recorded.0.into_inner().unwrap();
    let Some(Event::Progress {
        what,
        done_bytes,
        total_bytes,
        ..
    }) = recorded.last()
    else {
        panic!("no progress");
    };
    assert_eq!(
        (what.as_str(), *done_bytes, *total_bytes),
        ("x.img", 3 << 20, Some(3 << 20))
    );
}
