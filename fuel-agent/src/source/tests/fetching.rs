//! Transfers that are resumed or started over, with the correct bytes in the end.

use std::time::Duration;

use proptest::prelude::*;

use crate::http::tests::{content, fetch, fetch_in, first, impatient, scripted, settings};
use crate::http::{HttpError, HttpSettings};
use crate::pool::Pool;
use crate::testing::fault_server::{Fault, FaultServer, ReceivedRequest, Reply};

#[test]
fn a_good_server_is_asked_once() {
    let bytes = content(10_000);
    let server = scripted(&bytes, vec![]);
    let got = fetch(&settings(), &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!((got.meter.retries(), got.meter.start_overs()), (0, 0));
    assert_eq!(
        (got.meter.fetched(), got.meter.total()),
        (10_000, Some(10_000))
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert_eq!(requests[0].header("range"), None);
}

#[test]
fn a_dropped_transfer_goes_on_where_it_broke() {
    let bytes = content(10_000);
    for fault in [Fault::DropAt(7777), Fault::ResetAt(7777)] {
        let server = scripted(&bytes, vec![first(&bytes).fault(fault)]);
        let got = fetch(&settings(), &server.url("/x"));
        assert_eq!(got.result.unwrap(), bytes, "{fault:?}");
        assert_eq!((got.meter.retries(), got.meter.start_overs()), (1, 0));
        let requests = server.requests();
        assert_eq!(requests[1].header("if-range"), Some("\"a\""));
        if fault == Fault::DropAt(7777) {
            assert_eq!(requests[1].range(), Some((7777, None)));
        }
    }
}

#[test]
fn a_stalled_transfer_goes_on_where_it_stopped() {
    let bytes = content(10_000);
    let server = scripted(
        &bytes,
        vec![
            first(&bytes).fault(Fault::StallInHead),
            first(&bytes).fault(Fault::StallAt(5000)),
        ],
    );
    let settings = HttpSettings {
        stall_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_secs(2),
        ..settings()
    };
    let got = fetch(&settings, &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    // at least one: on a busy machine a correct answer may time out too
    assert!(got.meter.retries() >= 2);
    let resumed = |request: &ReceivedRequest| request.range().is_some_and(|(start, _)| start > 0);
    assert!(server.requests().iter().any(resumed));
}

#[test]
fn the_date_is_enough_to_go_on_by() {
    let bytes = content(5000);
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let dated = |reply: Reply| {
        Reply {
            headers: reply
                .headers
                .into_iter()
                .filter(|(name, _)| name != "ETag")
                .collect(),
            ..reply
        }
        .header("Last-Modified", date)
    };
    let copy = bytes.clone();
    let server = FaultServer::start(move |request| {
        let reply = dated(Reply::file(request, &copy, date));
        match request.number {
            0 => reply.fault(Fault::DropAt(1234)),
            _ => reply,
        }
    })
    .unwrap();
    let got = fetch(&settings(), &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!(got.meter.start_overs(), 0);
    assert_eq!(server.requests()[1].header("if-range"), Some(date));
}

#[test]
fn what_cannot_be_resumed_starts_over() {
    let (bytes, other) = (content(9000), content(9000).split_off(10));
    let part = |range: &str, etag: &str| {
        let mut reply = Reply::whole(&bytes[5000..]).header("Content-Range", range);
        reply.status = 206;
        reply.header("ETag", etag)
    };
    for (what, second) in [
        ("sends the whole file", Reply::whole(&bytes)),
        ("from byte 0", part("bytes 0-3999/9000", "\"a\"")),
        ("which part", part("bytes 5000", "\"a\"")),
        ("length changed", part("bytes 5000-8999/9001", "\"a\"")),
        ("tag changed", part("bytes 5000-8999/9000", "\"b\"")),
        ("no longer has this range", Reply::status(416)),
    ] {
        let server = scripted(
            &bytes,
            vec![first(&bytes).fault(Fault::DropAt(5000)), second],
        );
        let got = fetch(&settings(), &server.url("/x"));
        assert_eq!(got.result.unwrap(), bytes, "{what}");
        assert_eq!(got.meter.start_overs(), 1, "{what}");
        assert!(
            got.warnings.iter().any(|warning| warning.contains(what)),
            "{what}: {:?}",
            got.warnings
        );
    }
    // a new version is fetched completely, never joined to the old one
    let copy = other.clone();
    let old = first(&bytes).fault(Fault::DropAt(5000));
    let mut old = Some(old);
    let server = FaultServer::start(move |request| {
        old.take()
            .unwrap_or_else(|| Reply::file(request, &copy, "\"b\""))
    })
    .unwrap();
    assert_eq!(fetch(&settings(), &server.url("/x")).result.unwrap(), other);
}

#[test]
fn without_tag_and_date_nothing_is_resumed() {
    let bytes = content(3000);
    let server = scripted(
        &bytes,
        vec![Reply::whole(&bytes).fault(Fault::DropAt(2000))],
    );
    let got = fetch(&settings(), &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!(got.meter.start_overs(), 1);
    assert_eq!(server.requests()[1].range(), None);
    // a weak tag does not promise equal bytes
    let weak = Reply::whole(&bytes)
        .header("ETag", "W/\"a\"")
        .fault(Fault::DropAt(2000));
    let server = scripted(&bytes, vec![weak]);
    assert_eq!(fetch(&settings(), &server.url("/x")).meter.start_overs(), 1);
    assert_eq!(server.requests()[1].range(), None);
}

#[test]
fn a_length_that_is_too_short_gives_only_that_much() {
    // the client cannot notice this; sizes and digests do
    let bytes = content(3000);
    let reply = Reply {
        length: Some(1000),
        ..first(&bytes)
    };
    let server = scripted(&bytes, vec![reply]);
    assert_eq!(
        fetch(&settings(), &server.url("/x")).result.unwrap(),
        bytes[..1000]
    );
}

#[test]
fn a_length_that_is_too_long_is_noticed() {
    let bytes = content(3000);
    let reply = move |request: &ReceivedRequest| {
        let reply = Reply::file(request, &bytes, "\"a\"");
        Reply {
            length: Some(reply.body.len() + 1000),
            ..reply
        }
    };
    let server = FaultServer::start(reply).unwrap();
    assert!(fetch(&impatient(), &server.url("/x")).result.is_err());
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let bytes = content(3000);
    let reply = Reply {
        without_length: true,
        ..first(&bytes)
    };
    let server = scripted(&bytes, vec![reply]);
    let got = fetch(&settings(), &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!(got.meter.total(), None);
}

#[test]
fn ipv6_addresses_are_hosts_too() {
    let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    let Ok(server) = FaultServer::start_with(
        address,
        |_| Reply::whole(b"six"),
        |stream| Ok(Box::new(stream)),
    ) else {
        host::fake::skipped("no IPv6 on the loopback interface");
        return;
    };
    assert!(server.url("/x").starts_with("http://[::1]:"));
    assert_eq!(
        fetch(&settings(), &server.url("/x")).result.unwrap(),
        b"six"
    );
}

#[test]
fn buffers_stay_as_few_as_they_are() {
    let bytes = content(500_000);
    let server = scripted(&bytes, vec![]);
    let pool = Pool::new(3, 1000);
    assert_eq!(
        fetch_in(&settings(), &server.url("/x"), &pool)
            .result
            .unwrap(),
        bytes
    );
    assert!(pool.peak() <= 3);
}

#[test]
fn files_are_sources_if_they_are_files() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(10_000);
    std::fs::write(folder.path().join("a b.img"), &bytes).unwrap();
    let url = |name: &str| format!("file://{}/{name}", folder.path().display());
    let got = fetch(&settings(), &url("a%20b.img"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!(
        (got.meter.fetched(), got.meter.total()),
        (10_000, Some(10_000))
    );
    for name in ["absent", ""] {
        let error = fetch(&settings(), &url(name)).result.unwrap_err();
        assert!(matches!(error, HttpError::File { .. }), "{error}");
        assert_eq!(error.is_absent(), name == "absent");
    }
    let error = fetch(&settings(), "file:///dev/zero").result.unwrap_err();
    assert!(matches!(error, HttpError::File { .. }), "{error}");
}

#[derive(Clone, Debug)]
enum Mishap {
    Drop(usize),
    Reset(usize),
    Busy,
    All,
    Wrong(usize),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        (0..6000_usize).prop_map(Mishap::Drop),
        (0..6000_usize).prop_map(Mishap::Reset),
        Just(Mishap::Busy),
        Just(Mishap::All),
        (1..6000_usize).prop_map(Mishap::Wrong),
    ]
}

fn suffer(mishap: &Mishap, request: &ReceivedRequest, bytes: &[u8]) -> Reply {
    let good = Reply::file(request, bytes, "\"a\"");
    match mishap {
        Mishap::Drop(at) => good.fault(Fault::DropAt(*at)),
        Mishap::Reset(at) => good.fault(Fault::ResetAt(*at)),
        Mishap::Busy => Reply::status(503),
        Mishap::All => Reply::whole(bytes),
        // a range, but not the requested one
        Mishap::Wrong(start) => {
            let start = (*start).min(bytes.len() - 1);
            let mut reply = Reply::whole(&bytes[start..]);
            reply.status = 206;
            reply.header(
                "Content-Range",
                &format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            )
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_on_the_way_the_bytes_are_right_or_there_is_an_error(
        length in 1..6000_usize,
        mishaps in prop::collection::vec(mishap(), 0..6),
        size in 1..3000_usize,
    ) {
        let bytes = content(length);
        let (copy, script) = (bytes.clone(), mishaps.clone());
        let server = FaultServer::start(move |request| match script.get(request.number) {
            Some(mishap) => suffer(mishap, request, &copy),
            None => Reply::file(request, &copy, "\"a\""),
        })
        .unwrap();
        match fetch_in(&settings(), &server.url("/x"), &Pool::new(2, size)).result {
            Ok(got) => prop_assert!(got == bytes),
            Err(error) => prop_assert!(matches!(error, HttpError::Unstable { .. }), "{}", error),
        }
    }
}

#[test]
fn warnings_hold_no_secrets() {
    let bytes = content(3000);
    let server = scripted(
        &bytes,
        vec![
            Reply::whole(&bytes).fault(Fault::DropAt(100)),
            Reply::status(500),
        ],
    );
    let url = server
        .url("/x?token=s3cret")
        .replace("http://", "http://user:s3cret@");
    let got = fetch(&settings(), &url);
    assert_eq!(got.result.unwrap(), bytes);
    let warnings = got.warnings.join("\n");
    assert!(
        got.warnings.len() == 3 && !warnings.contains("s3cret"),
        "{warnings}"
    );
}
