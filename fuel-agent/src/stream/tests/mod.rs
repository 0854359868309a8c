//! Complete images written to disks in memory and in files, through every container and with every kind of fault.

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

use super::{Expected, Job, StreamError, write_image};
use crate::events::{Event, Events};
use crate::http::{Client, HttpSettings};
use crate::model::digest::{Algorithm, StatedDigest};
use crate::model::report::ImageOutcome;
use crate::model::request::Container;
use crate::testing::fault_server::{FaultServer, Reply};

mod archives;
mod arriving;
mod disk_images;
mod faults;
mod fence;
mod refusing;

const DISK: &str = "/dev/sda";
const MIB: usize = 1 << 20;

#[derive(Default)]
struct RecordedEvents(Mutex<Vec<Event>>);

impl Events for RecordedEvents {
    fn emit(&self, event: &Event) {
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
        ..digest_only(raw)
    }
}

fn digest_only(raw: &[u8]) -> Expected {
    Expected {
        digests: vec![stated(Algorithm::Sha256, &sha256(raw))],
        ..Expected::default()
    }
}

fn stated(algorithm: Algorithm, digest: &str) -> StatedDigest {
    StatedDigest::new(algorithm, digest, "x.yaml")
}

fn md5(bytes: &[u8]) -> String {
    hex(&md5::Md5::digest(bytes))
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

/// Frames that state their unpacked length, `length` bytes each except for the last.
fn frames(raw: &[u8], length: usize) -> Vec<u8> {
    let frame = |part: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        let length = part.len().try_into().unwrap();
        encoder.set_pledged_src_size(Some(length)).unwrap();
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    raw.chunks(length).flat_map(frame).collect()
}

fn xz(raw: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// One stream of several blocks that state their length, as `xz -T2` writes it.
fn xz_blocks(raw: &[u8]) -> Vec<u8> {
    let stream = liblzma::stream::MtStreamBuilder::new()
        .threads(2)
        .block_size(300_000)
        .check(liblzma::stream::Check::Crc32)
        .encoder()
        .unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(raw: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

const SKIPPABLE: &[u8] = b"\x51\x2a\x4d\x18\x05\0\0\0hello";

/// A container variant; a comma in its name says that it consists of several complete images.
type Form = (&'static str, Container, Pack);

/// Packs an image.
type Pack = fn(&[u8]) -> Vec<u8>;

/// All container variants.
const FORMS: [Form; 11] = [
    ("raw", Container::Raw, <[u8]>::to_vec),
    ("gzip", Container::Gzip, gzip),
    ("gzip, two members", Container::Gzip, |raw| {
        in_two(raw, gzip, b"")
    }),
    ("zstd", Container::Zstd, zstandard),
    ("zstd, frames of all sorts", Container::Zstd, |raw| {
        [SKIPPABLE, &in_two(raw, zstandard, SKIPPABLE), SKIPPABLE].concat()
    }),
    ("zstd, frames of a MiB", Container::Zstd, |raw| {
        frames(raw, MIB)
    }),
    ("zstd, one whole frame and others", Container::Zstd, |raw| {
        let (a, b) = raw.split_at(raw.len().min(2 * MIB));
        [&frames(a, 2 * MIB), SKIPPABLE, &zstandard(b)].concat()
    }),
    ("xz", Container::Xz, xz),
    ("xz, streams with padding", Container::Xz, |raw| {
        in_two(raw, xz_blocks, &[0; 8])
    }),
    ("bzip2", Container::Bzip2, bzip2),
    ("bzip2, two streams", Container::Bzip2, |raw| {
        in_two(raw, bzip2, b"")
    }),
];

fn in_two(raw: &[u8], pack: Pack, between: &[u8]) -> Vec<u8> {
    let (a, b) = raw.split_at(raw.len() / 3);
    [&pack(a), between, &pack(b)].concat()
}

fn wrapped(raw: &[u8]) -> Vec<(&'static str, Container, Vec<u8>)> {
    let forms = FORMS.into_iter();
    forms
        .map(|(name, container, pack)| (name, container, pack(raw)))
        .collect()
}

/// The simplest form in each container that packs.
const PACKED: [(Container, Pack); 4] = [
    (Container::Gzip, gzip),
    (Container::Zstd, zstandard),
    (Container::Xz, xz),
    (Container::Bzip2, bzip2),
];

/// A disk full of old bytes.
fn dirty(length: usize) -> FakeDevices {
    let devices = FakeDevices::new().with(DISK, size(length));
    devices.put(DISK, Bytes::ZERO, &vec![0xaa; length]).unwrap();
    devices
}

fn content(devices: &FakeDevices, start: usize, length: usize) -> Vec<u8> {
    let extent = Extent::new(size(start), size(length)).unwrap();
    devices.content(DISK, extent).unwrap()
}

/// A file with these bytes, and its URL.
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
        format: "",
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
    write_image(job(
        plan,
        &mut *target,
        &client(),
        &RecordedEvents::default(),
    ))
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

/// A server that gives `replies` in turn and then behaves.
fn scripted(bytes: &[u8], etag: &'static str, replies: Vec<Reply>) -> FaultServer {
    let bytes = bytes.to_vec();
    let mut replies = VecDeque::from(replies);
    FaultServer::start(move |request| {
        replies
            .pop_front()
            .unwrap_or_else(|| Reply::file(request, &bytes, etag))
    })
    .unwrap()
}
