//! What can go wrong on the way to a server and back. Addresses in it are without secrets.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::error::{Error, Kind};

/// Why something did not come, or did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not an address that we fetch from.
    #[error("`{url}` cannot be fetched: {why}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of certificate authorities cannot be used.
    #[error("cannot use the certificate authorities in {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// The client cannot be made at all.
    #[error("cannot set up the HTTP client")]
    Setup {
        /// Why.
        source: Cause,
    },
    /// The server's certificate is not accepted.
    #[error("the certificate of {url} is not accepted{}: {}", through(via.as_deref()), why.text())]
    Certificate {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: Distrust,
        /// The proxy that it was asked through, without secrets.
        via: Option<String>,
    },
    /// No connection, or none that stayed.
    #[error("the connection for {url} failed{}", through(via.as_deref()))]
    Connection {
        /// The address.
        url: String,
        /// Why.
        source: Cause,
        /// The proxy that it was asked through, without secrets.
        via: Option<String>,
    },
    /// A connection that delivers nothing.
    #[error("{url} delivered nothing for {}{}", seconds(*after), through(via.as_deref()))]
    Stalled {
        /// The address.
        url: String,
        /// For how long.
        after: Duration,
        /// The proxy that it was asked through, without secrets.
        via: Option<String>,
    },
    /// The limit for the whole transfer is over.
    #[error("{url} took longer than {} in all", seconds(*limit))]
    TooSlow {
        /// The address.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The server says no, or not now.
    #[error("{url} answers {status} {}{}", phrase(*status), through(via.as_deref()))]
    Status {
        /// The address.
        url: String,
        /// Its status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
        /// The proxy that it was asked through, without secrets.
        via: Option<String>,
    },
    /// A redirect that is not followed.
    #[error("{url} redirects, and that is not followed: {why}")]
    Redirect {
        /// The address.
        url: String,
        /// Why not.
        why: String,
    },
    /// An answer that makes no sense.
    #[error("{url} answers wrongly: {why}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server has wrapped it in something that was not asked for.
    #[error("{url} comes encoded (`Content-Encoding: {encoding}`), which was not asked for")]
    Encoded {
        /// The address.
        url: String,
        /// How.
        encoding: String,
    },
    /// More than there is room for.
    #[error("{url} is longer than {limit} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// The most that is taken.
        limit: u64,
    },
    /// It had to be started over again and again.
    #[error("the transfer of {url} had to start over {times} times")]
    Unstable {
        /// The address.
        url: String,
        /// How often.
        times: u32,
    },
    /// It is not the file any more that it was at first.
    #[error("{url} changed while it was being read")]
    Changed {
        /// The address.
        url: String,
    },
    /// Its server cannot do what reading it needs.
    #[error("{url} has to be read back and forth, and its server sends no parts of files")]
    NoRanges {
        /// The address.
        url: String,
    },
    /// Retrying did not help.
    #[error("gave up on {url} after {attempts} {}: {}", attempts_of(*attempts), gave_up(*asked, *budget))]
    Exhausted {
        /// The address.
        url: String,
        /// How often it was tried since anything came.
        attempts: u32,
        /// How long retries may go on.
        budget: Duration,
        /// How long the server wants to be left alone, where that is why.
        asked: Option<Duration>,
        /// The last error.
        source: Box<HttpError>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody told us to stop.
    #[error("interrupted")]
    Cancelled,
    /// The thread that speaks HTTP is gone: a defect of ours.
    #[error("the network thread ended unexpectedly")]
    Gone,
}

/// The innermost reason of a library's error: the layers above it say nothing that we do not say better.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub(crate) String);

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Signed by nobody that we know.
    UnknownIssuer,
    /// For another name.
    WrongName,
    /// Its time is over, by our clock.
    Expired,
    /// Its time has not come, by our clock.
    NotYetValid,
    /// Anything else.
    Other(String),
}

impl Distrust {
    fn text(&self) -> String {
        match self {
            Self::UnknownIssuer => "it is signed by an authority that is not trusted".to_owned(),
            Self::WrongName => "it is for another name".to_owned(),
            Self::Expired => "it has expired, by this node's clock".to_owned(),
            Self::NotYetValid => "it is not valid yet, by this node's clock".to_owned(),
            Self::Other(why) => why.clone(),
        }
    }
}

impl HttpError {
    /// Whether trying again may help.
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
            | Self::Redirect { .. }
            | Self::Encoded { .. }
            | Self::TooLong { .. }
            | Self::Unstable { .. }
            | Self::Changed { .. }
            | Self::NoRanges { .. }
            | Self::Exhausted { .. }
            | Self::File { .. }
            | Self::Cancelled
            | Self::Gone => false,
        }
    }

    /// The status that the server answered, also where it was the last of many attempts.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Exhausted { source, .. } => source.status(),
            _ => None,
        }
    }

    /// Whether what was asked for does not exist: a fact, not a failure.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 404 | 410),
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Url { .. } => "write it like http://HOST/PATH, https://HOST/PATH or file:///PATH",
            Self::Authority { .. } => "give a readable PEM file with at least one certificate",
            Self::Certificate { why, .. } => match why {
                Distrust::UnknownIssuer => {
                    "add the authority's certificate to the ramdisk and name it in the settings"
                }
                Distrust::WrongName => "use the name that the certificate is for",
                Distrust::Expired | Distrust::NotYetValid => {
                    "check the clock of this node (`date`), then the certificate"
                }
                Distrust::Other(_) => "check the server's certificate",
            },
            Self::Connection { via: Some(_), .. } => {
                "check the proxy, or name the host in `no_proxy`"
            }
            Self::Connection { .. } => "check name resolution, routes and the server",
            Self::Stalled { .. } | Self::TooSlow { .. } => {
                "check the server's load and the network"
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
                _ => "look into the server's log",
            },
            Self::Encoded { .. } => {
                "let the server send the file as it is, without compressing or labelling it"
            }
            Self::Redirect { .. } => "give the address that it leads to",
            Self::Answer { .. } => {
                "check that the address is the server's, and no proxy is in between"
            }
            Self::Unstable { .. } | Self::NoRanges { .. } => {
                "use a server that supports ranges, with an ETag or a date"
            }
            Self::Changed { .. } => "run again when it has been published whole",
            Self::Exhausted { source, .. } => return source.hint(),
            Self::File { .. } => "give a regular file that can be read",
            Self::TooLong { .. } | Self::Setup { .. } | Self::Cancelled | Self::Gone => {
                return None;
            }
        })
    }

    /// Who can fix it.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Interrupted,
            Self::Gone => Kind::Internal,
            Self::Authority { .. } => Kind::Usage,
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
                | HttpError::Unstable { .. }
                | HttpError::Changed { .. }
        ) || error.is_transient();
        if let Some(source) = take_source(error) {
            outer = outer.because(source);
        }
        outer
    }
}

/// The cause of an error whose own text has been used.
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

fn gave_up(asked: Option<Duration>, budget: Duration) -> String {
    let budget = seconds(budget);
    asked.map_or_else(
        || format!("without progress, retries go on for {budget}"),
        |asked| {
            let asked = seconds(asked);
            format!("it asks for a pause of {asked}, and retries go on for {budget} in all")
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
