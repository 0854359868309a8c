//! Limits: when a transfer is retried, when it fails, and which redirects it does not follow.

use std::time::Duration;

use host::cancel::Cancel;
use host::units::Bytes;

use super::{client, content, fetch, impatient, scripted, settings};
use crate::http::{Client, HttpError, HttpSettings, Request};
use crate::model::error::{Error, Kind, render};
use crate::pool::Pool;
use crate::source;
use crate::testing::fault_server::{Fault, FaultServer, Reply};

#[test]
fn a_server_that_breaks_off_and_never_resumes_is_an_error() {
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
fn a_retry_after_beyond_the_budget_is_an_error_at_once() {
    let server = scripted(b"x", vec![Reply::status(503).header("Retry-After", "3600")]);
    let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
    assert!(
        matches!(error, HttpError::Exhausted { attempts: 1, .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_permanent_status_is_not_retried() {
    for status in [400, 401, 403, 404, 410, 501] {
        let server = scripted(b"x", vec![Reply::status(status)]);
        let error = fetch(&settings(), &server.url("/x")).result.unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn an_exhausted_budget_names_the_last_error() {
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
    error: gave up on http://HOST/x?... after N attempts: no progress within N ms
      cause: http://HOST/x?... answers 500 Internal Server Error
      hint: check the server's log
    ");
}

#[test]
fn a_drip_does_not_refill_the_budget() {
    let bytes = content(100_000);
    // one more byte each time, and then none
    let server = FaultServer::start(move |request| {
        let at = request.range().map_or(0, |(start, _)| start);
        let reply = Reply::file(request, &bytes, "\"a\"");
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
fn garbage_and_refused_connections_exhaust_the_budget() {
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
fn redirects_are_followed_up_to_a_point() {
    let to = |target: &str| Reply::status(302).header("Location", target);
    let server = FaultServer::start(move |request| match request.target.as_str() {
        "/a" => to("/b?secret=1"),
        "/b?secret=1" => to("c"),
        "/c" => Reply::whole(b"here"),
        "/ftp" => to("ftp://host/x"),
        "/bad" => to("http://["),
        "/metadata" => to("http://169.254.169.254/latest/user-data"),
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
        ("/bad", "not a valid URL"),
        (
            "/metadata",
            "169.254.169.254/latest/user-data is an address of this node or of its links",
        ),
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
    assert!(server.requests()[0].header("authorization").is_some());
    assert_eq!(other.requests()[0].header("authorization"), None);
}

#[test]
fn a_cancellation_interrupts_a_transfer() {
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
fn a_connection_that_never_stalls_still_has_to_deliver() {
    let server =
        FaultServer::start(|_| Reply::whole(&[1; 5000]).fault(Fault::StallAt(2000))).unwrap();
    let settings = HttpSettings {
        least_rate: Some(Bytes(1 << 30)),
        rate_window: Duration::from_millis(50),
        ..settings()
    };
    let error = fetch(&settings, &server.url("/x")).result.unwrap_err();
    assert_eq!(
        error.to_string().replace(&server.url("/x"), "URL"),
        "URL delivered less than 1 GiB a second over 50 ms"
    );
    assert!(Error::from(error).retryable);
    assert_eq!(
        server.requests().len(),
        1,
        "a slow server is not asked again"
    );
}

#[test]
fn a_document_has_a_limit_for_all_of_it() {
    let server =
        FaultServer::start(|_| Reply::whole(&[b'1'; 5000]).fault(Fault::StallAt(2000))).unwrap();
    let settings = HttpSettings {
        document_timeout: Duration::from_millis(50),
        ..settings()
    };
    let error = source::document(&client(&settings), &server.url("/x"), 10_000).unwrap_err();
    assert!(matches!(error, HttpError::TooSlow { .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
    // a larger document may take longer
    let limit = settings.document_timeout + Duration::from_secs(4);
    assert_eq!(settings.document_limit(1 << 20), limit);
}
