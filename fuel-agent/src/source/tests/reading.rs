//! Files that are read at arbitrary offsets.

use std::io;

use host::cancel::Cancel;
use os_image::disk::ReadAt;
use proptest::prelude::*;

use crate::http::tests::{RecordedEvents, client, content, impatient, scripted, settings};
use crate::http::{HttpError, HttpSettings};
use crate::model::request::Container;
use crate::pool::Pool;
use crate::source::reader::Reader;
use crate::source::{Meter, TransferContext};
use crate::testing::fault_server::{Fault, FaultServer, ReceivedRequest, Reply};

const PAGE: usize = 256 * 1024;

/// The bytes read at each offset, until the first error.
fn read(
    settings: &HttpSettings,
    url: &str,
    places: &[(usize, usize)],
) -> (Vec<Vec<u8>>, Option<HttpError>, Meter) {
    let (recorded, meter) = (RecordedEvents::default(), Meter::default());
    let context = TransferContext {
        container: Container::Qcow2,
        pool: Pool::new(1, 1),
        meter: meter.clone(),
        stop: Cancel::new(),
        events: &recorded,
    };
    let reader = Reader::new(&client(settings), url, context).unwrap();
    let mut all = Vec::new();
    for (at, length) in places {
        let mut bytes = vec![0; *length];
        if (&reader)
            .read_at(&mut bytes, u64::try_from(*at).unwrap())
            .is_err()
        {
            let error = reader.broken().expect("the reason");
            return (all, Some(error), meter);
        }
        all.push(bytes);
    }
    (all, None, meter)
}

fn whole(bytes: &[u8], reply: impl Fn(&[u8]) -> Reply + Send + 'static) -> FaultServer {
    let bytes = bytes.to_vec();
    FaultServer::start(move |_| reply(&bytes)).unwrap()
}

#[test]
fn reading_on_needs_no_request_and_seeking_back_one() {
    let bytes = content(40 * PAGE + 5);
    let server = scripted(&bytes, vec![]);
    // a table entry, data behind it, the entry again while data continues, and data from the beginning
    let places = [
        (100, 8),
        (PAGE, 3 * PAGE),
        (108, 8),
        (4 * PAGE, 30 * PAGE),
        (116, 8),
        (34 * PAGE, 6 * PAGE + 5),
        (2 * PAGE, 10),
        (3 * PAGE, 10),
    ];
    let (all, error, meter) = read(&settings(), &server.url("/x"), &places);
    assert!(error.is_none(), "{error:?}");
    for ((at, length), got) in places.iter().zip(all) {
        assert!(got == bytes[*at..at + length], "{at}");
    }
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .map(ReceivedRequest::range)
        .collect();
    assert_eq!(ranges, [Some((0, None)), Some((2 * PAGE, None))]);
    assert_eq!(server.requests()[1].header("if-range"), Some("\"a\""));
    assert_eq!(
        (meter.retries(), meter.total()),
        (0, Some(40 * 262_144 + 5))
    );
}

#[test]
fn a_server_without_ranges_is_enough_to_read_forward_and_not_for_more() {
    let bytes = content(40 * PAGE);
    let server = whole(&bytes, Reply::whole);
    let forward = [
        (0, 512),
        (3 * PAGE, 10),
        (20 * PAGE, PAGE),
        (39 * PAGE, PAGE),
    ];
    let (all, error, _) = read(&settings(), &server.url("/x"), &forward);
    assert!(error.is_none() && all[3] == bytes[39 * PAGE..], "{error:?}");
    assert_eq!(server.requests().len(), 1);
    let (all, error, _) = read(
        &settings(),
        &server.url("/x"),
        &[(30 * PAGE, 10), (PAGE, 600)],
    );
    assert_eq!(all.len(), 1);
    assert!(
        matches!(error, Some(HttpError::NoRanges { .. })),
        "{error:?}"
    );
}

#[test]
fn a_connection_that_breaks_is_made_again_where_it_is_needed() {
    let bytes = content(9 * PAGE);
    let first = Reply::file(&ReceivedRequest::default(), &bytes, "\"a\"");
    let server = scripted(
        &bytes,
        vec![
            Reply::status(503),
            first.fault(Fault::DropAt(2 * PAGE + 7)),
            Reply::status(500),
        ],
    );
    let (all, error, meter) = read(&settings(), &server.url("/x"), &[(0, 9 * PAGE)]);
    assert!(error.is_none() && all[0] == bytes, "{error:?}");
    assert_eq!(meter.retries(), 3);
    let gone = whole(&bytes, |_| Reply::status(502));
    let (_, error, _) = read(&impatient(), &gone.url("/x"), &[(0, 1)]);
    assert!(
        matches!(error, Some(HttpError::Exhausted { .. })),
        "{error:?}"
    );
    let absent = whole(&bytes, |_| Reply::status(404));
    let (_, error, _) = read(&settings(), &absent.url("/x"), &[(0, 1)]);
    assert!(error.is_some_and(|error| error.is_absent()));
}

#[test]
fn another_file_in_its_place_is_an_error() {
    let (old, new) = (content(40 * PAGE), content(41 * PAGE));
    for (new, etag) in [(new.clone(), "\"a\""), (old.clone(), "\"b\"")] {
        for ignores in [false, true] {
            let (old, new) = (old.clone(), new.clone());
            let server = FaultServer::start(move |request| match request.number {
                0 => Reply::file(request, &old, "\"a\""),
                // a server may ignore `If-Range`
                _ if ignores => {
                    let mut request = request.clone();
                    request.headers.retain(|(name, _)| name != "if-range");
                    Reply::file(&request, &new, etag)
                }
                _ => Reply::file(request, &new, etag),
            })
            .unwrap();
            let (all, error, _) = read(&settings(), &server.url("/x"), &[(0, 9), (39 * PAGE, 9)]);
            assert_eq!(all.len(), 1);
            assert!(
                matches!(error, Some(HttpError::Changed { .. })),
                "{error:?}"
            );
        }
    }
}

#[test]
fn files_of_this_machine_are_read_too_and_ends_are_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, content(5000)).unwrap();
    let empty = whole(&[], |bytes| {
        Reply::file(&ReceivedRequest::default(), bytes, "\"a\"")
    });
    for (url, length) in [
        (format!("file://{}", path.display()), 5000),
        (empty.url("/x"), 0),
    ] {
        let recorded = RecordedEvents::default();
        let context = TransferContext {
            container: Container::Qcow2,
            pool: Pool::new(1, 1),
            meter: Meter::default(),
            stop: Cancel::new(),
            events: &recorded,
        };
        let reader = Reader::new(&client(&settings()), &url, context).unwrap();
        let mut buffer = [0; 512];
        let count = reader.read_start(&mut buffer, 4900).unwrap();
        let there: &[u8] = if length > 0 {
            &content(length)[4900..]
        } else {
            &[]
        };
        assert_eq!(&buffer[..count], there);
        for at in [4900, u64::MAX] {
            let error = (&reader).read_at(&mut buffer, at).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(reader.broken().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_read_is_what_is_there(
        places in prop::collection::vec((0..12 * PAGE, 1..2 * PAGE), 1..12),
        drops in prop::collection::vec(0..4 * PAGE, 0..3),
    ) {
        let bytes = content(14 * PAGE);
        let served = bytes.clone();
        let server = FaultServer::start(move |request| {
            let reply = Reply::file(request, &served, "\"a\"");
            match drops.get(request.number) {
                Some(at) => reply.fault(Fault::DropAt(*at)),
                None => reply,
            }
        })
        .unwrap();
        let (all, error, _) = read(&settings(), &server.url("/x"), &places);
        prop_assert!(error.is_none(), "{:?}", error);
        for ((at, length), got) in places.iter().zip(all) {
            prop_assert!(got == bytes[*at..at + length], "{}", at);
        }
    }
}
