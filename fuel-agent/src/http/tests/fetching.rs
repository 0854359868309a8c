//! Transfers: resumed, started over, given up.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use host::cancel::Cancel;
use proptest::prelude::*;

use super::{client, impatient, settings};
use crate::error::{Error, Kind, render};
use crate::events::{Event, Events};
use crate::http::fault_server::{Asked, Fault, FaultServer, Reply};
use crate::http::pool::Pool;
use crate::http::source::{self, Attendance, Meter, Piece};
use crate::http::{Client, HttpError, HttpSettings, Request};

/// Remembers warnings.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn tell(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// Bytes in which every offset can be told from every other nearby.
fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap())
        .collect()
}

/// All bytes of `url`, with what was counted and heard.
struct Got {
    result: Result<Vec<u8>, HttpError>,
    meter: Meter,
    warnings: Vec<String>,
}

fn fetch_in(settings: &HttpSettings, url: &str, pool: &Pool) -> Got {
    let heard = Heard::default();
    let meter = Meter::default();
    let attendance = Attendance {
        pool: pool.clone(),
        meter: meter.clone(),
        stop: Cancel::new(),
        events: &heard,
    };
    let result = source::open(&client(settings), url, attendance).and_then(|mut source| {
        let mut bytes = Vec::new();
        loop {
            match source.next()? {
                Piece::Bytes(buffer) => bytes.extend_from_slice(&buffer),
                Piece::StartOver => bytes.clear(),
                Piece::End => return Ok(bytes),
            }
        }
    });
    let warnings = heard.0.into_inner().unwrap();
    Got {
        result,
        meter,
        warnings,
    }
}

fn fetch(settings: &HttpSettings, url: &str) -> Got {
    fetch_in(settings, url, &Pool::new(4, 1000))
}

/// A server that answers `replies` in turn, and then as a good one.
fn scripted(bytes: &[u8], replies: Vec<Reply>) -> FaultServer {
    let bytes = bytes.to_vec();
    let mut replies = VecDeque::from(replies);
    FaultServer::start(move |asked| {
        replies
            .pop_front()
            .unwrap_or_else(|| Reply::file(asked, &bytes, "\"a\""))
    })
    .unwrap()
}

fn first(bytes: &[u8]) -> Reply {
    Reply::file(&Asked::default(), bytes, "\"a\"")
}

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
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].header("range"), None);
}

#[test]
fn a_dropped_transfer_goes_on_where_it_broke() {
    let bytes = content(10_000);
    for fault in [Fault::DropAt(7777), Fault::ResetAt(7777)] {
        let server = scripted(&bytes, vec![first(&bytes).fault(fault)]);
        let got = fetch(&settings(), &server.url("/x"));
        assert_eq!(got.result.unwrap(), bytes, "{fault:?}");
        assert_eq!((got.meter.retries(), got.meter.start_overs()), (1, 0));
        let asked = server.asked();
        assert_eq!(asked[1].header("if-range"), Some("\"a\""));
        if fault == Fault::DropAt(7777) {
            assert_eq!(asked[1].range(), Some((7777, None)));
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
        stall_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_millis(100),
        ..settings()
    };
    let got = fetch(&settings, &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!(got.meter.retries(), 2);
    assert_eq!(server.asked()[2].range(), Some((5000, None)));
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
    let server = FaultServer::start(move |asked| {
        let reply = dated(Reply::file(asked, &copy, date));
        match asked.number {
            0 => reply.fault(Fault::DropAt(1234)),
            _ => reply,
        }
    })
    .unwrap();
    let got = fetch(&settings(), &server.url("/x"));
    assert_eq!(got.result.unwrap(), bytes);
    assert_eq!(got.meter.start_overs(), 0);
    assert_eq!(server.asked()[1].header("if-range"), Some(date));
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
        ("sends all of it", Reply::whole(&bytes)),
        ("from byte 0", part("bytes 0-3999/9000", "\"a\"")),
        ("which part", part("bytes 5000", "\"a\"")),
        ("length changed", part("bytes 5000-8999/9001", "\"a\"")),
        ("tag changed", part("bytes 5000-8999/9000", "\"b\"")),
        ("no such range", Reply::status(416)),
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
    // a new version comes as a whole, never joined to the old one
    let copy = other.clone();
    let old = first(&bytes).fault(Fault::DropAt(5000));
    let mut old = Some(old);
    let server = FaultServer::start(move |asked| {
        old.take()
            .unwrap_or_else(|| Reply::file(asked, &copy, "\"b\""))
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
    assert_eq!(server.asked()[1].range(), None);
    // a weak tag promises no equal bytes
    let weak = Reply::whole(&bytes)
        .header("ETag", "W/\"a\"")
        .fault(Fault::DropAt(2000));
    let server = scripted(&bytes, vec![weak]);
    assert_eq!(fetch(&settings(), &server.url("/x")).meter.start_overs(), 1);
    assert_eq!(server.asked()[1].range(), None);
}

#[test]
fn a_server_that_always_breaks_and_never_resumes_is_given_up() {
    let bytes = content(3000);
    let server =
        FaultServer::start(move |_| Reply::whole(&bytes).fault(Fault::DropAt(2000))).unwrap();
    let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
    assert!(
        matches!(error, HttpError::Unstable { times: 6, .. }),
        "{error}"
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let bytes = content(100);
    for status in [500, 502, 503, 504, 408, 429] {
        let busy = Reply::status(status);
        let server = scripted(&bytes, vec![busy.clone().header("Retry-After", "0"), busy]);
        let got = fetch(&settings(), &server.url("/x"));
        assert_eq!(got.result.unwrap(), bytes, "{status}");
        assert_eq!(got.meter.retries(), 2);
    }
}

#[test]
fn a_server_that_wants_more_time_than_there_is_is_given_up_at_once() {
    let server = scripted(b"x", vec![Reply::status(503).header("Retry-After", "3600")]);
    let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
    assert!(
        matches!(error, HttpError::Exhausted { attempts: 1, .. }),
        "{error}"
    );
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_clear_no_is_not_asked_about_again() {
    for status in [400, 401, 403, 404, 410, 501] {
        let server = scripted(b"x", vec![Reply::status(status)]);
        let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[test]
fn giving_up_tells_the_last_reason() {
    let server = FaultServer::start(|_| Reply::status(500)).unwrap();
    let error = fetch(&impatient(), &server.url("/x?token=secret"))
        .result
        .unwrap_err();
    let error = Error::from(error);
    assert_eq!((error.kind, error.retryable), (Kind::Image, true));
    let text = render(&error).replace(&server.address().to_string(), "HOST");
    let text: String = text
        .split(' ')
        .map(|word| {
            if word.parse::<u32>().is_ok() && word != "500" {
                "N"
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ");
    insta::assert_snapshot!(text, @r"
    error: gave up on http://HOST/x?... after N attempts without progress for N ms
      cause: http://HOST/x?... answers 500 Internal Server Error
      hint: look into the server's log
    ");
}

#[test]
fn a_drip_does_not_refill_the_budget() {
    let bytes = content(100_000);
    // one byte more each time, and then nothing
    let server = FaultServer::start(move |asked| {
        let at = asked.range().map_or(0, |(start, _)| start);
        let reply = Reply::file(asked, &bytes, "\"a\"");
        if at < 90_000 {
            reply.fault(Fault::StallAt(1))
        } else {
            reply
        }
    })
    .unwrap();
    let error = fetch(&impatient(), &server.url("/x")).result.unwrap_err();
    assert!(matches!(error, HttpError::Exhausted { .. }), "{error}");
}

#[test]
fn garbage_and_refused_connections_are_given_up_in_the_end() {
    let garbage = Reply {
        garbage: Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ..Reply::default()
    };
    let server = FaultServer::start(move |_| garbage.clone()).unwrap();
    let error = fetch(&impatient(), &server.url("/x")).result.unwrap_err();
    assert!(matches!(error, HttpError::Exhausted { .. }), "{error}");
    let url = server.url("/x");
    drop(server);
    let error = fetch(&impatient(), &url).result.unwrap_err();
    let text = render(&Error::from(error));
    assert!(text.contains("Connection refused"), "{text}");
}

#[test]
fn a_length_that_is_too_short_gives_only_that_much() {
    // the client cannot know better; sizes and digests can
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
    let reply = move |asked: &Asked| {
        let reply = Reply::file(asked, &bytes, "\"a\"");
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
fn redirects_are_followed_up_to_a_point() {
    let to = |target: &str| Reply::status(302).header("Location", target);
    let server = FaultServer::start(move |asked| match asked.target.as_str() {
        "/a" => to("/b?secret=1"),
        "/b?secret=1" => to("c"),
        "/c" => Reply::whole(b"here"),
        "/ftp" => to("ftp://host/x"),
        "/bad" => to("http://["),
        _ => to("/loop"),
    })
    .unwrap();
    assert_eq!(
        fetch(&settings(), &server.url("/a")).result.unwrap(),
        b"here"
    );
    for (path, why) in [
        ("/loop", "in a row"),
        ("/ftp", "not HTTP"),
        ("/bad", "no URL"),
    ] {
        let error = fetch(&settings(), &server.url(path)).result.unwrap_err();
        assert!(
            matches!(error, HttpError::Redirect { .. }) && error.to_string().contains(why),
            "{error}"
        );
    }
}

#[test]
fn credentials_stay_with_their_host() {
    let other = FaultServer::start(|_| Reply::whole(b"x")).unwrap();
    let target = other.url("/x");
    let server =
        FaultServer::start(move |_| Reply::status(307).header("Location", &target)).unwrap();
    let url = server.url("/x").replace("http://", "http://user:secret@");
    assert_eq!(fetch(&settings(), &url).result.unwrap(), b"x");
    assert!(server.asked()[0].header("authorization").is_some());
    assert_eq!(other.asked()[0].header("authorization"), None);
}

#[test]
fn somebody_who_says_stop_is_heard_in_the_middle() {
    let server =
        FaultServer::start(|_| Reply::whole(&[1; 5000]).fault(Fault::StallAt(2000))).unwrap();
    let cancel = Cancel::new();
    let client = Client::new(&settings(), cancel.clone()).unwrap();
    let url = url::Url::parse(&server.url("/x")).unwrap();
    let mut response = client
        .send(Request::get(url).pool(&Pool::new(2, 1000)))
        .unwrap();
    assert_eq!(response.body.advance().unwrap().unwrap().len(), 1000);
    cancel.cancel();
    let ended = loop {
        match response.body.advance() {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(matches!(ended, Err(HttpError::Cancelled)), "{ended:?}");
    assert!(matches!(
        client.pause(Duration::from_hours(1), &Cancel::new()),
        Err(HttpError::Cancelled)
    ));
}

#[test]
fn the_limit_for_all_of_it_counts_although_bytes_come() {
    let server =
        FaultServer::start(|_| Reply::whole(&[1; 5000]).fault(Fault::StallAt(2000))).unwrap();
    let settings = HttpSettings {
        total_timeout: Some(Duration::from_millis(50)),
        ..settings()
    };
    let error = fetch(&settings, &server.url("/x")).result.unwrap_err();
    assert!(matches!(error, HttpError::TooSlow { .. }), "{error}");
}

#[test]
fn ipv6_addresses_are_hosts_too() {
    let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    let Ok(server) = FaultServer::start_with(
        address,
        |_| Reply::whole(b"six"),
        |stream| Ok(Box::new(stream)),
    ) else {
        eprintln!("skipped: no IPv6 on the loopback interface");
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

fn suffer(mishap: &Mishap, asked: &Asked, bytes: &[u8]) -> Reply {
    let good = Reply::file(asked, bytes, "\"a\"");
    match mishap {
        Mishap::Drop(at) => good.fault(Fault::DropAt(*at)),
        Mishap::Reset(at) => good.fault(Fault::ResetAt(*at)),
        Mishap::Busy => Reply::status(503),
        Mishap::All => Reply::whole(bytes),
        // a part, but not the one that was asked for
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
        let server = FaultServer::start(move |asked| match script.get(asked.number) {
            Some(mishap) => suffer(mishap, asked, &copy),
            None => Reply::file(asked, &copy, "\"a\""),
        })
        .unwrap();
        match fetch_in(&settings(), &server.url("/x"), &Pool::new(2, size)).result {
            Ok(got) => prop_assert!(got == bytes),
            Err(error) => prop_assert!(matches!(error, HttpError::Unstable { .. }), "{}", error),
        }
    }
}
