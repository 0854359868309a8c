//! Archives unpacked into folders that stand for new filesystems, through every container and with every kind of fault.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::model::error::{Error, Kind};
use crate::stream::{Unpacking, unpack_archive};
use crate::testing::fault_server::Fault;

/// An archive in the making: regular files and links only.
#[derive(Clone, Default)]
struct Made(Vec<u8>);

impl Made {
    fn entry(mut self, kind: u8, name: &str, link: &str, data: &[u8]) -> Self {
        let mut block = [0; 512];
        let (user, group) = (own_user(), own_group());
        for (at, text) in [
            (0, name),
            (100, "0000640"),
            (108, &format!("{user:07o}")),
            (116, &format!("{group:07o}")),
            (124, &format!("{:011o}", data.len())),
            (136, "07346545000"),
            (148, "        "),
            (157, link),
            (257, "ustar\x0000"),
        ] {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        block[156] = kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend(block);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(b'0', name, "", data)
    }

    fn ended(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// User of the tests, who may not be able to give files to others.
fn own_user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

fn own_group() -> u32 {
    fs::metadata("/proc/self").unwrap().gid()
}

/// A root to unpack into, like a new ext4, and the size of its device.
struct Root(tempfile::TempDir, Bytes);

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/lost+found")).unwrap();
        Self(folder, Bytes(1 << 30))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn unpack(
        &self,
        plan: Plan<'_>,
        client: &Client,
        recorded: &RecordedEvents,
    ) -> Result<ImageOutcome, StreamError> {
        unpack_archive(Unpacking {
            url: plan.url,
            container: plan.container,
            expected: plan.expected,
            allow_unverified: false,
            root: &self.path(""),
            device: DISK,
            volume: self.1,
            client,
            events: recorded,
        })
    }

    fn unpack_bytes(
        &self,
        container: Container,
        bytes: &[u8],
        expected: Expected,
    ) -> Result<ImageOutcome, StreamError> {
        let file = on_file(bytes);
        let plan = Plan {
            url: &file.1,
            container,
            expected,
        };
        self.unpack(plan, &client(), &RecordedEvents::default())
    }
}

fn sample() -> Vec<u8> {
    Made::default()
        .file("etc/fstab", b"nothing\n")
        .file("data", &image(5 * MIB / 2 + 77))
        .entry(b'1', "again", "etc/fstab", b"")
        .ended()
}

#[test]
fn an_archive_arrives_in_every_container() {
    let raw = sample();
    for (name, container, bytes) in wrapped(&raw) {
        let root = Root::new();
        let outcome = root
            .unpack_bytes(container, &bytes, expected(&raw))
            .unwrap();
        assert_eq!(
            root.names(),
            ["again", "data", "etc", "lost+found"],
            "{name}"
        );
        assert!(
            fs::read(root.path("data")).unwrap() == image(5 * MIB / 2 + 77),
            "{name}"
        );
        assert_eq!(
            fs::read(root.path("again")).unwrap(),
            b"nothing\n",
            "{name}"
        );
        assert_eq!(
            fs::metadata(root.path("data")).unwrap().mtime(),
            0o7_346_545_000
        );
        assert!(outcome.verified);
        assert_eq!(outcome.raw_bytes, size(raw.len()));
        assert_eq!(outcome.raw_sha256, sha256(&raw));
    }
}

#[test]
fn a_transfer_that_starts_over_leaves_nothing_of_what_came_before() {
    let old = Made::default()
        .file("old", b"x")
        .file("data", &image(3 * MIB))
        .ended();
    let new = Made::default().file("new", b"x").ended();
    let broken = Reply {
        fault: Fault::DropAt(2 * MIB),
        ..Reply::whole(&old)
    };
    let server = scripted(&new, "\"new\"", vec![broken]);
    let root = Root::new();
    let plan = Plan {
        url: &server.url("/x.tar"),
        container: Container::Raw,
        expected: expected(&new),
    };
    let outcome = root
        .unpack(plan, &client(), &RecordedEvents::default())
        .unwrap();
    assert_eq!(outcome.retries, 1);
    assert_eq!(root.names(), ["lost+found", "new"]);
}

#[test]
fn a_transfer_that_breaks_is_resumed() {
    let raw = sample();
    let broken = Reply {
        fault: Fault::DropAt(MIB),
        headers: vec![("ETag".to_owned(), "\"1\"".to_owned())],
        ..Reply::whole(&raw)
    };
    let server = scripted(&raw, "\"1\"", vec![broken]);
    let root = Root::new();
    let plan = Plan {
        url: &server.url("/x.tar"),
        container: Container::Raw,
        expected: expected(&raw),
    };
    let outcome = root
        .unpack(plan, &client(), &RecordedEvents::default())
        .unwrap();
    assert_eq!(
        (outcome.retries, outcome.fetched_bytes),
        (1, size(raw.len()))
    );
}

#[test]
fn progress_is_reported_to_the_end() {
    let raw = sample();
    let file = on_file(&gzip(&raw));
    let recorded = RecordedEvents::default();
    let plan = Plan {
        url: &file.1,
        container: Container::Gzip,
        expected: expected(&raw),
    };
    Root::new().unpack(plan, &client(), &recorded).unwrap();
    let events = recorded.0.into_inner().unwrap();
    let Some(Event::Progress {
        done_bytes,
        total_bytes,
        ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (*done_bytes, *total_bytes),
        (size(raw.len()).0, Some(size(raw.len()).0))
    );
}

/// Unpacks and returns the error's text and kind.
fn failed(container: Container, bytes: &[u8], expected: Expected) -> (String, Kind) {
    let error = Root::new()
        .unpack_bytes(container, bytes, expected)
        .unwrap_err();
    let error = Error::from(error);
    (error.one_line(), error.kind)
}

#[test]
fn an_archive_that_is_not_what_it_should_be_is_an_error() {
    let raw = sample();
    let other = digest_only(b"something else");
    let longer = Expected {
        raw_size: Some(size(raw.len() + 512)),
        ..digest_only(&raw)
    };
    let shorter = Expected {
        raw_size: Some(size(raw.len() - 512)),
        ..digest_only(&raw)
    };
    for (expected, what) in [
        (other, "the sha256 digest of "),
        (longer, " holds "),
        (shorter, " holds "),
    ] {
        let (text, kind) = failed(Container::Raw, &raw, expected);
        assert!(text.contains(what), "{text}");
        assert_eq!(kind, Kind::Image, "{text}");
    }
    let (text, kind) = failed(Container::Raw, &raw, Expected::default());
    assert!(text.starts_with("no digest is known for "), "{text}");
    assert_eq!(kind, Kind::Refused);
}

#[test]
fn an_archive_without_end_is_stopped() {
    let again = Made::default().file("data", &vec![7; MIB]).0.repeat(90);
    let headers = Made::default()
        .entry(b'g', "g", "", &[0; 0])
        .0
        .repeat(20_000);
    let zeros = [sample(), vec![0; 66 * MIB]].concat();
    for (raw, reason) in [
        (again, "does not fit on /dev/sda, which holds 8 MiB"),
        (headers, "bytes of others, and of no entry"),
        (zeros, "zeros follow after its end"),
    ] {
        let mut root = Root::new();
        root.1 = Bytes(8 << 20);
        let packed = zstandard(&raw);
        let error = root.unpack_bytes(Container::Zstd, &packed, digest_only(&raw));
        let error = error.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.kind(), Kind::Image);
    }
}

#[test]
fn what_is_behind_the_end_is_digested_too_and_has_to_be_zeros() {
    let mut raw = sample();
    raw.resize(raw.len() + 3 * MIB, 0);
    Root::new()
        .unpack_bytes(Container::Gzip, &gzip(&raw), expected(&raw))
        .unwrap();
    *raw.last_mut().unwrap() = 1;
    let (text, kind) = failed(Container::Gzip, &gzip(&raw), expected(&raw));
    assert!(
        text.ends_with(&format!(
            "other data follows after its end, at byte {}",
            raw.len() - 1
        )),
        "{text}"
    );
    assert_eq!(kind, Kind::Image);
}

#[test]
fn an_archive_that_ends_early_is_an_error_in_every_container() {
    let raw = sample();
    let raw = &raw[..raw.len() - 1024];
    for (name, container, bytes) in wrapped(raw) {
        let (text, kind) = failed(container, &bytes, expected(raw));
        assert!(text.contains("ends in the middle"), "{name}: {text}");
        assert_eq!(kind, Kind::Image, "{name}");
    }
}

#[test]
fn an_entry_that_cannot_be_made_is_named() {
    for (made, what) in [
        (
            Made::default()
                .entry(b'2', "bin", "usr/bin", b"")
                .file("bin/ls", b"x"),
            "cannot unpack `bin/ls` of file:///X to /dev/sda: is below `bin`, which is a symbolic link",
        ),
        (
            Made::default().entry(b'1', "a", "gone", b""),
            "cannot unpack `a` of file:///X to /dev/sda: is a link to `gone`, which does not exist",
        ),
        (
            Made::default().file("../escaped", b"x"),
            "file:///X cannot be unpacked: its entry `../escaped` has `..` in its name, which leads out of the archive",
        ),
        (
            Made::default()
                .entry(b'2', "etc", "/etc", b"")
                .entry(b'1', "a", "etc/passwd", b""),
            "cannot unpack `a` of file:///X to /dev/sda: is a link into `etc`, which leads through a symbolic link",
        ),
    ] {
        let raw = made.ended();
        let (text, kind) = failed(Container::Raw, &raw, expected(&raw));
        let (before, rest) = text.split_once("file:///").unwrap();
        let (_, after) = rest.split_once("/x.img").unwrap();
        assert_eq!(format!("{before}file:///X{after}"), what);
        assert_eq!(kind, Kind::Image);
    }
}

#[test]
fn archive_and_image_are_not_mistaken_for_each_other_and_nothing_is_created() {
    let raw = image(2 * MIB);
    let plain: (Container, Pack) = (Container::Raw, <[u8]>::to_vec);
    for (container, pack) in PACKED.into_iter().chain([plain]) {
        let (text, kind) = failed(container, &pack(&raw), expected(&raw));
        assert!(
            text.ends_with("is not a tar archive but raw, the request says that it is `tar`"),
            "{container:?}: {text}"
        );
        assert_eq!(kind, Kind::Image);
        let archive = sample();
        let devices = dirty(4 * MIB);
        let error =
            write_file(&devices, container, &pack(&archive), expected(&archive)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is a tar archive, not an image of a filesystem or a disk"),
            "{container:?}: {error}"
        );
        assert!(!wrote(&devices), "{container:?}");
    }
}

#[test]
fn a_cancellation_is_noticed() {
    let raw = sample();
    let file = on_file(&raw);
    let stop = Cancel::new();
    let client = Client::new(&HttpSettings::default(), stop.clone()).unwrap();
    stop.cancel();
    let plan = Plan {
        url: &file.1,
        container: Container::Raw,
        expected: expected(&raw),
    };
    let root = Root::new();
    let error = Error::from(
        root.unpack(plan, &client, &RecordedEvents::default())
            .unwrap_err(),
    );
    assert_eq!(error.kind, Kind::Interrupted);
    assert_eq!(root.names(), ["lost+found"]);
}
