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
//! ```
//!
//! Buffers come from a fixed [`Pool`](crate::pool::Pool): a slow disk slows the socket down, and memory is
//! bounded. Addresses in errors and logs are [redacted](crate::model::url), without user, password and query.

pub mod address;
pub(crate) mod client;
pub(crate) mod error;
mod exchange;
pub(crate) mod head;
mod notify;
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

pub use client::{Body, Client, Part, Request, Response};
pub(crate) use client::{PART_COUNT, PART_LENGTH};
pub use error::{Cause, CertificateProblem, HttpError};
pub use notify::{Accepted, Notice, NotifyError, Refusal, notify};
pub use reach::answers;

/// Limits of all network transfers.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// Longest time in which a connection delivers next to nothing.
    pub stall_timeout: Duration,
    /// Limit for one image in all; `None`: no limit.
    pub total_timeout: Option<Duration>,
    /// Longest time of retries without a new byte.
    pub retry_budget: Duration,
    /// Pause before the first retry; doubled for each further one.
    pub first_pause: Duration,
    /// Longest pause between two retries.
    pub longest_pause: Duration,
    /// PEM files of certificate authorities, trusted besides the public ones.
    pub authorities: Vec<PathBuf>,
    /// Whether `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` of the environment are used.
    pub environment_proxy: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            total_timeout: None,
            retry_budget: Duration::from_mins(2),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(15),
            authorities: Vec::new(),
            environment_proxy: true,
        }
    }
}
