//! Facts of images, found before anything is touched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use host::cancel::Cancel;
use host::units::Bytes;

use crate::http::tests::{client, impatient, settings};
use crate::http::{Client, HttpError};
use crate::model::digest::{Algorithm, DocumentedDigests, StatedDigest};
use crate::model::index::FilesystemIndex;
use crate::model::operating_system::OperatingSystem;
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::{ImageContent, SourceFacts};
use crate::model::storage::Mount;
use crate::source::{ProbeOptions, document, probe_images};
use crate::testing::fault_server::{FaultServer, ReceivedRequest, Reply};

const MD5: &str = "5D41402abc4b2a76b9719d911017c592";

fn image(mount: &str, url: String, container: Container) -> ImageSpec {
    ImageSpec {
        mount: Mount::Path(mount.to_owned()),
        filesystem: FilesystemIndex(0),
        url: url.into(),
        format: "ext4".into(),
        container,
        digests: DocumentedDigests::default(),
    }
}

/// A server with these files, by path.
fn serving(files: &[(&str, &[u8])]) -> FaultServer {
    let files: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))
        .collect();
    FaultServer::start(move |request| match files.get(&request.target) {
        Some(bytes) => Reply::file(request, bytes, "\"tag\""),
        None => Reply::status(404),
    })
    .unwrap()
}

fn facts_of(server: &FaultServer, path: &str, container: Container) -> SourceFacts {
    let url = server.url(path);
    let sources = probe_images(
        &client(&settings()),
        &[image("/", url.clone(), container)],
        ProbeOptions::default(),
    )
    .unwrap();
    sources.images[url.as_str()].clone()
}

fn yaml(name: &str, more: &str) -> Vec<u8> {
    format!("os: {{name: Ubuntu, major: 14, minor: 4}}\nimages:\n- container_name: {name}\n{more}")
        .into_bytes()
}

/// One stored block.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x16\0\xe9\xffbytes of no known kind\xa2\x97p\xc9\x16\0\0\0";

#[test]
fn one_request_finds_all_facts() {
    let raw = [0; 2000];
    let yaml = yaml(
        "u-14.04.img.gz",
        &format!(
            "  raw_md5: {MD5}\n  raw_size: 4096\n- container_name: boot.img\n  raw_sha256: '{}'\n",
            "ab".repeat(32)
        ),
    );
    let server = serving(&[
        ("/t/u-14.04.img.gz?x=1", GZIP),
        ("/t/u-14.yaml", &yaml),
        ("/boot.img", &raw),
    ]);
    let (root, boot) = (server.url("/t/u-14.04.img.gz?x=1"), server.url("/boot.img"));
    let images = [
        image("/boot", boot.clone(), Container::Raw),
        image("/", root.clone(), Container::Gzip),
    ];
    let sources = probe_images(&client(&settings()), &images, ProbeOptions::default()).unwrap();
    let document = server.url("/t/u-14.yaml");
    let stated = |algorithm, digest: &str| vec![StatedDigest::new(algorithm, digest, &document)];
    let system = Some(OperatingSystem::new("Ubuntu", "14", "4"));
    assert_eq!(
        sources.images[root.as_str()],
        SourceFacts {
            size_bytes: Some(Bytes(45)),
            raw_size_bytes: Some(Bytes(4096)),
            raw_md5: Some(MD5.to_lowercase()),
            stated: stated(Algorithm::Md5, MD5),
            container: Some(Container::Gzip),
            content: Some(ImageContent::Unknown),
            ranges: Some(true),
            etag: Some("\"tag\"".to_owned()),
            system: system.clone(),
            ..SourceFacts::default()
        }
    );
    assert_eq!(
        sources.images[boot.as_str()],
        SourceFacts {
            size_bytes: Some(Bytes(2000)),
            raw_size_bytes: Some(Bytes(2000)),
            raw_sha256: Some("ab".repeat(32)),
            stated: stated(Algorithm::Sha256, &"ab".repeat(32)),
            container: Some(Container::Raw),
            content: Some(ImageContent::Unknown),
            ranges: Some(true),
            etag: Some("\"tag\"".to_owned()),
            system,
            ..SourceFacts::default()
        }
    );
    // one request per image, and one for the metadata
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn the_content_of_an_image_is_found_in_every_container() {
    let mut raw: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()[0])
        .collect();
    raw[..4].copy_from_slice(b"XFSB");
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    std::io::Write::write_all(&mut bzip2, &raw).unwrap();
    let bzip2 = bzip2.finish().unwrap();
    let zstd = zstd::encode_all(&raw[..], 1).unwrap();
    let server = serving(&[("/x.raw", &raw), ("/x.bz2", &bzip2), ("/x.zst", &zstd)]);
    for (path, container) in [
        ("/x.raw", Container::Raw),
        ("/x.bz2", Container::Bzip2),
        ("/x.zst", Container::Zstd),
    ] {
        let content = facts_of(&server, path, container).content;
        let is_xfs = |it: &ImageContent| match it {
            ImageContent::Filesystem { filesystem, .. } => filesystem == "xfs",
            _ => false,
        };
        assert!(content.as_ref().is_some_and(is_xfs), "{path}: {content:?}");
    }
}

#[test]
fn a_problem_comes_with_what_to_do_about_it() {
    let hint_of = |files: &[(&str, &[u8])], container| {
        let facts = facts_of(&serving(files), "/x.img.gz", container);
        facts.problem_hint.unwrap()
    };
    let hint = hint_of(
        &[("/x.img.gz", GZIP), ("/x.yaml", b"images: {")],
        Container::Gzip,
    );
    assert!(hint.contains("correct that metadata"), "{hint}");
    let wide = b"\x28\xb5\x2f\xfd\x00\x90\x09\0\0x";
    let hint = hint_of(&[("/x.img.gz", wide)], Container::Zstd);
    assert!(hint.contains("zstd --long=27"), "{hint}");
    let hint = hint_of(&[("/x.img.gz", &GZIP[..20])], Container::Gzip);
    assert!(hint.contains("is complete"), "{hint}");
}

#[test]
fn a_server_without_ranges_is_noticed() {
    let server = FaultServer::start(|request| match request.target.as_str() {
        "/x.img.gz" => Reply::whole(&[GZIP, &vec![1; 100_000]].concat()),
        _ => Reply::status(404),
    })
    .unwrap();
    let facts = facts_of(&server, "/x.img.gz", Container::Gzip);
    assert_eq!(facts.size_bytes, Some(Bytes(100_045)));
    assert_eq!((facts.ranges, facts.problem), (Some(false), None));
}

#[test]
fn missing_metadata_means_no_digest_and_is_reported_at_once() {
    for status in [404, 410] {
        let server =
            FaultServer::start(
                move |request: &ReceivedRequest| match request.target.as_str() {
                    "/x.img.gz" => Reply::whole(GZIP),
                    _ => Reply::status(status),
                },
            )
            .unwrap();
        let facts = facts_of(&server, "/x.img.gz", Container::Gzip);
        assert!(!facts.has_digest() && facts.problem.is_none());
        assert_eq!(
            facts.no_digest.unwrap(),
            format!("{} does not exist", server.url("/x.yaml"))
        );
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn metadata_that_is_late_is_waited_for() {
    let calls = Arc::new(Mutex::new(0));
    let server = FaultServer::start(move |request: &ReceivedRequest| {
        if request.target == "/x.img.gz" {
            Reply::whole(GZIP)
        } else {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            if *calls < 3 {
                Reply::status(503)
            } else {
                Reply::whole(&yaml("x.img.gz", &format!("  raw_md5: {MD5}\n")))
            }
        }
    })
    .unwrap();
    let url = server.url("/x.img.gz");
    let sources = probe_images(
        &client(&settings()),
        &[image("/", url.clone(), Container::Gzip)],
        ProbeOptions::default(),
    )
    .unwrap();
    assert!(sources.images[url.as_str()].has_digest());
}

#[test]
fn metadata_that_is_broken_is_a_problem() {
    for (text, expected) in [
        (b"images: {".to_vec(), "not the metadata of an image"),
        (b"<html>".to_vec(), "not the metadata of an image"),
        (
            yaml("x.img.gz", "  raw_md5: fakeroot\n"),
            "has `fakeroot` as a digest of `x.img.gz`",
        ),
        (vec![b' '; (1 << 20) + 1], "longer than 1048576 bytes"),
    ] {
        let server = serving(&[("/x.img.gz", GZIP), ("/x.yaml", &text)]);
        let facts = facts_of(&server, "/x.img.gz", Container::Gzip);
        let problem = facts.problem.as_deref().unwrap();
        assert!(problem.contains(expected), "{problem}");
        assert!(!facts.has_digest());
    }
    let forbidden = FaultServer::start(|request: &ReceivedRequest| match request.target.as_str() {
        "/x.img.gz" => Reply::whole(GZIP),
        _ => Reply::status(403),
    })
    .unwrap();
    let facts = facts_of(&forbidden, "/x.img.gz", Container::Gzip);
    assert!(facts.problem.unwrap().contains("403 Forbidden"));
}

#[test]
fn metadata_that_does_not_name_the_image_says_so() {
    let text = yaml("other.img.gz", "  raw_size: 1\n");
    let server = serving(&[("/x.img.gz", GZIP), ("/x.yaml", &text)]);
    let facts = facts_of(&server, "/x.img.gz", Container::Gzip);
    assert!(
        facts
            .no_digest
            .unwrap()
            .contains("does not name `x.img.gz`")
    );
    let text = yaml("x.img.gz", "  raw_size: 1\n");
    let server = serving(&[("/x.img.gz", GZIP), ("/x.yaml", &text)]);
    let facts = facts_of(&server, "/x.img.gz", Container::Gzip);
    assert!(
        facts
            .no_digest
            .unwrap()
            .contains("has no digest of `x.img.gz`")
    );
}

#[test]
fn an_image_that_cannot_be_what_it_should_be_is_a_problem() {
    let wide = b"\x28\xb5\x2f\xfd\x00\x90\x09\0\0x";
    for (bytes, container, expected) in [
        (GZIP, Container::Zstd, "is gzip, the request says zstd"),
        (
            b"<html>",
            Container::Gzip,
            "is a web page, the request says gzip",
        ),
        (b"", Container::Raw, "is empty"),
        (wide, Container::Zstd, "needs 256 MiB of memory"),
    ] {
        let server = serving(&[("/x.img", bytes)]);
        let problem = facts_of(&server, "/x.img", container).problem.unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
    let server = serving(&[]);
    let facts = facts_of(&server, "/x.img?token=secret", Container::Raw);
    let problem = facts.problem.unwrap();
    assert!(
        problem.contains("404 Not Found") && !problem.contains("secret"),
        "{problem}"
    );
}

#[test]
fn files_have_their_metadata_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.img.gz"), GZIP).unwrap();
    let text = yaml("x.img.gz", &format!("  raw_md5: {MD5}\n"));
    std::fs::write(folder.path().join("x.yaml"), text).unwrap();
    let url = format!("file://{}/x.img.gz", folder.path().display());
    let images = [image("/", url.clone(), Container::Gzip)];
    let facts = &probe_images(&client(&settings()), &images, ProbeOptions::default())
        .unwrap()
        .images[url.as_str()];
    assert_eq!(facts.raw_md5, Some(MD5.to_lowercase()));
    assert_eq!(
        (facts.size_bytes, facts.container),
        (Some(Bytes(45)), Some(Container::Gzip))
    );
    std::fs::remove_file(folder.path().join("x.yaml")).unwrap();
    let facts = &probe_images(&client(&settings()), &images, ProbeOptions::default())
        .unwrap()
        .images[url.as_str()];
    assert!(facts.no_digest.is_some() && facts.problem.is_none());
    std::fs::remove_file(folder.path().join("x.img.gz")).unwrap();
    let facts = &probe_images(&client(&settings()), &images, ProbeOptions::default())
        .unwrap()
        .images[url.as_str()];
    assert!(facts.problem.as_deref().unwrap().contains("cannot read"));
}

#[test]
fn a_cancellation_ends_the_probe() {
    let cancel = Cancel::new();
    cancel.cancel();
    let client = Client::new(&settings(), cancel).unwrap();
    let server = serving(&[]);
    let images = [image("/", server.url("/x"), Container::Raw)];
    assert!(matches!(
        probe_images(&client, &images, ProbeOptions::default()),
        Err(HttpError::Cancelled)
    ));
}

#[test]
fn documents_are_whole_and_not_too_long() {
    let server = FaultServer::start(|request| match request.number {
        0 => Reply::status(500),
        1 => Reply::whole(b"0123456789").fault(crate::testing::fault_server::Fault::DropAt(5)),
        _ => Reply::whole(b"0123456789"),
    })
    .unwrap();
    let client = client(&settings());
    assert_eq!(
        document(&client, &server.url("/"), 10).unwrap(),
        b"0123456789"
    );
    let error = document(&client, &server.url("/"), 9).unwrap_err();
    assert!(
        matches!(error, HttpError::TooLong { limit: 9, .. }),
        "{error}"
    );
}

#[test]
fn a_server_that_is_down_is_waited_for_once() {
    let server = FaultServer::start(|_| Reply::status(503)).unwrap();
    let images: Vec<ImageSpec> = ["/", "/boot", "/var"]
        .iter()
        .map(|mount| image(mount, server.url(mount), Container::Raw))
        .collect();
    let sources = probe_images(&client(&impatient()), &images, ProbeOptions::default()).unwrap();
    assert!(sources.images.values().all(|facts| facts.problem.is_some()));
    let of = |path: &str| {
        server
            .requests()
            .iter()
            .filter(|request| request.target == path)
            .count()
    };
    assert!(of("/.yaml") > 1);
    assert_eq!((of("/"), of("/boot"), of("/var")), (1, 1, 1));
}
