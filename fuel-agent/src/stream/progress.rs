//! Progress events of one image, limited to one per interval.

use std::time::{Duration, Instant};

use host::units::Bytes;

use crate::events::{Event, Events};
use crate::http::address;
use crate::model::stage::Stage;
use crate::model::url::redacted;
use crate::source::Meter;

/// Shortest time between two events.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Reports on one image: in bytes of the image if its length is known, otherwise in bytes fetched.
pub(super) struct ProgressReporter<'a> {
    what: String,
    size: Option<Bytes>,
    meter: Meter,
    events: &'a dyn Events,
    reported_at: Instant,
}

impl<'a> ProgressReporter<'a> {
    pub(super) fn new(
        url: &str,
        size: Option<Bytes>,
        meter: &Meter,
        events: &'a dyn Events,
    ) -> Self {
        Self {
            what: address::base_name(&redacted(url)),
            size,
            meter: meter.clone(),
            events,
            reported_at: Instant::now(),
        }
    }

    /// Reports that `raw` bytes of the image are done.
    pub(super) fn report(&mut self, raw: u64) {
        if self.reported_at.elapsed() < REPORT_INTERVAL {
            return;
        }
        self.reported_at = Instant::now();
        if let Some(size) = self.size {
            return self.emit(raw, Some(size.0));
        }
        // fetched bytes may not be written yet: the full count is reported at the end only
        let total = self.meter.total();
        let most = total.map_or(u64::MAX, |total| total.saturating_sub(1));
        self.emit(self.meter.fetched().min(most), total);
    }

    /// Reports the end, whatever time has passed.
    pub(super) fn report_end(&self, raw: u64) {
        match self.size {
            Some(size) => self.emit(raw, Some(size.0)),
            None => self.emit(self.meter.fetched(), self.meter.total()),
        }
    }

    fn emit(&self, done_bytes: u64, total_bytes: Option<u64>) {
        self.events.emit(&Event::Progress {
            stage: Stage::Image,
            what: self.what.clone(),
            done_bytes,
            total_bytes,
        });
    }
}
