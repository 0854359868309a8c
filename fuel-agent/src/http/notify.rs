//! Callbacks to the orchestrator: repeated until they are accepted.
//!
//! A call is accepted by its status, and by its body if one is expected: some orchestrators answer 200 and `False`.
//! Without an expected body the status decides, and a body that is long, cut off or late does not matter. Any other
//! outcome is retried within the budget, a permanent status too, since a server that answers 404 may still be starting.
//! The budget bounds everything: name resolution, connections, redirects, bodies and pauses.

use std::fmt;
use std::time::{Duration, Instant};

use host::cancel::Cancel;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::address::Address;
use super::client::{Body, Client, Request};
use super::error::{HttpError, seconds};
use super::retry::{Retry, chain};
use crate::model::error::{Error, Kind};
use crate::model::url::redacted;
use crate::pool::Pool;

/// Bytes of an answer that are read; an expected body is never longer.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Time limit of the body if the status alone decides; only its beginning is shown.
const BODY_LIMIT: Duration = Duration::from_secs(2);

/// Lower bound of the budget, so that one call is possible.
const SHORTEST_BUDGET: Duration = Duration::from_secs(1);

/// Characters shown of an unexpected answer.
const SHOWN_CHARS: usize = 200;

/// A callback with its templates filled in.
#[derive(Clone, Copy)]
pub struct Notice<'a> {
    /// Method; GET and HEAD have no body.
    pub method: &'a str,
    /// URL; may hold a token.
    pub url: &'a str,
    /// Names and values; values may be secret.
    pub headers: &'a [(String, String)],
    /// Body; may be secret.
    pub body: &'a str,
    /// Accepted statuses; empty: 200 to 299.
    pub expect_status: &'a [u16],
    /// Expected body, without surrounding white space; `None`: any.
    pub expect_body: Option<&'a str>,
}

impl fmt::Debug for Notice<'_> {
    /// Omits what may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice")
            .field("method", &self.method)
            .field("url", &redacted(self.url))
            .finish_non_exhaustive()
    }
}

/// An accepted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Status of the answer.
    pub status: u16,
    /// Number of calls, including this one.
    pub attempts: u32,
}

/// Why a callback was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// URL, method or headers are not valid.
    #[error("cannot call {url}: {why}")]
    Impossible {
        /// The URL, redacted.
        url: String,
        /// The reason.
        why: String,
    },
    /// The budget is used up.
    #[error("{url} did not accept the call (tried {attempts} times within {})", seconds(*budget))]
    Refused {
        /// The URL, redacted.
        url: String,
        /// Number of calls.
        attempts: u32,
        /// Time allowed for all calls.
        budget: Duration,
        /// The last failure.
        source: Box<Refusal>,
    },
    /// The run was cancelled.
    #[error("interrupted while calling {url}")]
    Cancelled {
        /// The URL, redacted.
        url: String,
    },
}

/// Why one call was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No answer was received.
    #[error("{}", chain(.0))]
    Unanswered(HttpError),
    /// The status was not an expected one.
    #[error("it answers {status}: `{body}`")]
    Status {
        /// Status of the answer.
        status: u16,
        /// Beginning of the answer.
        body: String,
    },
    /// The body was not the expected one.
    #[error("it answers `{body}`, expected is `{expected}`{}", cobbler(body))]
    Body {
        /// Beginning of the answer.
        body: String,
        /// The expected body.
        expected: String,
    },
}

impl From<NotifyError> for Error {
    fn from(error: NotifyError) -> Self {
        let kind = match &error {
            NotifyError::Impossible { .. } | NotifyError::Refused { .. } => Kind::Notify,
            NotifyError::Cancelled { .. } => Kind::Interrupted,
        };
        let outer = Self::new(kind, error.to_string());
        match error {
            NotifyError::Refused { source, .. } => outer
                .because(source)
                .hint("check the orchestrator's log, then run `provision notify`"),
            NotifyError::Impossible { .. } => {
                outer.hint("write the callback as a URL like http://HOST/PATH")
            }
            NotifyError::Cancelled { .. } => outer,
        }
    }
}

/// What Cobbler means by an answer that does not explain itself.
fn cobbler(body: &str) -> &'static str {
    match body {
        "False" => {
            "; Cobbler answers this if it has no system of the name in the URL, or if `pxe_just_once` is off"
        }
        _ => "",
    }
}

/// Calls until accepted or until `budget` is used up.
pub fn notify(
    client: &Client,
    notice: &Notice<'_>,
    budget: Duration,
) -> Result<Accepted, NotifyError> {
    let name = redacted(notice.url);
    let prepared = Prepared::new(notice).map_err(|why| NotifyError::Impossible {
        url: name.clone(),
        why,
    })?;
    let mut retry = Retry::new(client, &name, budget);
    let limit = budget.max(SHORTEST_BUDGET);
    let deadline = host::wait::deadline(limit);
    let mut attempts = 0_u32;
    loop {
        attempts = attempts.saturating_add(1);
        let refusal = match prepared.call(client, deadline, limit) {
            Ok(status) => return Ok(Accepted { status, attempts }),
            Err(Refusal::Unanswered(HttpError::Cancelled)) => {
                return Err(NotifyError::Cancelled { url: name });
            }
            Err(refusal) => refusal,
        };
        let pause = retry
            .spend(client, None)
            .filter(|pause| host::wait::deadline(*pause) < deadline);
        let Some(pause) = pause else {
            return Err(NotifyError::Refused {
                url: name,
                attempts,
                budget,
                source: Box::new(refusal),
            });
        };
        let pause_ms = pause.as_millis();
        tracing::warn!(url = name, attempt = attempts, pause_ms, why = %refusal, "not accepted yet");
        if client.pause(pause, &Cancel::new()).is_err() {
            return Err(NotifyError::Cancelled { url: name });
        }
    }
}

/// A validated call.
struct Prepared<'a> {
    notice: &'a Notice<'a>,
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl<'a> Prepared<'a> {
    fn new(notice: &'a Notice<'a>) -> Result<Self, String> {
        let url = match Address::parse(notice.url).map_err(|error| error.to_string())? {
            Address::Web(url) => url,
            Address::File(_) => return Err("a file cannot be called".to_owned()),
        };
        let method = Method::from_bytes(notice.method.as_bytes())
            .map_err(|_| format!("`{}` is not an HTTP method", notice.method))?;
        let mut headers = Vec::new();
        for (name, value) in notice.headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("`{name}` is not a valid header name"))?;
            // not shown: it may be a token
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
            value.set_sensitive(true);
            headers.push((header, value));
        }
        Ok(Self {
            notice,
            method,
            url,
            headers,
        })
    }

    /// Calls once, with a time limit `limit` that ends at `deadline`.
    fn call(&self, client: &Client, deadline: Instant, limit: Duration) -> Result<u16, Refusal> {
        let body = self.notice.body.as_bytes().to_vec();
        let is_read = self.notice.expect_body.is_some();
        let mut request = Request::get(self.url.clone())
            .with_body(self.method.clone(), body)
            .within(deadline, limit)
            .body_limit((!is_read).then_some(BODY_LIMIT))
            .pool(&Pool::new(2, 16 * 1024));
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        let response = client.send(request).map_err(Refusal::Unanswered)?;
        let status = response.head.status;
        let (body, complete) = beginning(response.body);
        let body = String::from_utf8_lossy(&body);
        let body = body.trim();
        let expected = self.notice.expect_status;
        let is_accepted = match expected {
            [] => (200..300).contains(&status),
            some => some.contains(&status),
        };
        let start = || body.chars().take(SHOWN_CHARS).collect();
        if !is_accepted {
            return Err(Refusal::Status {
                status,
                body: start(),
            });
        }
        let Some(expected) = self.notice.expect_body.map(str::trim) else {
            return Ok(status);
        };
        complete.map_err(Refusal::Unanswered)?;
        if expected != body {
            return Err(Refusal::Body {
                body: start(),
                expected: expected.to_owned(),
            });
        }
        Ok(status)
    }
}

/// Up to [`ANSWER_LIMIT`] bytes of a body, and the error that ended it, if any.
fn beginning(mut body: Body) -> (Vec<u8>, Result<(), HttpError>) {
    let mut bytes = Vec::new();
    while bytes.len() <= ANSWER_LIMIT {
        match body.advance() {
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}
