//! Lets all threads of one image work together, from the first look at the disk to the last flush.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Instant;

use host::cancel::Cancel;
use host::units::Bytes;
use os_image::index::Index;

use super::super::error::StreamError;
use super::board::{Board, Tally};
use super::check;
use super::choice::{self, Delta};
use super::crew::{Crew, longest};
use super::lane::{self, Road};
use super::meter::Meter;
use super::mirror::Mirrors;
use super::target::{HEAD, Target};
use super::watch::Watch;
use super::worker::{self, Shop};
use crate::events::{Event, Events};
use crate::http::pool::Pool;
use crate::http::{Client, FoundManifest};
use crate::model::report::{PackedOutcome, Way};
use crate::model::stage::Stage;

/// Threads that read the disk: enough for its queue.
pub(super) const CHECKERS: usize = 4;

/// What an image came to.
pub(super) struct Written {
    way: Way,
    why: String,
    tally: Tally,
}

/// Everything that writing one image needs.
pub(super) struct Engine<'a, 'd> {
    pub(super) index: &'a Index,
    pub(super) mirrors: &'a Mirrors,
    pub(super) target: &'a Target<'d>,
    pub(super) client: &'a Client,
    pub(super) events: &'a dyn Events,
    /// What people call the image.
    pub(super) name: String,
    /// How many images are written at the same time, this one among them.
    pub(super) at_once: usize,
    pub(super) stop: Cancel,
    pub(super) deadline: Option<Instant>,
    pub(super) retries: AtomicU32,
    pub(super) reading: Meter,
    pub(super) fetching: Meter,
    pub(super) working: Meter,
    /// Buffers for what is read from the disk.
    pub(super) checks: Pool,
}

impl Engine<'_, '_> {
    /// Brings the image onto its target.
    pub(super) fn run(&self, wish: Delta, ranges: bool) -> Result<Written, StreamError> {
        let mut last_held = None;
        let (way, why) = choice::first(wish, ranges, || {
            let sampled = check::sample(self.index, self.target, &self.checks, &self.reading);
            last_held = sampled.last_held;
            sampled
        });
        self.note(&format!(
            "{}: {} write, because {why}",
            self.name,
            word(way)
        ));
        let head = u64::try_from(HEAD).unwrap_or(u64::MAX);
        self.target.void(head.min(self.index.raw_size()))?;
        let board = Board::new(self.index, way == Way::Delta, self.stop.clone());
        let why = Mutex::new(why);
        self.work(&board, way, |board| {
            let mut watch = Watch {
                engine: self,
                board,
                is_checking: way == Way::Delta && wish == Delta::Auto,
                last_held,
                told: None,
            };
            if let Err(error) = watch.until_over(&why) {
                board.fail(error);
            }
        });
        let tally = board.result()?;
        self.target.finish()?;
        let why = why.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Written { way, why, tally })
    }

    /// Lets everybody work for as long as `watch` runs.
    fn work(&self, board: &Board<'_>, way: Way, watch: impl FnOnce(&Board<'_>)) {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let crew = Crew::of(self.index, self.mirrors.len(), cores, self.at_once);
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let packed = Pool::new(crew.lanes + crew.workers, length(longest(self.index)));
        let raw = Pool::new(crew.workers, length(self.index.chunk_size().into()));
        let road = Road {
            client: self.client,
            board,
            mirrors: self.mirrors,
            pool: &packed,
            stop: &self.stop,
            deadline: self.deadline,
            events: self.events,
            lanes: u64::try_from(crew.lanes).unwrap_or(1),
            retries: &self.retries,
            meter: &self.fetching,
            length: self.index.packed_size(),
        };
        let shop = Shop {
            index: self.index,
            board,
            mirrors: self.mirrors,
            target: self.target,
            pool: &raw,
            meter: &self.working,
        };
        let (road, shop) = (&road, &shop);
        thread::scope(|scope| {
            for _ in 0..crew.workers {
                spawn(scope, "unpack", board, || worker::run(shop));
            }
            for number in (0..crew.lanes).filter_map(|number| u8::try_from(number).ok()) {
                spawn(scope, "fetch", board, move || lane::run(road, number));
            }
            let checkers = if way == Way::Delta { CHECKERS } else { 0 };
            for _ in 0..checkers {
                spawn(scope, "check", board, || {
                    check::run(self.index, board, self.target, &self.checks, &self.reading)
                });
            }
            watch(board);
            // whoever is still waiting for a server has nothing to wait for any more
            self.stop.cancel();
        });
    }

    /// What it came to, for the report.
    pub(super) fn outcome(&self, found: &FoundManifest, written: Written) -> PackedOutcome {
        let (kept, put) = (written.tally.kept, self.target.written());
        PackedOutcome {
            manifest_sha256: found.sha256.clone(),
            release: found.manifest.release,
            signed_by: found.signed_by.clone(),
            way: written.way,
            why: written.why,
            read_bytes: Bytes(self.reading.bytes()),
            kept_bytes: Bytes(kept),
            written_bytes: Bytes(put),
            zeroed_bytes: Bytes(self.index.raw_size().saturating_sub(kept + put)),
            mirrors: self.mirrors.outcomes(),
        }
    }

    /// Tells people of a decision.
    pub(super) fn note(&self, message: &str) {
        self.events.tell(&Event::Note {
            stage: Stage::Image,
            message: message.to_owned(),
        });
    }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Full => "full",
        Way::Delta => "delta",
    }
}

/// Starts a thread of the engine; what it fails with is what the whole fails with.
fn spawn<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    board: &'scope Board<'_>,
    work: impl FnOnce() -> Result<(), StreamError> + Send + 'scope,
) {
    let guarded = move || {
        let work = std::panic::AssertUnwindSafe(work);
        match std::panic::catch_unwind(work) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => board.fail(error),
            Err(_) => board.fail(StreamError::Panicked),
        }
    };
    let thread = thread::Builder::new().name(name.to_owned());
    if let Err(source) = thread.spawn_scoped(scope, guarded) {
        board.fail(StreamError::Thread { source });
    }
}
