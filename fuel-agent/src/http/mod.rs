//! The only room that speaks HTTP: sources and callbacks.

use std::path::PathBuf;
use std::time::Duration;

/// Limits of everything that goes over the network.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a connection may deliver nothing.
    pub stall_timeout: Duration,
    /// How long fetching one image may take in all; `None` is no limit.
    pub total_timeout: Option<Duration>,
    /// How long retries may go on without any new byte.
    pub retry_budget: Duration,
    /// PEM files of certificate authorities that are trusted beside the public ones.
    pub authorities: Vec<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            total_timeout: None,
            retry_budget: Duration::from_mins(2),
            authorities: Vec::new(),
        }
    }
}
