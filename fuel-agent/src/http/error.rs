//! Errors of transfers. URLs in them are redacted.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::units::Bytes;

use super::local_files::listed;
use crate::model::error::{Error, Kind};
use crate::model::time::rfc3339;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not valid, or has a scheme that is not supported.
    #[error("`{url}` cannot be fetched: {why}")]
    Url {
        /// The URL, redacted.
        url: String,
        /// The reason.
        why: String,
    },
    /// A file of certificate authorities cannot be used.
    #[error("cannot use the certificate authorities in {}", path.display())]
    Authority {
        /// Path of the file.
        path: PathBuf,
        /// Error of the library.
        source: Cause,
    },
    /// The HTTP client cannot be created.
    #[error("cannot set up the HTTP client")]
    Setup {
        /// Error of the library.
        source: Cause,
    },
    /// The server's certificate is not accepted.
    #[error("the certificate of {url} is not accepted{}: {}", through(via.as_deref()), why.text())]
    Certificate {
        /// The URL, redacted.
        url: String,
        /// The reason.
        why: CertificateProblem,
        /// The proxy that was used, without credentials.
        via: Option<String>,
    },
    /// The connection failed or broke.
    #[error("the connection for {url} failed{}", through(via.as_deref()))]
    Connection {
        /// The URL, redacted.
        url: String,
        /// Error of the library.
        source: Cause,
        /// The proxy that was used, without credentials.
        via: Option<String>,
    },
    /// The connection delivered next to nothing.
    #[error("{url} delivered nothing for {}{}", seconds(*after), through(via.as_deref()))]
    Stalled {
        /// The URL, redacted.
        url: String,
        /// The time without data.
        after: Duration,
        /// The proxy that was used, without credentials.
        via: Option<String>,
    },
    /// The transfer exceeded its time limit.
    #[error("{url} took longer than {} in all", seconds(*limit))]
    TooSlow {
        /// The URL, redacted.
        url: String,
        /// The time limit.
        limit: Duration,
    },
    /// The transfer goes on, but slower on average than the settings allow.
    #[error("{url} delivered less than {} a second over {}", rate, seconds(*over))]
    TooLittle {
        /// The URL, redacted.
        url: String,
        /// The least rate, in bytes per second.
        rate: Bytes,
        /// The time over which it was averaged.
        over: Duration,
    },
    /// The server answered with an error status.
    #[error("{url} answers {status} {}{}", phrase(*status), through(via.as_deref()))]
    Status {
        /// The URL, redacted.
        url: String,
        /// The status code.
        status: u16,
        /// Pause before the next request that the server asks for.
        retry_after: Option<Duration>,
        /// The proxy that was used, without credentials.
        via: Option<String>,
    },
    /// The server redirects to where the client must not follow.
    #[error("a redirect of {url} is not followed: {why}")]
    Redirect {
        /// The URL, redacted.
        url: String,
        /// The reason.
        why: String,
    },
    /// The answer is malformed or not what was requested.
    #[error("the answer of {url} is not valid: {why}")]
    Answer {
        /// The URL, redacted.
        url: String,
        /// The reason.
        why: String,
    },
    /// The server has added a content encoding.
    #[error("{url} is sent with `Content-Encoding: {encoding}`, which was not requested")]
    Encoded {
        /// The URL, redacted.
        url: String,
        /// The `Content-Encoding`.
        encoding: String,
    },
    /// The body exceeds the limit for documents of its kind.
    #[error("{url} is longer than {limit} bytes")]
    TooLong {
        /// The URL, redacted.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The transfer started over too many times.
    #[error("the transfer of {url} had to start over {times} times")]
    Unstable {
        /// The URL, redacted.
        url: String,
        /// Number of times.
        times: u32,
    },
    /// The file changed between two requests.
    #[error("{url} changed while it was being read")]
    Changed {
        /// The URL, redacted.
        url: String,
    },
    /// The image has to be read by ranges, which the server does not support.
    #[error("{url} has to be read at random offsets, and its server does not support ranges")]
    NoRanges {
        /// The URL, redacted.
        url: String,
    },
    /// The retry budget is used up.
    #[error(
        "gave up on {url} after {attempts} {}: {}",
        attempts_of(*attempts), exhausted_reason(*retry_after, *budget)
    )]
    Exhausted {
        /// The URL, redacted.
        url: String,
        /// Attempts since the last progress.
        attempts: u32,
        /// The retry budget.
        budget: Duration,
        /// The pause that the server asks for, if that exceeds the budget.
        retry_after: Option<Duration>,
        /// The last error.
        source: Box<HttpError>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: std::io::Error,
    },
    /// The file is not one that may be named.
    #[error("{} may not be read for a request: {}", path.display(), listed(folders))]
    Outside {
        /// Path of the file.
        path: PathBuf,
        /// The folders whose files may be named.
        folders: Vec<PathBuf>,
    },
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
    /// The network thread has ended: a defect of the agent.
    #[error("the network thread ended unexpectedly")]
    Gone,
}

/// The text of the innermost source of a library's error; the layers above it only repeat what our messages say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub(crate) String);

/// Why a certificate was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// Not signed by a trusted authority.
    UnknownIssuer,
    /// Issued for another name.
    WrongName,
    /// Expired, by the local clock.
    Expired,
    /// Not valid yet, by the local clock.
    NotYetValid,
    /// Any other reason, as text.
    Other(String),
}

/// The time by which certificates are judged.
fn now() -> String {
    rfc3339(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

impl CertificateProblem {
    fn text(&self) -> String {
        match self {
            Self::UnknownIssuer => "it is signed by an authority that is not trusted".to_owned(),
            Self::WrongName => "it is for another name".to_owned(),
            Self::Expired => format!("it has expired; the clock of this node says {}", now()),
            Self::NotYetValid => {
                format!("it is not valid yet; the clock of this node says {}", now())
            }
            Self::Other(why) => why.clone(),
        }
    }
}

impl HttpError {
    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Stalled { .. } | Self::Answer { .. } => true,
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502..=504 | 506..=599)
            }
            Self::Url { .. }
            | Self::Authority { .. }
            | Self::Setup { .. }
            | Self::Certificate { .. }
            | Self::TooSlow { .. }
            | Self::TooLittle { .. }
            | Self::Redirect { .. }
            | Self::Encoded { .. }
            | Self::TooLong { .. }
            | Self::Unstable { .. }
            | Self::Changed { .. }
            | Self::NoRanges { .. }
            | Self::Exhausted { .. }
            | Self::File { .. }
            | Self::Outside { .. }
            | Self::Cancelled
            | Self::Gone => false,
        }
    }

    /// The status of the answer, also that of the last of several attempts.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Exhausted { source, .. } => source.status(),
            _ => None,
        }
    }

    /// Whether the file does not exist: a fact, not a failure.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 404 | 410),
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Url { .. } => "write it like http://HOST/PATH, https://HOST/PATH or file:///PATH",
            Self::Authority { .. } => "give a readable PEM file with at least one certificate",
            Self::Certificate { why, .. } => match why {
                CertificateProblem::UnknownIssuer => {
                    "add the authority's certificate to the ramdisk and name it in the settings"
                }
                CertificateProblem::WrongName => "use the name that the certificate is for",
                CertificateProblem::Expired | CertificateProblem::NotYetValid => {
                    "if the clock is wrong, set it with `provision.time=` or `provision.ntp=` on the kernel command \
                     line; else renew the certificate"
                }
                CertificateProblem::Other(_) => "check the server's certificate",
            },
            Self::Connection { via: Some(_), .. } => {
                "check the proxy, or name the host in `no_proxy`"
            }
            Self::Connection { .. } => "check name resolution, routes and the server",
            Self::Stalled { .. } | Self::TooSlow { .. } => {
                "check the server's load and the network"
            }
            Self::TooLittle { .. } => {
                "check the server's load and the network; for a link that is slow, set `http.least_rate`"
            }
            Self::Status { status: 407, .. } => {
                "give user and password in the address of the proxy"
            }
            Self::Status { via: Some(_), .. } => {
                "check the address, the proxy and the server, or name the host in `no_proxy`"
            }
            Self::Status { status, .. } => match status {
                404 | 410 => "check the address, and that the image was published",
                401 | 403 => "check the server's access rules and the credentials in the URL",
                _ => "check the server's log",
            },
            Self::Encoded { .. } => {
                "let the server send the file as it is, without `Content-Encoding`"
            }
            Self::Redirect { .. } => "use the URL that it redirects to",
            Self::Answer { .. } => {
                "check that the address is the server's, and no proxy is in between"
            }
            Self::Unstable { .. } | Self::NoRanges { .. } => {
                "use a server that supports ranges, with an ETag or a date"
            }
            Self::Changed { .. } => "run again when its publication is complete",
            Self::Exhausted { source, .. } => return source.hint(),
            Self::File { .. } => "give a regular file that can be read",
            Self::Outside { .. } => {
                "put the file there (links must not lead out), or name its folder with `images_dir` in the ramdisk"
            }
            Self::TooLong { .. } | Self::Setup { .. } | Self::Cancelled | Self::Gone => {
                return None;
            }
        })
    }

    /// The kind of error, which decides the exit code.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Interrupted,
            Self::Gone => Kind::Internal,
            Self::Authority { .. } => Kind::Usage,
            Self::Outside { .. } => Kind::Refused,
            _ => Kind::Image,
        }
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        let mut outer = Self::new(error.kind(), error.to_string());
        if let Some(hint) = error.hint() {
            outer = outer.hint(hint);
        }
        outer.retryable = matches!(
            error,
            HttpError::Exhausted { .. }
                | HttpError::Cancelled
                | HttpError::TooSlow { .. }
                | HttpError::TooLittle { .. }
                | HttpError::Unstable { .. }
                | HttpError::Changed { .. }
        ) || error.is_transient();
        if let Some(source) = take_source(error) {
            outer = outer.because(source);
        }
        outer
    }
}

/// The source of an error, whose own text is the message already.
fn take_source(error: HttpError) -> Option<Box<dyn std::error::Error + Send + Sync>> {
    match error {
        HttpError::Authority { source, .. }
        | HttpError::Setup { source }
        | HttpError::Connection { source, .. } => Some(source.into()),
        HttpError::File { source, .. } => Some(source.into()),
        HttpError::Exhausted { source, .. } => Some(source),
        _ => None,
    }
}

fn through(via: Option<&str>) -> String {
    via.map_or_else(String::new, |proxy| format!(", through the proxy {proxy}"))
}

const fn attempts_of(count: u32) -> &'static str {
    if count == 1 { "attempt" } else { "attempts" }
}

fn exhausted_reason(retry_after: Option<Duration>, budget: Duration) -> String {
    let budget = seconds(budget);
    retry_after.map_or_else(
        || format!("no progress within {budget}"),
        |retry_after| {
            let retry_after = seconds(retry_after);
            format!(
                "the server asks for a pause of {retry_after}, and retries may take {budget} in all"
            )
        },
    )
}

pub(super) fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

fn phrase(status: u16) -> &'static str {
    reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("")
}
