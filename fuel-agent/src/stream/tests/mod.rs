//! Whole images onto disks in memory and in files, through every container and every kind of mishap.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use host::blockdev::{Access, BlockDevice, Devices};
use host::cancel::Cancel;
use host::fake::{FakeDevices, What};
use host::units::{Bytes, Extent};
use sha2::Digest;

use super::{Expected, ImageOutcome, Job, StreamError, write_image};
use crate::events::{Event, Events};
use crate::http::fault_server::{FaultServer, Reply};
use crate::http::{Client, HttpSettings};
use crate::request::spec::Container;

mod arriving;
mod faults;
mod refusing;

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

/// The job of a plan, without unverified images.
fn job<'a>(
    plan: Plan<'a>,
    target: &'a mut dyn BlockDevice,
    client: &'a Client,
    events: &'a dyn Events,
) -> Job<'a> {
    Job {
        url: plan.url,
        container: plan.container,
        expected: plan.expected,
        allow_unverified: false,
        packed: None,
        target,
        device: DISK,
        client,
        events,
    }
}

fn write_to(devices: &dyn Devices, plan: Plan<'_>) -> Result<ImageOutcome, StreamError> {
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    write_image(job(plan, &mut *target, &client(), &Heard::default()))
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
