//! A fetcher: one connection at a time to one server, requesting groups of chunks until nothing is missing.
//!
//! A fetcher requests the next group when it has received the last one, so a fast server serves more than a slow one.

use std::time::{Duration, Instant};

use host::cancel::Cancel;
use host::error::one_line;

use super::super::error::StreamError;
use super::error::PackedError;
use super::meter::Meter;
use super::mirror::{Mirror, Mirrors, random};
use super::scheduler::{Arrived, ChunkScheduler, Group};
use crate::events::{Event, Events};
use crate::http::pace::Pace;
use crate::http::retry::Retry;
use crate::http::{Client, HttpError};
use crate::model::stage::Stage;
use crate::pool::Pool;
use crate::source::range::{Answer, Pieces, RangeOptions};
use host::units::Bytes;

/// Largest request, in packed bytes.
const GROUP_MOST: u64 = 8 << 20;

/// First request, before the server's rate is known.
const GROUP_FIRST: u64 = 2 << 20;

/// Duration that later requests aim for.
const GROUP_TIME: Duration = Duration::from_millis(500);

/// All fetchers but the first start up to this many milliseconds later, so that nodes that start together spread their
/// requests.
const JITTER_MS: usize = 50;

/// Interruptions allowed of a transfer from a server without ranges.
const INTERRUPTIONS_MAX: u32 = 5;

/// Shared by all fetchers of an image.
pub(super) struct FetchContext<'a> {
    pub(super) client: &'a Client,
    pub(super) scheduler: &'a ChunkScheduler<'a>,
    pub(super) mirrors: &'a Mirrors,
    pub(super) pool: &'a Pool,
    pub(super) stop: &'a Cancel,
    /// When the whole transfer has to be complete.
    pub(super) deadline: Option<Instant>,
    pub(super) events: &'a dyn Events,
    pub(super) fetchers: u64,
    /// Counts reconnections.
    pub(super) retries: &'a std::sync::atomic::AtomicU32,
    /// Counts packed bytes and the time spent on them.
    pub(super) meter: &'a Meter,
    /// Length of the data file in bytes.
    pub(super) length: u64,
}

/// State of one fetcher.
pub(super) struct Fetcher<'a> {
    context: &'a FetchContext<'a>,
    number: u8,
    mirror: usize,
    retry: Retry,
    /// Rate of the server in bytes per second; `None` before the first group is complete.
    rate: Option<u64>,
    pace: Pace,
    interruptions: u32,
}

/// How a request ended without an error.
enum FetchEnd {
    /// All of it was received.
    Done,
    /// The server does not support ranges.
    NoRanges,
    /// The image is done or has failed.
    Stopped,
}

/// Runs a fetcher to its end; its error becomes the error of the image.
pub(super) fn run(context: &FetchContext<'_>, number: u8) -> Result<(), StreamError> {
    if number > 0 {
        let pause = u64::try_from(random(JITTER_MS)).unwrap_or(0);
        if context
            .client
            .pause(Duration::from_millis(pause), context.stop)
            .is_err()
        {
            return Ok(());
        }
    }
    while let Some(mirror) = context.mirrors.assign() {
        let name = context
            .mirrors
            .mirror(mirror)
            .map_or("", |it| it.file.name());
        let mut fetcher = Fetcher {
            context,
            number,
            mirror,
            retry: Retry::new(context.client, name, context.client.settings().retry_budget),
            rate: None,
            pace: Pace::new(context.fetchers),
            interruptions: 0,
        };
        let end = caught(|| fetcher.work());
        context.scheduler.give_back(number);
        context.mirrors.leave(mirror);
        match end {
            Ok(FetchEnd::NoRanges) => {}
            Ok(FetchEnd::Done | FetchEnd::Stopped) => return Ok(()),
            Err(StreamError::Http(HttpError::Cancelled)) => return fetcher.cancelled(),
            Err(why) => fetcher.drop_mirror(why)?,
        }
    }
    Ok(())
}

/// Runs `work`; a panic in it becomes an error, which costs the mirror in use and not the image. Data shared by threads
/// is behind locks and consistent whenever one is released.
fn caught<T>(work: impl FnOnce() -> Result<T, StreamError>) -> Result<T, StreamError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or(Err(StreamError::Panicked))
}

impl Fetcher<'_> {
    fn mirror(&self) -> Result<&Mirror, StreamError> {
        let found = self.context.mirrors.mirror(self.mirror);
        found.ok_or(StreamError::HungUp)
    }

    /// The client's cancellation is an error; that of this image (done or failed) is not.
    fn cancelled(&self) -> Result<(), StreamError> {
        if self.context.client.is_cancelled() {
            return Err(StreamError::Cancelled);
        }
        Ok(())
    }

    /// Drops the server after an error.
    fn drop_mirror(&self, why: StreamError) -> Result<(), StreamError> {
        self.warn(format!("server dropped: {}", one_line(&why)));
        self.context.mirrors.drop_out(self.mirror, why)
    }

    fn warn(&self, message: String) {
        self.context.events.emit(&Event::Warning {
            stage: Some(Stage::Image),
            message,
        });
    }

    /// Requests group after group.
    fn work(&mut self) -> Result<FetchEnd, StreamError> {
        loop {
            if self.mirror()?.is_dropped() {
                return Ok(FetchEnd::NoRanges);
            }
            if self.mirror()?.is_whole() {
                return self.work_whole();
            }
            let context = self.context;
            let Some(group) =
                context
                    .scheduler
                    .next_group(self.number, self.request_size(), context.fetchers)
            else {
                return Ok(FetchEnd::Stopped);
            };
            match self.fetch(&group, false) {
                Ok(FetchEnd::Done) => {}
                Ok(FetchEnd::NoRanges) => {
                    self.context.scheduler.give_back(self.number);
                    if self.mirror()?.set_whole() {
                        self.without_ranges()?;
                    } else {
                        return Ok(FetchEnd::NoRanges);
                    }
                }
                Ok(FetchEnd::Stopped) => return Ok(FetchEnd::Stopped),
                Err(error) => self.wait_after(error)?,
            }
        }
    }

    /// A server without range support is used only if no other is left.
    fn without_ranges(&self) -> Result<(), StreamError> {
        let name = self.mirror()?.file.name();
        if self.context.mirrors.has_other(self.mirror) {
            return Err(HttpError::Answer {
                url: name.to_owned(),
                why: "it does not support ranges, and another server may".to_owned(),
            }
            .into());
        }
        self.warn(format!(
            "{name} is fetched in one piece: its server does not support ranges"
        ));
        Ok(())
    }

    fn work_whole(&mut self) -> Result<FetchEnd, StreamError> {
        let everything = Group {
            first: 0,
            wanted: self.context.scheduler.everything(),
        };
        loop {
            let error = match self.fetch(&everything, true) {
                Ok(FetchEnd::Done) if self.mirror()?.is_dropped() => return Ok(FetchEnd::NoRanges),
                // chunks that were wrong are still missing
                Ok(FetchEnd::Done) if self.context.scheduler.wait_for_missing() => continue,
                Ok(_) => return Ok(FetchEnd::Stopped),
                Err(error) => error,
            };
            self.interruptions += 1;
            if self.interruptions > INTERRUPTIONS_MAX {
                return Err(PackedError::Unstable {
                    url: self.mirror()?.file.name().to_owned(),
                    times: self.interruptions,
                }
                .into());
            }
            self.wait_after(error)?;
        }
    }

    /// Bytes to request at once.
    fn request_size(&self) -> u64 {
        let millis = u64::try_from(GROUP_TIME.as_millis()).unwrap_or(u64::MAX);
        self.rate.map_or(GROUP_FIRST, |rate| {
            (rate / 1000).saturating_mul(millis).min(GROUP_MOST)
        })
    }

    fn fetch(&mut self, group: &Group, whole: bool) -> Result<FetchEnd, StreamError> {
        let context = self.context;
        let mirror = self.mirror()?;
        let (begun, _busy) = (Instant::now(), context.meter.begin());
        let options = RangeOptions {
            client: context.client,
            pool: context.pool,
            stop: context.stop,
            deadline: context.deadline,
            pace: &self.pace,
        };
        let answer = mirror.file.ask(options, &group.wanted, whole)?;
        let mut pieces: Pieces = match answer {
            Answer::Pieces(pieces) => pieces,
            Answer::NoRanges => return Ok(FetchEnd::NoRanges),
            Answer::OtherLength(found) => {
                return Err(PackedError::OtherLength {
                    url: mirror.file.name().to_owned(),
                    found: found.map(Bytes),
                    expected: Bytes(context.length),
                }
                .into());
            }
        };
        let (mut chunk, mut received) = (group.first, 0);
        while let Some(packed) = pieces.advance()? {
            let mirror = self.mirror()?;
            mirror.count_received(packed.len());
            received += packed.len();
            context
                .meter
                .add(u64::try_from(packed.len()).unwrap_or(u64::MAX));
            self.retry.progressed(context.client);
            let arrived = Arrived {
                chunk,
                packed,
                mirror: self.mirror,
            };
            if !context.scheduler.arrived(self.number, arrived) {
                return Ok(FetchEnd::Stopped);
            }
            if self.mirror()?.is_dropped() {
                return Ok(FetchEnd::Done);
            }
            chunk += 1;
        }
        self.update_rate(received, begun.elapsed());
        Ok(FetchEnd::Done)
    }

    /// Updates the rate; recent requests weigh more.
    fn update_rate(&mut self, received: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let received = u64::try_from(received).unwrap_or(u64::MAX);
        let now = received.saturating_mul(1_000_000) / micros;
        self.rate = Some(self.rate.map_or(now, |before| u64::midpoint(before, now)));
    }

    /// Gives the outstanding chunks back to the scheduler and pauses before the retry.
    fn wait_after(&mut self, error: StreamError) -> Result<(), StreamError> {
        let context = self.context;
        context.scheduler.give_back(self.number);
        let StreamError::Http(error) = error else {
            return Err(error);
        };
        let why = error.to_string();
        let pause = self.retry.pause_after(context.client, error)?;
        context
            .retries
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = self.mirror()?.file.name();
        let millis = pause.as_millis();
        self.warn(format!("retrying {name} in {millis} ms: {why}"));
        context.client.pause(pause, context.stop)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_mirror() {
        let panicked = caught::<()>(|| std::panic::panic_any("a defect"));
        assert!(matches!(panicked, Err(StreamError::Panicked)));
        assert!(matches!(caught(|| Ok(7)), Ok(7)));
    }
}
