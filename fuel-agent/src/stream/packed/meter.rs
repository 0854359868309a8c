//! Throughput: bytes over the time in which at least one thread was busy.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts bytes, and the time in which at least one thread was busy with them.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    busy: Duration,
    /// Busy threads, and since when there is at least one.
    busy_threads: u32,
    since: Option<Instant>,
}

/// Marks a thread as busy until dropped.
pub(super) struct Busy<'a>(&'a Meter);

impl Meter {
    fn lock(&self) -> MutexGuard<'_, State> {
        // no code panics while holding the lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the calling thread as busy.
    pub(super) fn begin(&self) -> Busy<'_> {
        let mut state = self.lock();
        state.busy_threads += 1;
        state.since.get_or_insert_with(Instant::now);
        Busy(self)
    }

    /// Counts bytes that were processed.
    pub(super) fn add(&self, bytes: u64) {
        self.lock().bytes += bytes;
    }

    /// Bytes processed so far.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Bytes per second; `None` before any were processed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::as_conversions,
        reason = "an estimate"
    )]
    pub(super) fn rate(&self) -> Option<f64> {
        let state = self.lock();
        let running = state.since.map_or(Duration::ZERO, |since| since.elapsed());
        let busy = (state.busy + running).as_secs_f64();
        (state.bytes > 0 && busy > 0.0).then(|| state.bytes as f64 / busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy_threads = state.busy_threads.saturating_sub(1);
        if state.busy_threads == 0
            && let Some(since) = state.since.take()
        {
            state.busy += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_once_however_many_are_at_it() {
        let meter = Meter::default();
        assert_eq!(meter.rate(), None);
        let (first, second) = (meter.begin(), meter.begin());
        meter.add(7);
        drop(first);
        assert!(meter.lock().since.is_some());
        drop(second);
        let busy = meter.lock().busy;
        assert!(meter.lock().since.is_none());
        assert_eq!((meter.bytes(), meter.lock().busy), (7, busy));
        assert!(meter.rate().is_some());
    }
}
