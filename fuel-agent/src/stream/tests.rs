//! Whole images onto disks in memory and in files, through every container and every kind of mishap.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use host::blockdev::{Access, Devices, FileDevices};
use host::fake::{FakeDevices, Fault, What};
use host::units::Extent;
use proptest::prelude::*;
use sha2::Digest;

use super::*;
use crate::error::{Error, Kind, render};
use crate::events::Event;
use crate::http::HttpSettings;
use crate::http::fault_server::{self, Asked, FaultServer, Reply};

const DISK: &str = "/dev/sda";
const MIB: usize = 1 << 20;

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Events for Heard {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn client() -> Client {
    let settings = HttpSettings {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        environment_proxy: false,
        ..HttpSettings::default()
    };
    Client::new(&settings, Cancel::new()).unwrap()
}

/// Bytes as in a filesystem: data, long and short runs of zeros, and an end that is not aligned.
fn image(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| {
            let zeros = (at >> 16) % 3 == 1 || (at >> 9) % 7 == 3;
            if zeros {
                0
            } else {
                u8::try_from((at * 31 + at / 509) % 255 + 1).unwrap()
            }
        })
        .collect()
}

fn size(bytes: usize) -> Bytes {
    Bytes(bytes.try_into().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn expected(raw: &[u8]) -> Expected {
    Expected {
        raw_size: Some(size(raw.len())),
        raw_md5: Some(hex(&md5::Md5::digest(raw))),
        raw_sha256: Some(sha256(raw)),
    }
}

fn digest_only(raw: &[u8]) -> Expected {
    Expected {
        raw_sha256: Some(sha256(raw)),
        ..Expected::default()
    }
}

fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(raw: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

const SKIPPABLE: &[u8] = b"\x51\x2a\x4d\x18\x05\0\0\0hello";

/// All the ways in which an image comes, by name.
fn wrapped(raw: &[u8]) -> Vec<(&'static str, Container, Vec<u8>)> {
    let (a, b) = raw.split_at(raw.len() / 3);
    vec![
        ("raw", Container::Raw, raw.to_vec()),
        ("gzip", Container::Gzip, gzip(raw)),
        (
            "gzip, two members",
            Container::Gzip,
            [gzip(a), gzip(b)].concat(),
        ),
        ("zstd", Container::Zstd, zstandard(raw)),
        (
            "zstd, frames of all sorts",
            Container::Zstd,
            [
                SKIPPABLE,
                &zstandard(a),
                SKIPPABLE,
                &zstandard(b),
                SKIPPABLE,
            ]
            .concat(),
        ),
    ]
}

/// A disk that is full of old bytes.
fn dirty(length: usize) -> FakeDevices {
    let devices = FakeDevices::new().with(DISK, size(length));
    devices.put(DISK, Bytes::ZERO, &vec![0xaa; length]).unwrap();
    devices
}

fn content(devices: &FakeDevices, start: usize, length: usize) -> Vec<u8> {
    let extent = Extent::new(size(start), size(length)).unwrap();
    devices.content(DISK, extent).unwrap()
}

/// A file with some bytes, and its URL.
struct OnFile(
    #[expect(dead_code, reason = "deleted when dropped")] tempfile::TempDir,
    String,
);

fn on_file(bytes: &[u8]) -> OnFile {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.img"), bytes).unwrap();
    let url = format!("file://{}/x.img", folder.path().display());
    OnFile(folder, url)
}

struct Plan<'a> {
    url: &'a str,
    container: Container,
    expected: Expected,
}

fn write_to(devices: &FakeDevices, plan: Plan<'_>) -> Result<ImageOutcome, StreamError> {
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    write_image(Job {
        url: plan.url,
        container: plan.container,
        expected: plan.expected,
        allow_unverified: false,
        target: &mut *target,
        device: DISK,
        client: &client(),
        events: &Heard::default(),
    })
}

fn write_file(
    devices: &FakeDevices,
    container: Container,
    bytes: &[u8],
    expected: Expected,
) -> Result<ImageOutcome, StreamError> {
    let file = on_file(bytes);
    write_to(
        devices,
        Plan {
            url: &file.1,
            container,
            expected,
        },
    )
}

fn wrote(devices: &FakeDevices) -> bool {
    devices
        .log()
        .iter()
        .any(|done| !matches!(done.what, What::Open(_)))
}

#[test]
fn every_container_arrives_exactly_and_nothing_else_changes() {
    for length in [5 * MIB / 2 + 77, 3 * MIB, 1, 1000, MIB] {
        let raw = image(length);
        for (name, container, bytes) in wrapped(&raw) {
            let devices = dirty(4 * MIB);
            let outcome = write_file(&devices, container, &bytes, expected(&raw)).unwrap();
            assert!(content(&devices, 0, length) == raw, "{name} {length}");
            let rest = content(&devices, length, 4 * MIB - length);
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
fn what_is_not_what_the_request_says_is_not_written() {
    let raw = image(3000);
    let xz = b"\xfd7zXZ\0 and more";
    let page = b"<!DOCTYPE html><title>log in</title>";
    for (bytes, container, said) in [
        (gzip(&raw), Container::Raw, "is gzip, the request says raw"),
        (
            raw.clone(),
            Container::Gzip,
            "is raw, the request says gzip",
        ),
        (
            zstandard(&raw),
            Container::Gzip,
            "is zstd, the request says gzip",
        ),
        (xz.to_vec(), Container::Raw, "is xz, the request says raw"),
        (
            page.to_vec(),
            Container::Gzip,
            "is web page, the request says gzip",
        ),
    ] {
        let devices = dirty(MIB);
        let error = write_file(&devices, container, &bytes, digest_only(&raw)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.kind(), Kind::Image);
        assert!(!wrote(&devices));
    }
}

/// A frame that asks for a window of 2^28 bytes, and has one raw block.
const WIDE: &[u8] = b"\x28\xb5\x2f\xfd\x00\x90\x09\0\0x";

#[test]
fn more_memory_than_we_give_is_refused() {
    let devices = dirty(MIB);
    let error = write_file(&devices, Container::Zstd, WIDE, digest_only(b"x")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("needs 256 MiB of memory to be unpacked, more than 128 MiB"),
        "{error}"
    );
    assert!(!wrote(&devices));
    // also where it is asked for later, or behind a frame that is skipped
    for start in [SKIPPABLE.to_vec(), zstandard(&image(5000))] {
        let bytes = [&start, WIDE].concat();
        let error =
            write_file(&dirty(MIB), Container::Zstd, &bytes, digest_only(b"x")).unwrap_err();
        assert!(matches!(error, StreamError::Window { .. }), "{error}");
    }
}

#[test]
fn an_image_that_was_cut_anywhere_is_an_error() {
    let raw = image(300_000);
    for (name, container, bytes) in wrapped(&raw) {
        for part in 0..64 {
            let cut = &bytes[..bytes.len() * part / 64];
            let devices = dirty(MIB);
            // without its digests the cut of a raw image could not be seen
            let known = if container == Container::Raw {
                expected(&raw)
            } else {
                Expected::default()
            };
            let file = on_file(cut);
            let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
            let result = write_image(Job {
                url: &file.1,
                container,
                expected: known,
                allow_unverified: true,
                target: &mut *target,
                device: DISK,
                client: &client(),
                events: &Heard::default(),
            });
            // whole members and frames are images of their own: there only a digest can tell
            let whole = name.contains(',') && result.is_ok();
            assert!(result.is_err() || whole, "{name} {part}/64: {result:?}");
            let error = write_file(&devices, container, cut, digest_only(&raw)).unwrap_err();
            assert_eq!(error.kind(), Kind::Image, "{name} {part}/64: {error}");
        }
    }
}

#[test]
fn a_cut_in_the_header_of_a_second_member_is_an_error() {
    let raw = image(5000);
    for (container, member) in [
        (Container::Gzip, gzip(&raw)),
        (Container::Zstd, zstandard(&raw)),
    ] {
        for length in 1..member.len().min(20) {
            let bytes = [&member[..], &member[..length]].concat();
            let error = write_file(&dirty(MIB), container, &bytes, digest_only(&raw)).unwrap_err();
            assert!(
                matches!(
                    error,
                    StreamError::Truncated { .. } | StreamError::Corrupt { .. }
                ),
                "{container:?} {length}: {error}"
            );
        }
    }
}

#[test]
fn what_follows_after_the_end_is_an_error() {
    let raw = image(5000);
    for (container, member) in [
        (Container::Gzip, gzip(&raw)),
        (Container::Zstd, zstandard(&raw)),
    ] {
        for garbage in [&b"x"[..], b"garbage and more of it", &[0; 512]] {
            let bytes = [&member[..], garbage].concat();
            let error = write_file(&dirty(MIB), container, &bytes, digest_only(&raw)).unwrap_err();
            assert_eq!(
                error.kind(),
                Kind::Image,
                "{container:?} {garbage:?}: {error}"
            );
        }
    }
}

#[test]
fn another_image_than_its_metadata_says_leaves_no_filesystem() {
    let raw = image(3 * MIB);
    let other = sha256(b"other");
    let md5 = hex(&md5::Md5::digest(b"other"));
    for (known, said) in [
        (
            Expected {
                raw_sha256: Some(other),
                ..Expected::default()
            },
            "the sha256 digest of",
        ),
        (
            Expected {
                raw_md5: Some(md5),
                ..Expected::default()
            },
            "the md5 digest of",
        ),
        (
            Expected {
                raw_size: Some(Bytes(2)),
                ..expected(&raw)
            },
            "holds more than 2 B, its metadata says 2 B",
        ),
        (
            Expected {
                raw_size: Some(Bytes(4 << 20)),
                ..expected(&raw)
            },
            "holds 3 MiB, its metadata says 4 MiB",
        ),
    ] {
        let devices = dirty(4 * MIB);
        let error = write_file(&devices, Container::Gzip, &gzip(&raw), known).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.kind(), Kind::Image);
        let head = content(&devices, 0, MIB);
        assert!(
            !wrote(&devices) || head.iter().all(|byte| *byte == 0),
            "{said}"
        );
    }
    let upper = Expected {
        raw_sha256: Some(sha256(&raw).to_uppercase()),
        ..Expected::default()
    };
    write_file(&dirty(4 * MIB), Container::Raw, &raw, upper).unwrap();
}

#[test]
fn nothing_is_fetched_for_an_image_that_cannot_be_taken() {
    let known = |raw_md5: Option<&str>, raw_size| Expected {
        raw_md5: raw_md5.map(str::to_owned),
        raw_size,
        ..Expected::default()
    };
    let zeros = "0".repeat(32);
    for (known, kind, said) in [
        (
            known(None, None),
            Kind::Refused,
            "no digest is known of http://h/x",
        ),
        (
            known(Some("fakeroot"), None),
            Kind::Image,
            "`fakeroot` is no md5 digest",
        ),
        (
            known(Some(&zeros), Some(size(MIB + 1))),
            Kind::Image,
            "does not fit on /dev/sda, which holds 1 MiB; it needs 1048577 B",
        ),
    ] {
        let devices = dirty(MIB);
        let plan = Plan {
            url: "http://h/x",
            container: Container::Raw,
            expected: known,
        };
        let error = write_to(&devices, plan).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.kind(), kind);
        assert!(!wrote(&devices));
    }
}

#[test]
fn an_image_that_is_larger_than_its_volume_stops_at_its_end() {
    let bomb = gzip(&vec![7; 64 * MIB]);
    let devices = dirty(3 * MIB + 512);
    let error = write_file(&devices, Container::Gzip, &bomb, digest_only(b"")).unwrap_err();
    assert!(
        matches!(error, StreamError::TooLarge { needed: None, .. }),
        "{error}"
    );
    let text = render(&Error::from(error));
    assert!(
        text.contains("does not fit on /dev/sda, which holds 6145 KiB")
            || text.contains("3146240 B"),
        "{text}"
    );
}

#[test]
fn memory_is_two_pools_whatever_the_data_claims() {
    let bomb = gzip(&vec![0; 64 * MIB]);
    let raw = image(20 * MIB);
    for (container, bytes, known) in [
        (Container::Gzip, bomb, digest_only(&vec![0; 64 * MIB])),
        (Container::Raw, raw.clone(), expected(&raw)),
    ] {
        let file = on_file(&bytes);
        let (parts, blocks) = (Pool::new(2, 4096), Pool::new(3, BLOCK_LENGTH));
        let devices = FakeDevices::new().with(DISK, Bytes(64 << 20));
        let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
        let job = Job {
            url: &file.1,
            container,
            expected: known,
            allow_unverified: false,
            target: &mut *target,
            device: DISK,
            client: &client(),
            events: &Heard::default(),
        };
        write_within(job, &parts, &blocks).unwrap();
        assert!(parts.peak() <= 2 && blocks.peak() <= 3);
    }
}

#[test]
fn a_fault_at_every_write_and_every_flush_is_an_error_of_the_disk() {
    let raw = image(3 * MIB + 100);
    let bytes = gzip(&raw);
    let good = dirty(4 * MIB);
    write_file(&good, Container::Gzip, &bytes, expected(&raw)).unwrap();
    let count = |flush: bool| {
        let is = |what: &What| match what {
            What::Write(_) | What::Zero(_) => !flush,
            What::Flush => flush,
            _ => false,
        };
        good.log().iter().filter(|done| is(&done.what)).count()
    };
    assert!(count(false) > 10 && count(true) == 3);
    let faults = (0..count(false))
        .flat_map(|n| [Fault::Write(n), Fault::HalfWrite(n)])
        .chain((0..count(true)).map(Fault::Flush));
    for fault in faults {
        let devices = dirty(4 * MIB).failing(fault);
        let error = write_file(&devices, Container::Gzip, &bytes, expected(&raw)).unwrap_err();
        let StreamError::Disk { device, offset, .. } = &error else {
            panic!("{fault:?}: {error}")
        };
        assert!(device == DISK && *offset <= size(raw.len()).0, "{fault:?}");
        let error = Error::from(error);
        assert_eq!(
            (error.kind, error.device.as_deref()),
            (Kind::Disk, Some(DISK))
        );
    }
}

#[test]
fn direct_writes_to_a_real_file_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    for length in [5 * MIB + 4097, 2 * MIB, 700] {
        let raw = image(length);
        std::fs::write(&path, vec![0xaa; 8 * MIB]).unwrap();
        let devices = file_disk(&path);
        let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
        let file = on_file(&zstandard(&raw));
        write_image(Job {
            url: &file.1,
            container: Container::Zstd,
            expected: expected(&raw),
            allow_unverified: false,
            target: &mut *target,
            device: DISK,
            client: &client(),
            events: &Heard::default(),
        })
        .unwrap();
        let disk = std::fs::read(&path).unwrap();
        assert!(disk[..length] == raw);
        assert!(disk[length..].iter().all(|byte| *byte == 0xaa));
    }
}

fn file_disk(path: &Path) -> FileDevices {
    let mut devices = FileDevices::new();
    devices.add(DISK, path, None).unwrap();
    devices
}

/// A server that answers `replies` in turn and then as a good one.
fn scripted(bytes: &[u8], etag: &'static str, replies: Vec<Reply>) -> FaultServer {
    let bytes = bytes.to_vec();
    let mut replies = VecDeque::from(replies);
    FaultServer::start(move |asked| {
        replies
            .pop_front()
            .unwrap_or_else(|| Reply::file(asked, &bytes, etag))
    })
    .unwrap()
}

#[test]
fn a_new_version_that_appears_midway_is_written_whole_and_nothing_of_the_old_one_stays() {
    let (old, new) = (image(3 * MIB + 5000), image(2 * MIB).split_off(4096));
    let first = Reply::file(&Asked::default(), &old, "\"old\"");
    let cut = first.fault(fault_server::Fault::DropAt(old.len() - 1000));
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
            Reply::file(&Asked::default(), &old, "\"old\"")
                .fault(fault_server::Fault::DropAt(old.len() - 1000)),
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
    let heard = Heard::default();
    let file = on_file(&gzip(&raw));
    let devices = dirty(4 * MIB);
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    write_image(Job {
        url: &file.1,
        container: Container::Gzip,
        expected: expected(&raw),
        allow_unverified: false,
        target: &mut *target,
        device: DISK,
        client: &client(),
        events: &heard,
    })
    .unwrap();
    let heard = heard.0.into_inner().unwrap();
    let Some(Event::Progress {
        what,
        done_bytes,
        total_bytes,
        ..
    }) = heard.last()
    else {
        panic!("no progress");
    };
    assert_eq!(
        (what.as_str(), *done_bytes, *total_bytes),
        ("x.img", 3 << 20, Some(3 << 20))
    );
}

#[test]
fn somebody_who_says_stop_is_heard() {
    let bytes = image(3 * MIB);
    let server = FaultServer::start(move |_| {
        Reply::whole(&bytes).fault(fault_server::Fault::StallAt(2 * MIB + 10))
    })
    .unwrap();
    let cancel = Cancel::new();
    let settings = HttpSettings {
        environment_proxy: false,
        ..HttpSettings::default()
    };
    let client = Client::new(&settings, cancel.clone()).unwrap();
    let devices = dirty(4 * MIB);
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    let url = server.url("/x");
    let stopper = std::thread::spawn(move || {
        // the first write shows that the transfer is under way
        while !wrote(&devices) {
            std::thread::yield_now();
        }
        cancel.cancel();
    });
    let error = write_image(Job {
        url: &url,
        container: Container::Raw,
        expected: Expected::default(),
        allow_unverified: true,
        target: &mut *target,
        device: DISK,
        client: &client,
        events: &Heard::default(),
    })
    .unwrap_err();
    stopper.join().unwrap();
    assert_eq!(Error::from(error).kind, Kind::Interrupted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_the_disk_holds_the_image_or_there_is_an_error(
        length in 1..3 * MIB,
        form in 0..5_usize,
        drops in prop::collection::vec(0..MIB, 0..4),
        ranges in any::<bool>(),
        flip in prop::option::of((0..MIB, 0..8_u32)),
        fault in prop::option::of(0..40_usize),
    ) {
        let raw = image(length);
        let (_, container, mut bytes) = wrapped(&raw).swap_remove(form);
        if let Some((at, bit)) = flip {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let server = FaultServer::start(move |asked| {
            let reply = if ranges { Reply::file(asked, &bytes, "\"a\"") } else { Reply::whole(&bytes) };
            match drops.get(asked.number) {
                Some(at) => reply.fault(fault_server::Fault::DropAt(*at)),
                None => reply,
            }
        })
        .unwrap();
        let mut devices = dirty(4 * MIB);
        if let Some(n) = fault {
            devices = devices.failing(Fault::HalfWrite(n));
        }
        let plan = Plan { url: &server.url("/x"), container, expected: expected(&raw) };
        match write_to(&devices, plan) {
            Ok(_) => prop_assert!(content(&devices, 0, length) == raw),
            Err(error) => prop_assert!(flip.is_some() || fault.is_some(), "{}", error),
        }
    }
}
