//! The engine for packed images: chunks are fetched in parallel, checked before they are unpacked and again before they are
//! written, and only those that the disk does not hold already.
//!
//! ```text
//!  mirrors ──ranges──▶ lanes ──frames──▶ workers ──chunks──▶ target      each a few threads
//!                        ▲    one buffer   BLAKE3, zstd,       past the page cache,
//!                        │    a chunk      BLAKE3              head last
//!                      board ◀──────────── check               what the disk holds, if that is worth reading
//! ```
//!
//! The board knows the state of every chunk; everybody else asks it what to do next. Nothing that was not checked
//! reaches the disk, nothing is written beyond the target, and the first MiB is written last.

mod board;
mod check;
mod choice;
mod error;
mod lane;
mod meter;
mod mirror;
mod target;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use host::cancel::Cancel;
use host::units::Bytes;
use os_image::index::Index;
use os_image::manifest::manifest_file_name;
use os_image::signature::TrustedKey;

use super::error::StreamError;
use super::{ImageOutcome, Job};
use crate::events::{Event, Events};
use crate::http::pool::Pool;
use crate::http::{Client, FoundManifest, ManifestProblem, address, manifest};
use crate::sources::PackedFacts;
use crate::stage::Stage;
use board::{Board, How, LANES_MAX, Tally};
use check::PIECE;
pub use choice::{Delta, Way};
use choice::{Measured, is_looking_too_slow};
pub use error::PackedError;
use lane::Road;
use meter::Meter;
pub use mirror::MirrorOutcome;
use mirror::Mirrors;
use target::{HEAD, Target};
use worker::Shop;

/// What holds for packed images on this node.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Folders, as URLs, in which other servers have the same files.
    pub mirrors: Vec<String>,
    /// Keys that may sign manifests. Where there are any, one of them has to have.
    pub keys: Vec<TrustedKey>,
    /// Whether what the disk holds is made use of.
    pub delta: Delta,
}

/// A packed image to be written.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// What its manifest said when this was planned; it has to say the same still.
    pub facts: &'a PackedFacts,
    /// Whether the server answers ranges, where that is known.
    pub ranges: Option<bool>,
    /// What holds here.
    pub rules: &'a Rules,
}

/// What became of a packed image beside what becomes of any.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PackedOutcome {
    /// sha256 of the manifest.
    pub manifest_sha256: String,
    /// The image's release.
    pub release: u64,
    /// The key that signed the manifest, where keys are trusted.
    pub signed_by: Option<String>,
    /// What it began with.
    pub way: Way,
    /// Why, and whether that was changed on the way.
    pub why: String,
    /// Bytes that were read from the disk to see whether they are right.
    pub read_bytes: Bytes,
    /// Unpacked bytes that the disk held already.
    pub kept_bytes: Bytes,
    /// Bytes that were written to the disk.
    pub written_bytes: Bytes,
    /// Bytes that were made zero on the disk.
    pub zeroed_bytes: Bytes,
    /// The servers.
    pub mirrors: Vec<MirrorOutcome>,
}

/// What buffers of chunks may take together; the rest of what the agent needs has its own bounds.
const MEMORY: u64 = 40 << 20;

/// Zeros are made so many bytes at a time at most, so that somebody who says stop is heard.
const ZEROS_MOST: u64 = 64 << 20;

/// How often progress is told and the way is thought over.
const TICK: Duration = Duration::from_millis(100);

/// Threads that read the disk: enough for its queue.
const CHECKERS: usize = 4;

/// Chunks in a row that the disk does not hold, after which it is not asked about the rest.
const MISSES: usize = 32;

/// Who works, and in how much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crew {
    lanes: usize,
    workers: usize,
}

impl Crew {
    /// As many workers as there are cores and two more, so that some can wait for the disk; fewer where chunks are large.
    fn of(index: &Index, servers: usize, cores: usize) -> Self {
        let (raw, packed) = (u64::from(index.chunk_size()), longest(index));
        let lanes = if servers > 1 {
            servers.min(LANES_MAX)
        } else {
            2
        };
        let fits = |lanes: usize, workers: usize| {
            let both = u64::try_from(lanes + workers).unwrap_or(u64::MAX);
            let workers = u64::try_from(workers).unwrap_or(u64::MAX);
            workers.saturating_mul(raw) + both.saturating_mul(packed) <= MEMORY
        };
        let mut crew = Self {
            lanes,
            workers: cores + 2,
        };
        while crew.workers > 1 && !fits(crew.lanes, crew.workers) {
            crew.workers -= 1;
        }
        while crew.lanes > 1 && !fits(crew.lanes, crew.workers) {
            crew.lanes -= 1;
        }
        crew
    }
}

/// Bytes of the longest frame.
fn longest(index: &Index) -> u64 {
    let lengths = index.iter().map(|chunk| u64::from(chunk.packed_length));
    lengths.max().unwrap_or(0)
}

/// Writes a packed image, checks it, and makes sure that it is on the medium.
pub(super) fn write(job: Job<'_>, packed: Packed<'_>) -> Result<ImageOutcome, StreamError> {
    let started = Instant::now();
    let Job {
        url,
        target,
        device,
        client,
        events,
        ..
    } = job;
    let found = fetch_manifest(client, url, packed)?;
    let file = address::base_name(url);
    let image = found.manifest.image(&file);
    let image = image.ok_or_else(|| PackedError::NotListed {
        url: manifest_url(url),
        file: file.clone(),
    })?;
    let (size, raw_size) = (target.size(), Bytes(image.raw_size));
    if raw_size > size {
        return Err(StreamError::TooLarge {
            url: address::shown(url),
            device: device.to_owned(),
            size,
            needed: Some(raw_size),
        });
    }
    let mirrors = Mirrors::new(&places(url, &packed.rules.mirrors), image.packed_size)?;
    let target = Target::new(target, device)?;
    let engine = Engine {
        index: &image.index,
        mirrors: &mirrors,
        target: &target,
        client,
        events,
        name: file,
        stop: Cancel::new(),
        deadline: (client.settings().total_timeout).map(|limit| started + limit),
        retries: AtomicU32::new(0),
        reading: Meter::default(),
        fetching: Meter::default(),
        working: Meter::default(),
        checks: Pool::new(CHECKERS, PIECE),
    };
    let written = engine.run(packed.rules.delta, packed.ranges != Some(false))?;
    Ok(ImageOutcome {
        url: address::shown(url),
        fetched_bytes: Bytes(mirrors.fetched()),
        raw_bytes: raw_size,
        raw_sha256: hex(&image.raw_sha256),
        raw_md5: image.raw_md5.as_ref().map(|digest| hex(digest)),
        verified: true,
        retries: engine.retries.load(Ordering::Relaxed),
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        packed: Some(engine.outcome(&found, written)),
    })
}

fn manifest_url(url: &str) -> String {
    address::shown(
        &address::beside(url, &manifest_file_name(&address::base_name(url))).unwrap_or_default(),
    )
}

/// Where the data file is: where the request says, and in every mirror's folder.
fn places(url: &str, mirrors: &[String]) -> Vec<String> {
    let name = address::base_name(url);
    let others = mirrors
        .iter()
        .filter_map(|base| address::within(base, &name));
    let mut places = vec![url.to_owned()];
    for other in others {
        if !places.contains(&other) {
            places.push(other);
        }
    }
    places
}

/// The manifest that was planned with, from whoever has it.
fn fetch_manifest(
    client: &Client,
    url: &str,
    packed: Packed<'_>,
) -> Result<FoundManifest, StreamError> {
    let budget = client.settings().retry_budget;
    let mut first: Option<PackedError> = None;
    for place in places(url, &packed.rules.mirrors) {
        let Some(url) = address::beside(&place, &packed.facts.manifest) else {
            continue;
        };
        let problem = match manifest(client, &url, &packed.rules.keys, budget) {
            Ok(found) if found.sha256 == packed.facts.manifest_sha256 => return Ok(found),
            Ok(_) => PackedError::Changed {
                url: address::shown(&url),
            },
            Err(ManifestProblem::Http(crate::http::HttpError::Cancelled)) => {
                return Err(StreamError::Cancelled);
            }
            Err(problem) => problem.into(),
        };
        first.get_or_insert(problem);
    }
    Err(first.map_or(StreamError::HungUp, StreamError::Packed))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What an image came to.
struct Written {
    way: Way,
    why: String,
    tally: Tally,
}

/// Everything that writing one image needs.
struct Engine<'a, 'd> {
    index: &'a Index,
    mirrors: &'a Mirrors,
    target: &'a Target<'d>,
    client: &'a Client,
    events: &'a dyn Events,
    /// What people call the image.
    name: String,
    stop: Cancel,
    deadline: Option<Instant>,
    retries: AtomicU32,
    reading: Meter,
    fetching: Meter,
    working: Meter,
    /// Buffers for what is read from the disk.
    checks: Pool,
}

impl Engine<'_, '_> {
    fn run(&self, wish: Delta, ranges: bool) -> Result<Written, StreamError> {
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
        let crew = Crew::of(self.index, self.mirrors.len(), cores);
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
    fn outcome(&self, found: &FoundManifest, written: Written) -> PackedOutcome {
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

    fn note(&self, message: &str) {
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

/// How long the data file is for each byte of the image.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "an estimate"
)]
fn share(index: &Index) -> f64 {
    let data = index.iter().filter(|chunk| !chunk.zero);
    let (raw, packed) = data.fold((0_u64, 0_u64), |(raw, packed), chunk| {
        (
            raw + u64::from(chunk.raw_length),
            packed + u64::from(chunk.packed_length),
        )
    });
    packed as f64 / raw.max(1) as f64
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

/// The thread that has called: it makes zeros, tells progress, and thinks the way over.
struct Watch<'a, 'e, 'd> {
    engine: &'a Engine<'e, 'd>,
    board: &'a Board<'a>,
    is_checking: bool,
    last_held: Option<usize>,
    told: Option<Instant>,
}

impl Watch<'_, '_, '_> {
    fn until_over(&mut self, why: &Mutex<String>) -> Result<(), StreamError> {
        let chunk = u64::from(self.engine.index.chunk_size());
        let most = usize::try_from(ZEROS_MOST / chunk).unwrap_or(1).max(1);
        loop {
            if self.engine.client.is_cancelled() {
                return Err(StreamError::Cancelled);
            }
            if let Some(zeros) = self.board.next_zeros(most) {
                self.zero(&zeros)?;
                self.board.done(zeros, How::Zeroed);
            } else if self.board.is_over_within(TICK) {
                self.tell(true);
                return Ok(());
            }
            if self.is_checking
                && let Some(reason) = self.second_thoughts()
            {
                self.is_checking = false;
                self.board.stop_checking();
                self.engine.note(&format!("{}: {reason}", self.engine.name));
                let mut why = why.lock().unwrap_or_else(PoisonError::into_inner);
                *why = format!("{why}; {reason}");
            }
            self.tell(false);
        }
    }

    fn zero(&self, chunks: &std::ops::Range<usize>) -> Result<(), StreamError> {
        let index = self.engine.index;
        let first = index.chunk(chunks.start);
        let last = chunks.end.checked_sub(1).and_then(|last| index.chunk(last));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(StreamError::HungUp);
        };
        let end = last.raw_offset + u64::from(last.raw_length);
        self.engine
            .target
            .zero(first.raw_offset, end - first.raw_offset)
    }

    /// Why the disk is not to be read any further, where that is so.
    fn second_thoughts(&self) -> Option<String> {
        let tally = self.board.tally();
        let is_ahead = |held: usize| held > tally.checked;
        if tally.misses_in_a_row >= MISSES && !self.last_held.is_some_and(is_ahead) {
            return Some(format!(
                "it held none of the last {} chunks, so the rest is written in full",
                tally.misses_in_a_row
            ));
        }
        let engine = self.engine;
        let measured = Measured {
            checked: tally.checked,
            matched: tally.matched,
            reading: engine.reading.rate(),
            fetching: engine.fetching.rate(),
            working: engine.working.rate(),
            packed_share: share(engine.index),
        };
        is_looking_too_slow(&measured).then(|| {
            "reading the disk is slower than writing it, so the rest is written in full".to_owned()
        })
    }

    fn tell(&mut self, last: bool) {
        if !last && self.told.is_some_and(|told| told.elapsed() < TICK) {
            return;
        }
        self.told = Some(Instant::now());
        self.engine.events.tell(&Event::Progress {
            stage: Stage::Image,
            what: self.engine.name.clone(),
            done_bytes: self.board.tally().done,
            total_bytes: Some(self.engine.index.raw_size()),
        });
    }
}

#[cfg(test)]
mod crew_tests {
    use os_image::codec::Packer;
    use os_image::index::{Chunk, IndexBuilder};

    use super::*;

    /// An index of one chunk of this size that packs badly or well.
    fn index(chunk_size: u32, packed_length: u32) -> Index {
        let raw = [1; 4096];
        let packed = Packer::new(1).unwrap().pack(&raw, &mut Vec::new()).unwrap();
        let mut builder = IndexBuilder::new(chunk_size.into(), chunk_size, 1 << 20).unwrap();
        let chunk = Chunk {
            raw_offset: 0,
            raw_length: chunk_size,
            packed_offset: 0,
            packed_length,
            raw_digest: packed.raw_digest,
            packed_digest: packed.packed_digest,
            zero: false,
        };
        builder.push(&chunk).unwrap();
        builder.finish(packed_length.into()).unwrap()
    }

    #[test]
    fn there_are_as_many_as_fit_in_memory_and_at_least_one_of_each() {
        const MIB: u32 = 1 << 20;
        for (chunk, packed, servers, cores, lanes, workers) in [
            (MIB, MIB, 1, 2, 2, 4),
            (MIB, MIB / 3, 1, 8, 2, 10),
            (2 * MIB, MIB, 3, 2, 3, 4),
            (4 * MIB, 4 * MIB, 1, 2, 2, 4),
            (4 * MIB, 4 * MIB, 9, 64, 4, 3),
            (4 * MIB, MIB, 1, 64, 2, 7),
            (16 * MIB, 5 * MIB, 1, 2, 2, 1),
            (16 * MIB, 16 * MIB, 4, 64, 1, 1),
        ] {
            let index = index(chunk, packed);
            let crew = Crew::of(&index, servers, cores);
            assert_eq!(
                crew,
                Crew { lanes, workers },
                "{chunk} {packed} {servers} {cores}"
            );
        }
    }
}
