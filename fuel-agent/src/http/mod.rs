//! All HTTP: connections, redirects, bodies, retries, callbacks.
//!
//! ```text
//!   the synchronous world                  │ a thread with a runtime of its own
//!   client   requests and their answers ───┼─▶ exchange: connect, redirects, body
//!   retry    how often, how long           │      │
//!   notify   callbacks                     │      │
//!   reach    whether a callback server is  │      │
//!            reachable                     │      │
//!   head     what a server says of an      │◀── bounded queue of pooled buffers
//!            answer                        │
//!   trust    why a certificate is refused  │
//!   proxy    which proxy is asked           │
//!   pace     the least average rate         │
//!   local    where a redirect must not lead │
//!   local_files  what file:// may name     │
//! ```
//!
//! Buffers come from a fixed [`Pool`](crate::pool::Pool): a slow disk slows the socket down, and memory is
//! bounded. Addresses in errors and logs are [redacted](crate::model::url), without user, password and query.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod address;
pub(crate) mod client;
pub(crate) mod error;
mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod head;
mod local;
mod local_files;
mod notify;
pub(crate) mod pace;
mod proxy;
mod reach;
pub(crate) mod retry;
mod trust;

#[cfg(test)]
pub(crate) mod tests;

/// Header names and values, for requests of other rooms.
pub(crate) mod header {
    pub(crate) use reqwest::header::{HeaderValue, IF_RANGE, RANGE};
}

use std::path::PathBuf;
use std::time::Duration;

use host::units::Bytes;

pub use client::{Body, Client, Part, Request, Response};
pub(crate) use client::{PART_COUNT, PART_LENGTH};
pub use error::{Cause, CertificateProblem, HttpError};
pub use local_files::LocalFiles;
pub use notify::{Accepted, Notice, NotifyError, Refusal, notify};
pub use reach::answers;

/// Rate in bytes per second at which a document of the largest accepted size has to arrive.
const DOCUMENT_RATE: u64 = 256 << 10;

/// Limits of all transfers.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// Longest time in which a connection delivers next to nothing.
    pub stall_timeout: Duration,
    /// Limit for one image in all; `None`: no limit.
    pub total_timeout: Option<Duration>,
    /// Limit for one document in all, besides a second for each 256 KiB that one of its kind may be long.
    pub document_timeout: Duration,
    /// Least average rate of one connection with an image, in bytes per second; `None`: any rate.
    pub least_rate: Option<Bytes>,
    /// Time over which that rate is averaged.
    pub rate_window: Duration,
    /// Longest time of retries without a new byte.
    pub retry_budget: Duration,
    /// Pause before the first retry; doubled for each further one.
    pub first_pause: Duration,
    /// Longest pause between two retries.
    pub longest_pause: Duration,
    /// PEM files of certificate authorities, trusted besides the public ones.
    pub authorities: Vec<PathBuf>,
    /// Whether the public authorities are not trusted.
    pub only_given_authorities: bool,
    /// Whether `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` of the environment are used.
    pub environment_proxy: bool,
    /// Files that `file://` may name.
    pub files: LocalFiles,
}

impl HttpSettings {
    /// How long a document of at most `longest` bytes may take in all.
    pub(crate) fn document_limit(&self, longest: u64) -> Duration {
        let transfer = Duration::from_secs(longest / DOCUMENT_RATE);
        self.document_timeout.saturating_add(transfer)
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            total_timeout: None,
            document_timeout: Duration::from_mins(1),
            least_rate: Some(Bytes(64 << 10)),
            rate_window: pace::WINDOW,
            retry_budget: Duration::from_mins(2),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(15),
            authorities: Vec::new(),
            only_given_authorities: false,
            environment_proxy: true,
            files: LocalFiles::Anywhere,
        }
    }
}
