//! Retries: growing pauses, and a budget that progress refills.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use host::cancel::Cancel;

use super::client::Client;
use super::error::HttpError;

/// Counts attempts since the last progress.
#[derive(Debug)]
pub(crate) struct Retry {
    url: String,
    budget: Duration,
    /// The first failure since the last progress: the budget begins there.
    since: Option<Instant>,
    attempts: u32,
    pause: Duration,
}

impl Retry {
    /// A full budget for `url`, which has to be redacted.
    pub(crate) fn new(client: &Client, url: &str, budget: Duration) -> Self {
        Self {
            url: url.to_owned(),
            budget,
            since: None,
            attempts: 0,
            pause: client.settings().first_pause,
        }
    }

    /// Refills the budget after progress.
    pub(crate) fn progressed(&mut self, client: &Client) {
        self.since = None;
        self.attempts = 0;
        self.pause = client.settings().first_pause;
    }

    /// The pause before the next attempt; the final error if there must not be one.
    pub(crate) fn pause_after(
        &mut self,
        client: &Client,
        error: HttpError,
    ) -> Result<Duration, HttpError> {
        if !error.is_transient() {
            return Err(error);
        }
        let retry_after = match &error {
            HttpError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let pause = self.pause;
        self.spend(client, retry_after)
            .ok_or_else(|| HttpError::Exhausted {
                url: self.url.clone(),
                attempts: self.attempts,
                budget: self.budget,
                // named as the reason only if it is longer than our own pause
                retry_after: retry_after.filter(|retry_after| *retry_after >= pause),
                source: Box::new(error),
            })
    }

    /// The pause before the next attempt, at least `retry_after`; `None` if the budget does not allow it.
    pub(crate) fn spend(
        &mut self,
        client: &Client,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        self.attempts = self.attempts.saturating_add(1);
        let pause = retry_after.map_or_else(
            || jittered(self.pause),
            |retry_after| retry_after.max(self.pause),
        );
        self.pause = self
            .pause
            .saturating_mul(2)
            .min(client.settings().longest_pause);
        let since = *self.since.get_or_insert_with(Instant::now);
        // a server may ask for any number of seconds; a sum that overflows is beyond every budget
        let end = since.elapsed().checked_add(pause)?;
        (end <= self.budget).then_some(pause)
    }

    /// Runs `attempt` until it succeeds, fails permanently, or the budget is used up.
    pub(crate) fn until_done<T>(
        mut self,
        client: &Client,
        mut attempt: impl FnMut() -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let why = chain(&error);
            let pause = self.pause_after(client, error)?;
            tracing::warn!(url = %self.url, attempt = self.attempts, pause_ms = pause.as_millis(), why, "trying again");
            client.pause(pause, &Cancel::new())?;
        }
    }
}

/// A random pause between half of `pause` and all of it, so that nodes that failed together do not retry together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 1024).unwrap_or(0);
    // from 1024 to 2047 of 2048 parts
    let part = pause.checked_div(2048).unwrap_or_default();
    part.saturating_mul(share.saturating_add(1024))
}

/// An error and its cause on one line.
pub(crate) fn chain(error: &HttpError) -> String {
    host::error::one_line(error)
}
