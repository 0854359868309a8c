//! The whole room against a server that misbehaves. Stalls are bounded by limits of milliseconds; nothing is timed.

mod fetching;
mod looking;
mod notifying;
mod trusting;

use std::time::Duration;

use host::cancel::Cancel;

use super::{Client, HttpSettings};

fn settings() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(20),
        retry_budget: Duration::from_secs(20),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        environment_proxy: false,
        ..HttpSettings::default()
    }
}

/// Limits that a test reaches at once.
fn impatient() -> HttpSettings {
    HttpSettings {
        stall_timeout: Duration::from_millis(100),
        retry_budget: Duration::from_millis(100),
        ..settings()
    }
}

fn client(settings: &HttpSettings) -> Client {
    Client::new(settings, Cancel::new()).unwrap()
}
