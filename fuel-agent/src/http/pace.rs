//! The least average rate of a transfer: a server that delivers a little all the time never stalls, and would keep a
//! node for days.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host::units::Bytes;

use super::HttpSettings;

/// The time over which a rate is averaged.
pub(super) const WINDOW: Duration = Duration::from_mins(10);

/// What one connection after the other has delivered, and how long was waited for it: waits for a buffer or a slow disk
/// are not the server's. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    window: Arc<Mutex<Window>>,
    /// Connections that share the link: each has to deliver its part of the rate.
    connections: u64,
}

#[derive(Debug, Default)]
struct Window {
    waited: Duration,
    received: u64,
}

impl Pace {
    /// Nothing received yet. `connections` transfer the image at the same time, at least 1.
    pub(crate) fn new(connections: u64) -> Self {
        Self {
            window: Arc::default(),
            connections: connections.max(1),
        }
    }

    /// How long the server may still be waited for before the window is judged; `None` where every rate is accepted.
    pub(super) fn left(&self, settings: &HttpSettings) -> Option<Duration> {
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        settings
            .least_rate
            .map(|_| settings.rate_window.saturating_sub(window.waited))
    }

    /// Counts bytes that came after `waited`. Whether a window is over and had less than the least rate.
    pub(super) fn is_too_slow(
        &self,
        settings: &HttpSettings,
        waited: Duration,
        bytes: usize,
    ) -> bool {
        let Some(Bytes(rate)) = settings.least_rate else {
            return false;
        };
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.waited = window.waited.saturating_add(waited);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        window.received = window.received.saturating_add(bytes);
        if window.waited < settings.rate_window {
            return false;
        }
        let rate = u128::from(rate.checked_div(self.connections).unwrap_or(rate));
        let least = rate.saturating_mul(window.waited.as_millis()) / 1000;
        let is_slow = u128::from(window.received) < least;
        *window = Window::default();
        is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HttpSettings {
        HttpSettings {
            least_rate: Some(Bytes(1000)),
            ..HttpSettings::default()
        }
    }

    #[test]
    fn the_average_over_a_window_decides() {
        let (settings, minute) = (settings(), Duration::from_mins(1));
        // (bytes in each minute, whether the tenth is too slow): a burst makes up for a pause
        let cases: [(&[usize], bool); 4] = [
            (&[60_000; 10], false),
            (&[59_999; 10], true),
            (&[600_000, 0, 0, 0, 0, 0, 0, 0, 0, 0], false),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 599_999], true),
        ];
        for (minutes, expected) in cases {
            let pace = Pace::new(1);
            let judged: Vec<bool> = minutes
                .iter()
                .map(|bytes| pace.is_too_slow(&settings, minute, *bytes))
                .collect();
            assert!(judged[..9].iter().all(|it| !it), "{minutes:?}");
            assert_eq!(judged[9], expected, "{minutes:?}");
        }
    }

    #[test]
    fn each_window_is_judged_by_itself() {
        let (settings, pace) = (settings(), Pace::new(1));
        assert!(!pace.is_too_slow(&settings, WINDOW, 10_000_000));
        assert_eq!(pace.left(&settings), Some(WINDOW));
        assert!(pace.is_too_slow(&settings, WINDOW, 10));
    }

    #[test]
    fn connections_share_the_rate() {
        let settings = settings();
        for (bytes, is_slow) in [(150_000, false), (149_999, true)] {
            assert_eq!(Pace::new(4).is_too_slow(&settings, WINDOW, bytes), is_slow);
        }
    }

    #[test]
    fn without_a_least_rate_nothing_is_too_slow() {
        let settings = HttpSettings {
            least_rate: None,
            ..settings()
        };
        let pace = Pace::new(1);
        assert_eq!(pace.left(&settings), None);
        assert!(!pace.is_too_slow(&settings, Duration::MAX, 0));
    }
}
