//! Headers that no correct server sends: the client returns an answer or an error of its own, and goes on working.

use super::{client, content, fetch, settings};
use crate::http::{HttpError, HttpSettings, Request};
use crate::testing::fault_server::{FaultServer, Reply};

/// Values that have made parsers of numbers, dates, ranges and lists fail.
const VALUES: [&str; 28] = [
    "",
    " ",
    "0",
    "-1",
    "+1",
    "1e9",
    "0x10",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "Sun, 06 Nov 1994 18446744073709551615:00:00 GMT",
    "Sun, 06 Nov 1994 00:18446744073709551615:00 GMT",
    "Sun, 18446744073709551615 Nov 18446744073709551615 00:00:00 GMT",
    "Sun, 00 Jan 0000 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:60 GMT",
    ", , , ,",
    "bytes 0-18446744073709551615/18446744073709551615",
    "bytes 18446744073709551615-0/*",
    "bytes 5-4/9",
    "bytes -/-",
    "bytes */*",
    "\"",
    "W/\"\"",
    "\"\u{ff}\u{202e}\"",
    "gzip, gzip, gzip, gzip",
    "http://[::1:99999999/",
];

/// Headers that are parsed, in answers of any status.
const NAMES: [&str; 8] = [
    "Content-Range",
    "Retry-After",
    "Date",
    "ETag",
    "Last-Modified",
    "Content-Encoding",
    "Location",
    "Transfer-Encoding",
];

#[test]
fn no_header_stops_the_client() {
    let client = client(&settings());
    for status in [200, 206, 301, 416, 429, 503] {
        for name in NAMES {
            for value in VALUES {
                let reply = Reply {
                    status,
                    ..Reply::whole(b"0123456789")
                }
                .header(name, value);
                let server = FaultServer::start(move |_| reply.clone()).unwrap();
                let url = server.url("/x").parse().unwrap();
                let answer = client.send(Request::get(url));
                let ended = answer.and_then(|it| it.bytes("x", 100));
                assert!(
                    !matches!(ended, Err(HttpError::Gone)),
                    "{status}, {name}: {value}"
                );
            }
        }
    }
    let server = FaultServer::start(|_| Reply::whole(b"still here")).unwrap();
    let answer = client.send(Request::get(server.url("/x").parse().unwrap()));
    assert_eq!(answer.unwrap().bytes("x", 100).unwrap(), b"still here");
}

#[test]
fn an_endless_retry_after_is_an_error() {
    let times = ["18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"];
    for (count, time) in times.into_iter().enumerate() {
        // the first answers ask for no pause, so that the sum of time passed and pause is not zero
        let server = FaultServer::start(move |request| {
            let busy = Reply::status(503);
            if request.number < count {
                busy
            } else {
                busy.header("Retry-After", time)
            }
        })
        .unwrap();
        let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
        assert!(matches!(error, HttpError::Exhausted { .. }), "{error}");
    }
}

#[test]
fn a_head_without_end_is_not_kept() {
    let long = "x".repeat(1 << 20);
    let server =
        FaultServer::start(move |_| Reply::whole(&content(10)).header("X-Long", &long)).unwrap();
    let settings = HttpSettings {
        retry_budget: std::time::Duration::ZERO,
        ..settings()
    };
    let error = fetch(&settings, &server.url("/x")).result.unwrap_err();
    assert!(!matches!(error, HttpError::Gone), "{error}");
}
