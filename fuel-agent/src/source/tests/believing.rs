//! Headers of answers: accepted or refused, and never ignored.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use std::time::Duration;

use host::cancel::Cancel;
use os_image::disk::ReadAt;

use crate::http::HttpError;
use crate::http::tests::{
    RecordedEvents, client, content, fetch, first, impatient, scripted, settings,
};
use crate::model::digest::DocumentedDigests;
use crate::model::error::{Error, render};
use crate::model::index::FilesystemIndex;
use crate::model::request::{Container, ImageSpec};
use crate::model::storage::Mount;
use crate::pool::Pool;
use crate::source::policy::Signers;
use crate::source::reader::Reader;
use crate::source::{
    self, Meter, ProbeOptions, SourceEvent, TransferContext, document, manifest, probe_images,
};
use crate::testing::fault_server::{Fault, FaultServer, ReceivedRequest, Reply};

/// A server that sends everything with this `Content-Encoding`.
fn encoding(encoding: &'static str, bytes: &[u8]) -> FaultServer {
    let bytes = bytes.to_vec();
    FaultServer::start(move |request| {
        if request.target.contains(".yaml") {
            return Reply::status(404);
        }
        Reply::file(request, &bytes, "\"a\"").header("Content-Encoding", encoding)
    })
    .unwrap()
}

fn is_encoded(error: &HttpError) -> bool {
    matches!(error, HttpError::Encoded { .. })
}

/// Fetches an image in this container.
fn fetched(url: &str, container: Container) -> Result<Vec<u8>, HttpError> {
    let recorded = RecordedEvents::default();
    let context = TransferContext {
        container,
        pool: Pool::new(4, 1000),
        meter: Meter::default(),
        stop: Cancel::new(),
        events: &recorded,
    };
    let mut source = source::open(&client(&settings()), url, context)?;
    let mut bytes = Vec::new();
    loop {
        match source.next()? {
            SourceEvent::Bytes(buffer) => bytes.extend_from_slice(&buffer),
            SourceEvent::StartOver => bytes.clear(),
            SourceEvent::End => return Ok(bytes),
        }
    }
}

fn problem(url: &str, container: Container) -> Option<String> {
    let image = ImageSpec {
        mount: Mount::Path("/".to_owned()),
        filesystem: FilesystemIndex(0),
        url: url.into(),
        // any image will do: its content does not matter here
        format: "".into(),
        container,
        digests: DocumentedDigests::default(),
    };
    let sources = probe_images(&client(&settings()), &[image], ProbeOptions::default()).unwrap();
    sources.images[url].problem.clone()
}

#[test]
fn an_encoding_that_was_not_asked_for_is_refused_everywhere_and_at_once() {
    let bytes = content(2000);
    let server = encoding("gzip", &bytes);
    let url = server.url("/x.img");
    let request_count = || server.requests().len();
    assert!(is_encoded(&fetched(&url, Container::Raw).unwrap_err()));
    assert!(is_encoded(&fetched(&url, Container::Zstd).unwrap_err()));
    let error = document(&client(&settings()), &url, 4000).unwrap_err();
    assert!(is_encoded(&error), "{error}");
    let budget = Duration::from_secs(20);
    let error = manifest(&client(&settings()), &url, Signers::default(), budget).unwrap_err();
    assert!(
        error.to_string().contains("Content-Encoding: gzip"),
        "{error}"
    );
    let recorded = RecordedEvents::default();
    let context = TransferContext {
        container: Container::Qcow2,
        pool: Pool::new(1, 1),
        meter: Meter::default(),
        stop: Cancel::new(),
        events: &recorded,
    };
    let reader = Reader::new(&client(&settings()), &url, context).unwrap();
    assert!((&reader).size().is_err());
    assert!(is_encoded(&reader.broken().unwrap()));
    assert_eq!(request_count(), 5);
    let found = problem(&url, Container::Raw).unwrap();
    assert!(found.contains("Content-Encoding: gzip"), "{found}");
    let address = server.address().to_string();
    let error = Error::from(fetched(&url, Container::Raw).unwrap_err());
    insta::assert_snapshot!(render(&error).replace(&address, "HOST"), @r"
    error: http://HOST/x.img is sent with `Content-Encoding: gzip`, which was not requested
      hint: let the server send the file as it is, without `Content-Encoding`
    ");
}

#[test]
fn a_content_encoding_that_names_the_files_own_container_is_accepted() {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    std::io::Write::write_all(&mut encoder, &content(2000)).unwrap();
    let bytes = encoder.finish().unwrap();
    for (label, container) in [
        ("gzip", Container::Gzip),
        ("x-gzip", Container::Gzip),
        ("Identity", Container::Raw),
        ("identity", Container::Gzip),
        ("", Container::Raw),
        ("zstd", Container::Zstd),
    ] {
        let server = encoding(label, &bytes);
        let got = fetched(&server.url("/x"), container);
        assert_eq!(got.unwrap(), bytes, "{label}");
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&content(200_000)).unwrap();
    let server = encoding("x-gzip", &packed.finish().unwrap());
    assert_eq!(problem(&server.url("/x.img.gz"), Container::Gzip), None);
    let server = encoding("gzip, gzip", &bytes);
    let error = fetched(&server.url("/x"), Container::Gzip).unwrap_err();
    assert!(is_encoded(&error), "{error}");
}

#[test]
fn an_error_page_may_be_encoded_as_it_likes() {
    let server =
        FaultServer::start(|_| Reply::status(404).header("Content-Encoding", "gzip")).unwrap();
    let error = fetched(&server.url("/x"), Container::Raw).unwrap_err();
    assert_eq!(error.status(), Some(404));
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// The answer without its entity tag.
fn untagged(reply: Reply) -> Reply {
    let headers = reply.headers.into_iter().filter(|(name, _)| name != "ETag");
    Reply {
        headers: headers.collect(),
        ..reply
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of them are the table")]
fn a_transfer_goes_on_only_where_the_answer_proves_that_it_is_the_same_file() {
    let bytes = content(9000);
    let rest = |range: &str| {
        let mut reply = Reply::whole(&bytes[5000..]).header("Content-Range", range);
        reply.status = 206;
        reply
    };
    let right = || rest("bytes 5000-8999/9000").header("ETag", "\"a\"");
    let dated = |reply: Reply, date: &str| untagged(reply).header("Last-Modified", date);
    let broken = || first(&bytes).fault(Fault::DropAt(5000));
    let announcing = Reply {
        length: Some(4000),
        body: bytes[5000..].to_vec(),
        ..right()
    };
    for (what, begun, second, is_proven) in [
        ("", broken(), announcing, true),
        (
            "does not name the entity tag",
            broken(),
            untagged(right()),
            false,
        ),
        (
            "does not name the entity tag",
            broken(),
            untagged(right()).header("ETag", "W/\"a\""),
            false,
        ),
        (
            "it announces 3000 bytes",
            broken(),
            Reply {
                length: Some(3000),
                ..right()
            },
            false,
        ),
        (
            "which part it is",
            broken(),
            Reply {
                headers: vec![(
                    "Content-Type".to_owned(),
                    "multipart/byteranges; boundary=x".to_owned(),
                )],
                ..right()
            },
            false,
        ),
        (
            "its date changed",
            dated(broken(), DATE),
            dated(right(), LATER),
            false,
        ),
        // an answer to `If-Range` may omit the date
        ("", dated(broken(), DATE), untagged(right()), true),
        // a date of the current second may belong to more than one version
        (
            "neither an ETag nor a date",
            dated(broken(), DATE).header("Date", DATE),
            dated(right(), DATE),
            false,
        ),
        (
            "",
            dated(broken(), DATE).header("Date", LATER),
            dated(right(), DATE),
            true,
        ),
        (
            "does not say how long the whole is",
            Reply {
                without_length: true,
                ..broken()
            }
            .fault(Fault::ResetAt(5000)),
            rest("bytes 5000-8999/*").header("ETag", "\"a\""),
            false,
        ),
    ] {
        let server = scripted(&bytes, vec![begun, second]);
        let got = fetch(&settings(), &server.url("/x"));
        assert_eq!(got.result.unwrap(), bytes, "{what}");
        assert_eq!(got.meter.start_overs(), u32::from(!is_proven), "{what}");
        let is_told = got.warnings.iter().any(|warning| warning.contains(what));
        assert!(is_told || is_proven, "{what}: {:?}", got.warnings);
    }
}

#[test]
fn the_probe_accepts_only_the_range_that_it_requested() {
    let bytes = content(2000);
    for range in ["bytes 1-512/2000", "bytes 0-99/2000", "2000"] {
        let copy = bytes.clone();
        let server = FaultServer::start(move |request: &ReceivedRequest| {
            let mut reply = Reply::whole(&copy[..512]).header("Content-Range", range);
            reply.status = 206;
            match request.target.as_str() {
                "/x.img" => reply,
                _ => Reply::status(404),
            }
        })
        .unwrap();
        let url = server.url("/x.img");
        let image = ImageSpec {
            mount: Mount::Path("/".to_owned()),
            filesystem: FilesystemIndex(0),
            url: url.as_str().into(),
            format: "ext4".into(),
            container: Container::Raw,
            digests: DocumentedDigests::default(),
        };
        let sources =
            probe_images(&client(&impatient()), &[image], ProbeOptions::default()).unwrap();
        let found = sources.images[url.as_str()].problem.clone().unwrap();
        assert!(found.contains("is not valid"), "{found}");
    }
}

#[test]
fn giving_up_because_of_retry_after_names_it() {
    let server = FaultServer::start(|_| Reply::status(503).header("Retry-After", "3600")).unwrap();
    let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
    let text = error
        .to_string()
        .replace(&server.address().to_string(), "HOST");
    insta::assert_snapshot!(text, @"gave up on http://HOST/x after 1 attempt: the server asks for a pause of 3600 s, and retries may take 20 s in all");
}
