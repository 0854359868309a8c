//! Telling the orchestrator: a call that is made again and again until it is accepted.
//!
//! What counts as accepted is the status, and the body where one is expected: there are orchestrators that answer 200
//! and `False`. Without an expected body the status decides, and a body that is long, cut off or late changes nothing.
//! Anything else is tried again within the budget, a clear no too: a server that says 404 now may still be starting.
//! The budget bounds everything: names, connections, redirects, bodies and pauses.

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

/// How long the body of an answer is waited for when the status alone decides: its beginning is shown, at most.
const BODY_LIMIT: Duration = Duration::from_secs(2);

/// A shorter budget is one call that may take this long.
const SHORTEST_BUDGET: Duration = Duration::from_secs(1);

/// How much of an answer that was not expected is shown.
const SHOWN: usize = 200;

/// A call, with everything filled in.
#[derive(Clone, Copy)]
pub struct Notice<'a> {
    /// The method, like `POST`. GET and HEAD have no body.
    pub method: &'a str,
    /// Where.
    pub url: &'a str,
    /// Headers.
    pub headers: &'a [(String, String)],
    /// What is sent.
    pub body: &'a str,
    /// Statuses that mean "accepted"; none: 200 to 299.
    pub expect_status: &'a [u16],
    /// What the answer has to be, white space at its ends taken off; `None`: anything.
    pub expect_body: Option<&'a str>,
}

impl fmt::Debug for Notice<'_> {
    /// Without what may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice")
            .field("method", &self.method)
            .field("url", &redacted(self.url))
            .finish_non_exhaustive()
    }
}

/// It was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The status of the answer.
    pub status: u16,
    /// How many calls it took.
    pub attempts: u32,
}

/// Why it was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// It cannot be called at all.
    #[error("cannot call {url}: {why}")]
    Impossible {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// The budget is used up.
    #[error("{url} did not accept the call (tried {attempts} times within {})", seconds(*budget))]
    Refused {
        /// The address.
        url: String,
        /// How often it was called.
        attempts: u32,
        /// How long that was allowed to take.
        budget: Duration,
        /// What was wrong with the last answer.
        source: Box<Refusal>,
    },
    /// Somebody told us to stop.
    #[error("interrupted while calling {url}")]
    Cancelled {
        /// The address.
        url: String,
    },
}

/// Why one call was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There was no answer.
    #[error("{}", chain(.0))]
    Unanswered(HttpError),
    /// Another status than expected.
    #[error("it answers {status}: `{body}`")]
    Status {
        /// The status.
        status: u16,
        /// How the answer begins.
        body: String,
    },
    /// Another body than expected.
    #[error("it answers `{body}`, expected is `{expected}`{}", cobbler(body))]
    Body {
        /// How the answer begins.
        body: String,
        /// What it should be.
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
                .hint("check the orchestrator's log, then offer the completion again"),
            NotifyError::Impossible { .. } => {
                outer.hint("a callback is a URL like http://HOST/PATH")
            }
            NotifyError::Cancelled { .. } => outer,
        }
    }
}

/// What Cobbler means by an answer that says nothing about its reason.
fn cobbler(body: &str) -> &'static str {
    match body {
        "False" => {
            "; Cobbler answers this if it has no system of the name in the URL, or if `pxe_just_once` is off"
        }
        _ => "",
    }
}

/// Makes the call until it is accepted or `budget` is used up, and never longer.
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
    let deadline = Instant::now() + limit;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let refusal = match prepared.call(client, deadline, limit) {
            Ok(status) => return Ok(Accepted { status, attempts }),
            Err(Refusal::Unanswered(HttpError::Cancelled)) => {
                return Err(NotifyError::Cancelled { url: name });
            }
            Err(refusal) => refusal,
        };
        let pause = retry
            .spend(client, None)
            .filter(|pause| Instant::now() + *pause < deadline);
        let Some(pause) = pause else {
            return Err(NotifyError::Refused {
                url: name,
                attempts,
                budget,
                source: Box::new(refusal),
            });
        };
        tracing::warn!(url = name, attempt = attempts, pause_ms = pause.as_millis(), why = %refusal, "not accepted yet");
        if client.pause(pause, &Cancel::new()).is_err() {
            return Err(NotifyError::Cancelled { url: name });
        }
    }
}

/// A call that has been checked.
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

    /// Once, and not beyond `deadline`, which is the end of `limit`.
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
        let welcome = match expected {
            [] => (200..300).contains(&status),
            some => some.contains(&status),
        };
        let start = || body.chars().take(SHOWN).collect();
        if !welcome {
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

/// The first [`ANSWER_LIMIT`] bytes of a body, as far as they came, and why no more of them did.
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
