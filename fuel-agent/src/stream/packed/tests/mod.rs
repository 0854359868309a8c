//! Packed images written to disks in memory and in files, from servers that behave and from others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host::blockdev::{Access, Devices};
use host::cancel::Cancel;
use host::fake::FakeDevices;
use host::units::{Bytes, Extent};
use os_image::codec::Packer;
use os_image::index::{Chunk, IndexBuilder};
use os_image::manifest::{Filesystem, Image, Manifest, System};
use sha2::Digest;

use super::{Packed, PackedPolicy};
use crate::events::{Event, Events};
use crate::http::{Client, HttpSettings};
use crate::model::digest::DocumentedDigests;
use crate::model::index::FilesystemIndex;
use crate::model::report::{ImageOutcome, PackedOutcome};
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::SourceFacts;
use crate::model::storage::Mount;
use crate::source::{ProbeOptions, probe_images};
use crate::stream::{Expected, Job, StreamError, write_image};
use crate::testing::fault_server::{FaultServer, ReceivedRequest, Reply};

mod corruption;
mod delta;
mod faults;
mod mirrors;
mod reverify;
mod signed;
mod whole;
mod writing;

const DISK: &str = "/dev/sda";
const FILE: &str = "x.img.zst";
const MANIFEST: &str = "x.manifest.json";
const MIB: usize = 1 << 20;

#[derive(Default)]
struct RecordedEvents(Mutex<Vec<Event>>);

impl Events for RecordedEvents {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl RecordedEvents {
    /// Texts of all warnings and notes.
    fn messages(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Warning { message, .. } | Event::Note { message, .. } => Some(message.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(text).collect()
    }
}

fn settings() -> HttpSettings {
    HttpSettings {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        environment_proxy: false,
        ..HttpSettings::default()
    }
}

fn client() -> Client {
    Client::new(&settings(), Cancel::new()).unwrap()
}

/// Bytes as in a filesystem: chunks of data, chunks of zeros, runs of zeros within, and no two data chunks alike.
fn image(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| {
            let (chunk, place) = (at / MIB, at % MIB);
            let is_zero = chunk % 4 == 2 || (place > 100_000 && place < 800_000 && chunk % 3 == 1);
            if is_zero {
                0
            } else {
                u8::try_from((place * 31 + place / 509 + chunk * 7) % 255 + 1).unwrap()
            }
        })
        .collect()
}

/// The three files of a packed image.
#[derive(Clone)]
struct Published {
    raw: Vec<u8>,
    data: Vec<u8>,
    manifest: Manifest,
}

impl Published {
    fn of(raw: Vec<u8>) -> Self {
        Self::in_chunks(raw, 1 << 20)
    }

    fn in_chunks(raw: Vec<u8>, chunk_size: u32) -> Self {
        let mut packer = Packer::new(1).unwrap();
        let (mut data, mut frame) = (Vec::new(), Vec::new());
        let raw_size = u64::try_from(raw.len()).unwrap();
        let mut index = IndexBuilder::new(raw_size, chunk_size, 1 << 20).unwrap();
        let mut raw_offset = 0;
        for piece in raw.chunks(usize::try_from(chunk_size).unwrap()) {
            let found = packer.pack(piece, &mut frame).unwrap();
            let chunk = Chunk {
                raw_offset,
                raw_length: u32::try_from(piece.len()).unwrap(),
                packed_offset: u64::try_from(data.len()).unwrap(),
                packed_length: u32::try_from(frame.len()).unwrap(),
                raw_digest: found.raw_digest,
                packed_digest: found.packed_digest,
                zero: found.zero,
            };
            index.push(&chunk).unwrap();
            raw_offset += u64::from(chunk.raw_length);
            data.extend_from_slice(&frame);
        }
        let packed_size = u64::try_from(data.len()).unwrap();
        let image = Image {
            file: FILE.to_owned(),
            mount: Some("/".to_owned()),
            whole_disk: false,
            filesystem: Some(Filesystem {
                kind: "ext4".to_owned(),
                uuid: "5e8a".to_owned(),
            }),
            sector_size: 512,
            raw_size,
            packed_size,
            raw_sha256: sha2::Sha256::digest(&raw).into(),
            packed_sha256: sha2::Sha256::digest(&data).into(),
            raw_md5: None,
            index: index.finish(packed_size).unwrap(),
        };
        Self {
            raw,
            data,
            manifest: Manifest {
                name: "x".to_owned(),
                release: 7,
                os: System::default(),
                architecture: "x86_64".to_owned(),
                firmware: vec!["bios".to_owned(), "uefi".to_owned()],
                features: vec!["lvm".to_owned(), "cloud-init".to_owned()],
                images: vec![image],
            },
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.manifest.write(&mut text).unwrap();
        text
    }

    fn chunk(&self, number: usize) -> Chunk {
        self.manifest.images[0].index.chunk(number).unwrap()
    }

    /// Bytes that a full write fetches: all data chunks, and possibly zero chunks between them.
    fn data_bytes(&self) -> std::ops::RangeInclusive<u64> {
        let chunks = self.manifest.images[0].index.iter();
        let data = chunks
            .filter(|chunk| !chunk.zero)
            .map(|chunk| u64::from(chunk.packed_length))
            .sum();
        data..=u64::try_from(self.data.len()).unwrap()
    }

    /// The reply of a correct server.
    fn answer(&self, request: &ReceivedRequest) -> Reply {
        match request.target.as_str() {
            "/x.img.zst" => Reply::file(request, &self.data, "\"a\""),
            "/x.manifest.json" => Reply::file(request, &self.text(), "\"m\""),
            _ => Reply::status(404),
        }
    }

    fn serve(&self) -> FaultServer {
        let published = self.clone();
        FaultServer::start(move |request| published.answer(request)).unwrap()
    }

    /// A server whose replies for the data file are passed through `change`, except for the first, which is the
    /// probe's.
    fn serve_data(
        &self,
        mut change: impl FnMut(&ReceivedRequest, Reply, usize) -> Reply + Send + 'static,
    ) -> FaultServer {
        let published = self.clone();
        let mut count = 0;
        FaultServer::start(move |request| {
            let reply = published.answer(request);
            if request.target != "/x.img.zst" {
                return reply;
            }
            count += 1;
            if count == 1 {
                return reply;
            }
            change(request, reply, count - 2)
        })
        .unwrap()
    }

    /// A folder with the files, and the URL of the data file.
    fn on_files(&self) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), &self.data).unwrap();
        std::fs::write(folder.path().join(MANIFEST), self.text()).unwrap();
        let url = format!("file://{}/{FILE}", folder.path().display());
        (folder, url)
    }
}

fn url(server: &FaultServer) -> String {
    server.url("/x.img.zst")
}

fn spec(url: &str) -> ImageSpec {
    ImageSpec {
        mount: Mount::Path("/".to_owned()),
        filesystem: FilesystemIndex(0),
        url: url.into(),
        format: "ext4".into(),
        container: Container::Zstd,
        digests: DocumentedDigests::default(),
    }
}

fn facts(url: &str, rules: &PackedPolicy) -> SourceFacts {
    let probe_options = ProbeOptions {
        signers: rules.signers(),
        mirrors: &rules.mirrors,
    };
    let sources = probe_images(&client(), &[spec(url)], probe_options).unwrap();
    sources.images[url].clone()
}

/// Result of writing an image.
struct Done {
    result: Result<ImageOutcome, StreamError>,
    messages: Vec<String>,
}

impl Done {
    fn outcome(&self) -> &ImageOutcome {
        self.result
            .as_ref()
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn packed(&self) -> &PackedOutcome {
        self.outcome().packed.as_ref().unwrap()
    }
}

/// Probes the image and writes it to `DISK`.
fn install(devices: &dyn Devices, url: &str, rules: &PackedPolicy) -> Done {
    write_known(devices, url, rules, &facts(url, rules), &client())
}

fn write_known(
    devices: &dyn Devices,
    url: &str,
    rules: &PackedPolicy,
    facts: &SourceFacts,
    client: &Client,
) -> Done {
    assert_eq!(facts.problem, None);
    let recorded = RecordedEvents::default();
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    let result = write_image(Job {
        url,
        container: Container::Zstd,
        format: "",
        expected: Expected::from(facts),
        allow_unverified: false,
        packed: Some(Packed {
            facts: facts.packed.as_ref().unwrap(),
            ranges: facts.ranges,
            rules,
            at_once: 1,
            discards: false,
        }),
        target: &mut *target,
        device: DISK,
        client,
        events: &recorded,
    });
    Done {
        result,
        messages: recorded.messages(),
    }
}

/// A disk full of old bytes.
fn dirty(length: usize) -> FakeDevices {
    let devices = FakeDevices::new().with(DISK, size(length));
    devices.put(DISK, Bytes::ZERO, &vec![0xaa; length]).unwrap();
    devices
}

fn size(bytes: usize) -> Bytes {
    Bytes(bytes.try_into().unwrap())
}

fn content(devices: &FakeDevices, start: usize, length: usize) -> Vec<u8> {
    let extent = Extent::new(size(start), size(length)).unwrap();
    devices.content(DISK, extent).unwrap()
}

/// A server with these files, by path.
fn serving(files: BTreeMap<String, Vec<u8>>) -> FaultServer {
    let files = Arc::new(files);
    FaultServer::start(move |request| match files.get(&request.target) {
        Some(bytes) => Reply::file(request, bytes, "\"f\""),
        None => Reply::status(404),
    })
    .unwrap()
}
