use std::io::Write;

use super::*;
use crate::apply::bench::{Bench, sized};
use crate::error::Kind;
use crate::plan::step::Step;
use crate::request::spec::Container;
use host::fake::Fault;
use host::units::{Bytes, Extent};
use sha2::{Digest, Sha256};

const WRITE: Step = Step::WriteImage { image: 0 };
const BLKID: &str = "blkid --probe --output export /dev/mapper/os-root";
const FOUND: &str = "UUID=aa-bb\nTYPE=ext4\n";

fn content() -> Vec<u8> {
    (0..3_000_000_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect()
}

/// A bench with an image in a file beside it.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let path = bench.work.path().join("root.img");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(&content())
        .unwrap();
    let image = &mut bench.plan.images[0];
    image.url = format!("file://{}", path.display());
    image.container = Container::Raw;
    let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
    image.facts.raw_sha256 = Some(Sha256::digest(content()).iter().fold(String::new(), hex));
    bench.script = bench
        .script
        .answering(BLKID, FOUND)
        .exiting("blkid --cache-file", 2, "");
    bench
}

#[test]
fn it_is_written_and_its_uuid_is_known_from_then_on() {
    let mut bench = bench();
    assert_eq!(bench.one(&WRITE).unwrap(), Outcome::Changed);
    let written = Extent::new(Bytes::ZERO, Bytes(3_000_000)).unwrap();
    assert!(bench.disks.content("/dev/mapper/os-root", written).unwrap() == content());
    assert!(bench.state.images[0].as_ref().unwrap().verified && bench.state.touched);
    assert_eq!(bench.state.filesystem_uuids[1].as_deref(), Some("aa-bb"));
    assert!(bench.heard.warnings().is_empty());
}

#[test]
fn the_same_uuid_elsewhere_is_worth_a_word() {
    let mut bench = bench();
    bench.script = host::fake::Script::new()
        .answering(BLKID, FOUND)
        .answering("blkid --cache-file", "/dev/mapper/os-root\n/dev/sdz1\n");
    bench.one(&WRITE).unwrap();
    let warnings = bench.heard.warnings();
    insta::assert_snapshot!(warnings.join("\n"), @"the filesystem UUID aa-bb of the image for /dev/mapper/os-root is on /dev/sdz1 as well");
}

#[test]
fn whatever_fails_is_told() {
    for (fault, kind) in [
        (Fault::Open(0), Kind::Disk),
        (Fault::Write(0), Kind::Disk),
        (Fault::Flush(0), Kind::Disk),
    ] {
        let mut bench = bench();
        bench.disks = bench.disks.failing(fault);
        assert_eq!(bench.one(&WRITE).unwrap_err().kind, kind, "{fault:?}");
    }
    for n in 0..2 {
        let mut bench = bench();
        bench.script = bench.script.failing_at(n);
        assert_eq!(bench.one(&WRITE).unwrap_err().kind, Kind::Tool, "{n}");
    }
}

#[test]
fn what_is_not_what_the_request_says_is_refused() {
    for found in ["UUID=1\nTYPE=xfs\n", "TYPE=ext4\n", ""] {
        let mut bench = bench();
        bench.script = host::fake::Script::new().answering(BLKID, found);
        assert_eq!(bench.one(&WRITE).unwrap_err().kind, Kind::Image, "{found}");
    }
    let mut other = bench();
    other.plan.images[0].facts.raw_sha256 = Some("00".repeat(32));
    assert_eq!(other.one(&WRITE).unwrap_err().kind, Kind::Image);
    let mut without = bench();
    without.plan.images[0].facts.raw_sha256 = None;
    assert_eq!(without.one(&WRITE).unwrap_err().kind, Kind::Refused);
}

#[test]
fn a_stream_is_refused_where_only_signed_images_are_written() {
    let mut bench = bench();
    bench.packed.require_signature = true;
    let error = bench.one(&WRITE).unwrap_err();
    assert_eq!(error.kind, Kind::Image);
    assert!(error.what.contains("no packed image"), "{}", error.what);
    assert!(!bench.state.touched);
}

#[test]
fn on_a_file_a_logical_volume_is_skipped() {
    let mut bench = bench();
    bench.disks = sized().as_file();
    assert!(matches!(
        bench.one(&WRITE).unwrap(),
        Outcome::Skipped { .. }
    ));
}
