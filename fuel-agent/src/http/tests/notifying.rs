//! Callbacks: which answers are accepted, and which are retried.

use std::time::Duration;

use host::cancel::Cancel;

use super::{client, impatient, settings};
use crate::http::{Client, HttpError, HttpSettings, Notice, NotifyError, Refusal, answers, notify};
use crate::model::error::{Error, Kind, render};
use crate::testing::fault_server::{Fault, FaultServer, ReceivedRequest, Reply};

fn notice(url: &str) -> Notice<'_> {
    Notice {
        method: "POST",
        url,
        headers: &[],
        body: "{}",
        expect_status: &[],
        expect_body: None,
    }
}

const LONG: Duration = Duration::from_secs(20);

fn saying(status: u16, body: &str) -> Reply {
    Reply {
        status,
        ..Reply::whole(body.as_bytes())
    }
}

#[test]
fn a_call_arrives_as_it_was_written() {
    let server = FaultServer::start(|_| saying(201, "ok")).unwrap();
    let url = server.url("/built?token=t");
    let headers = [("X-Auth".to_owned(), "s3cret".to_owned())];
    let notice = Notice {
        headers: &headers,
        body: "{\"mac\":1}",
        ..notice(&url)
    };
    let accepted = notify(&client(&settings()), &notice, LONG).unwrap();
    assert_eq!((accepted.status, accepted.attempts), (201, 1));
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/built?token=t")
    );
    assert_eq!(request.header("x-auth"), Some("s3cret"));
    assert_eq!(request.body, b"{\"mac\":1}");
    assert!(!format!("{notice:?}").contains("s3cret") && !format!("{notice:?}").contains("token"));
}

#[test]
fn a_get_has_no_body() {
    let server = FaultServer::start(|_| saying(200, "True\n")).unwrap();
    let url = server.url("/cblr/svc/op/nopxe/system/node-7");
    let notice = Notice {
        method: "GET",
        expect_body: Some("True"),
        ..notice(&url)
    };
    notify(&client(&settings()), &notice, LONG).unwrap();
    assert_eq!(server.requests()[0].header("content-length"), None);
}

#[test]
fn a_server_that_is_down_and_then_refuses_is_called_until_it_accepts() {
    let server = FaultServer::start(|request| match request.number {
        0 => saying(200, "True").fault(Fault::ResetAt(0)),
        1 => saying(503, ""),
        2 => saying(404, "starting"),
        3 => saying(200, "False"),
        _ => saying(200, "True"),
    })
    .unwrap();
    let url = server.url("/");
    let notice = Notice {
        expect_body: Some("True"),
        ..notice(&url)
    };
    let accepted = notify(&client(&settings()), &notice, LONG).unwrap();
    assert_eq!(accepted.attempts, 5);
}

#[test]
fn the_answer_that_was_not_accepted_is_in_the_error() {
    let server = FaultServer::start(|_| saying(200, " False ")).unwrap();
    let url = server.url("/nopxe?secret=1");
    let notice = Notice {
        expect_body: Some("True"),
        ..notice(&url)
    };
    let error = notify(&client(&settings()), &notice, Duration::ZERO).unwrap_err();
    let error = Error::from(error);
    assert_eq!(error.kind, Kind::Notify);
    let text = render(&error).replace(&server.address().to_string(), "HOST");
    insta::assert_snapshot!(text, @r"
    error: http://HOST/nopxe?... did not accept the call (tried 1 times within 0 s)
      cause: it answers `False`, expected is `True`; Cobbler answers this if it has no system of the name in the URL, or if `pxe_just_once` is off
      hint: check the orchestrator's log, then run `provision notify`
    ");
}

#[test]
fn statuses_are_expected_as_they_are_named() {
    let server = FaultServer::start(|_| saying(405, "")).unwrap();
    let url = server.url("/");
    let only = Notice {
        expect_status: &[201, 405],
        ..notice(&url)
    };
    assert_eq!(
        notify(&client(&settings()), &only, LONG).unwrap().status,
        405
    );
    let error = notify(&client(&settings()), &notice(&url), Duration::ZERO).unwrap_err();
    assert!(
        matches!(error, NotifyError::Refused { attempts: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_redirect_keeps_method_and_host_or_is_not_followed() {
    let other = FaultServer::start(|_| saying(200, "")).unwrap();
    let elsewhere = other.url("/").replace("127.0.0.1", "localhost");
    let server = FaultServer::start(move |request| match request.target.as_str() {
        "/moved" => Reply::status(308).header("Location", "/here"),
        "/here" => saying(200, ""),
        "/turned" => Reply::status(302).header("Location", "/here"),
        _ => Reply::status(307).header("Location", &elsewhere),
    })
    .unwrap();
    let call = |path: &str| {
        let url = server.url(path);
        notify(&client(&settings()), &notice(&url), Duration::ZERO)
    };
    call("/moved").unwrap();
    assert_eq!(server.requests()[1].method, "POST");
    assert_eq!(server.requests()[1].body, b"{}");
    call("/turned").unwrap_err();
    call("/away").unwrap_err();
    assert!(other.requests().is_empty());
}

#[test]
fn a_call_that_cannot_be_made_is_an_error_at_once() {
    let bad = [("a b".to_owned(), "x".to_owned())];
    let unsendable = [("a".to_owned(), "s3cret\n".to_owned())];
    for (notice, expected) in [
        (notice("file:///x"), "a file cannot be called"),
        (notice("nowhere"), "cannot be fetched"),
        (
            Notice {
                method: "GE T",
                ..notice("http://h/")
            },
            "is not an HTTP method",
        ),
        (
            Notice {
                headers: &bad,
                ..notice("http://h/")
            },
            "not a valid header name",
        ),
        (
            Notice {
                headers: &unsendable,
                ..notice("http://h/")
            },
            "cannot be sent",
        ),
    ] {
        let error = notify(&client(&settings()), &notice, LONG).unwrap_err();
        assert!(matches!(error, NotifyError::Impossible { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("s3cret"));
    }
}

#[test]
fn a_server_is_asked_whether_it_is_there_without_making_the_call() {
    let server = FaultServer::start(|_| saying(404, "")).unwrap();
    answers(&client(&settings()), &server.url("/built?token=t#fragment")).unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("HEAD", "/")
    );
}

#[test]
fn reach_accepts_any_answer_but_no_missing_server_or_untrusted_certificate() {
    let gone = FaultServer::start(|_| saying(200, "")).unwrap();
    let url = gone.url("/built");
    drop(gone);
    let error = answers(&client(&settings()), &url).unwrap_err();
    assert!(matches!(error, HttpError::Connection { .. }), "{error}");
    let error = answers(&client(&settings()), "http://nowhere.invalid/").unwrap_err();
    assert!(matches!(error, HttpError::Connection { .. }), "{error}");
    let elsewhere = FaultServer::start(|_| {
        let location = ("Location".to_owned(), "ftp://elsewhere/".to_owned());
        let mut reply = saying(302, "");
        reply.headers.push(location);
        reply
    })
    .unwrap();
    answers(&client(&settings()), &elsewhere.url("/")).unwrap();
}

/// What a server may do with the body of an answer whose status alone decides.
const BODIES: [(&str, Fault, Option<usize>); 3] = [
    ("cut off", Fault::DropAt(3), Some(10)),
    ("reset", Fault::ResetAt(3), Some(10)),
    ("hanging", Fault::StallAt(3), Some(10)),
];

#[test]
fn without_an_expected_body_the_status_decides_whatever_comes_after_it() {
    for (name, fault, length) in BODIES {
        let server = FaultServer::start(move |_| Reply {
            length,
            ..saying(200, "installed, and that is all").fault(fault)
        })
        .unwrap();
        let url = server.url("/");
        let accepted = notify(&client(&settings()), &notice(&url), LONG).unwrap();
        assert_eq!((accepted.status, accepted.attempts), (200, 1), "{name}");
        assert_eq!(server.requests().len(), 1, "{name}");
    }
    let long = vec![b'y'; 1 << 20];
    let server = FaultServer::start(move |_| Reply::whole(&long)).unwrap();
    let url = server.url("/");
    notify(&client(&settings()), &notice(&url), LONG).unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_expected_body_has_to_come_whole() {
    for (name, fault, length) in BODIES {
        let server = FaultServer::start(move |_| Reply {
            length,
            ..saying(200, "True").fault(fault)
        })
        .unwrap();
        let url = server.url("/");
        let notice = Notice {
            expect_body: Some("Tru"),
            ..notice(&url)
        };
        let error = notify(&client(&impatient()), &notice, Duration::ZERO).unwrap_err();
        assert!(matches!(error, NotifyError::Refused { .. }), "{name}");
    }
}

#[test]
fn a_refusal_is_shown_as_far_as_it_came() {
    let server = FaultServer::start(|_| Reply {
        length: Some(1 << 30),
        ..saying(500, "no such node").fault(Fault::DropAt(7))
    })
    .unwrap();
    let url = server.url("/");
    let error = notify(&client(&settings()), &notice(&url), Duration::ZERO).unwrap_err();
    let text = render(&error.into());
    assert!(text.contains("it answers 500: `no such`"), "{text}");
}

/// Limits far beyond the budget: only the budget can end the call.
fn long_budget() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_hours(1),
        stall_timeout: Duration::from_hours(1),
        ..settings()
    }
}

#[test]
fn the_budget_bounds_a_call_wherever_it_hangs() {
    let moved = |request: &ReceivedRequest| Reply::status(307).header("Location", &request.target);
    let hanging: [fn(&ReceivedRequest) -> Reply; 3] = [
        |_| saying(200, "").fault(Fault::StallInHead),
        |_| saying(200, "True").fault(Fault::StallAt(2)),
        |request| match request.target.as_str() {
            "/" => Reply::status(307).header("Location", "/further"),
            _ => saying(200, "").fault(Fault::StallInHead),
        },
    ];
    for script in hanging {
        let server = FaultServer::start(script).unwrap();
        let url = server.url("/");
        let notice = Notice {
            expect_body: Some("True"),
            ..notice(&url)
        };
        let error = notify(&client(&long_budget()), &notice, Duration::from_secs(1)).unwrap_err();
        let NotifyError::Refused {
            attempts, source, ..
        } = error
        else {
            panic!("{error}")
        };
        // the first call uses up the budget
        assert_eq!(attempts, 1);
        let Refusal::Unanswered(HttpError::TooSlow { limit, .. }) = *source else {
            panic!("{source}")
        };
        assert_eq!(limit, Duration::from_secs(1));
    }
    // a loop of redirects is refused like any other answer, and retried within the budget
    let server = FaultServer::start(moved).unwrap();
    let url = server.url("/");
    notify(&client(&long_budget()), &notice(&url), Duration::ZERO).unwrap_err();
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn a_pause_that_would_outlast_the_budget_is_not_begun() {
    let server = FaultServer::start(|_| saying(500, "")).unwrap();
    let url = server.url("/");
    let slow = HttpSettings {
        first_pause: Duration::from_hours(1),
        longest_pause: Duration::from_hours(1),
        ..settings()
    };
    notify(&client(&slow), &notice(&url), Duration::from_mins(1)).unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_cancelled_call_ends_wherever_it_hangs() {
    for fault in [Fault::StallInHead, Fault::StallAt(2)] {
        let cancel = Cancel::new();
        let stop = cancel.clone();
        let server = FaultServer::start(move |_| {
            stop.cancel();
            saying(200, "True").fault(fault)
        })
        .unwrap();
        let url = server.url("/");
        let notice = Notice {
            expect_body: Some("True"),
            ..notice(&url)
        };
        let client = Client::new(&long_budget(), cancel).unwrap();
        let error = notify(&client, &notice, Duration::from_hours(1)).unwrap_err();
        assert!(matches!(error, NotifyError::Cancelled { .. }), "{error}");
        assert_eq!(Error::from(error).kind, Kind::Interrupted);
    }
}

#[test]
fn a_call_with_its_headers_goes_to_no_other_server() {
    let other = FaultServer::start(|_| saying(200, "")).unwrap();
    let port = other.url("/steal");
    let secure = port.replace("http:", "https:");
    let name = port.replace("127.0.0.1", "localhost");
    for elsewhere in [port, secure, name] {
        let server =
            FaultServer::start(move |_| Reply::status(307).header("Location", &elsewhere)).unwrap();
        let url = server.url("/built");
        let headers = [("Authorization".to_owned(), "Bearer s3cret".to_owned())];
        let notice = Notice {
            headers: &headers,
            ..notice(&url)
        };
        let error = notify(&client(&settings()), &notice, Duration::ZERO).unwrap_err();
        let text = render(&error.into());
        assert!(text.contains("is another server"), "{text}");
    }
    assert!(other.requests().is_empty());
}
