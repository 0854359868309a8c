//! The servers that have the data file: what each has delivered, and which have been dropped.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use host::error::one_line;
use host::units::Bytes;

use super::super::error::StreamError;
use super::error::PackedError;
use crate::http::HttpError;
use crate::model::report::MirrorOutcome;
use crate::source::range::RangeFile;

/// How many times a server without alternatives may send one chunk wrong.
const WRONG_MOST: u32 = 3;

/// One server.
pub(super) struct Mirror {
    pub(super) file: RangeFile,
    fetched: AtomicU64,
    /// Fetchers that use it.
    fetchers: AtomicU32,
    state: Mutex<MirrorState>,
}

#[derive(Default)]
struct MirrorState {
    dropped: Option<StreamError>,
    /// It does not support ranges.
    whole: bool,
    /// How many times each chunk was wrong.
    wrong: BTreeMap<usize, u32>,
}

/// All servers, in this node's order of preference.
pub(super) struct Mirrors(Vec<Mirror>);

impl Mirrors {
    /// `length` is that of the data file. Each node begins at a random server, so that a rack that starts at once
    /// spreads its load.
    pub(super) fn new(urls: &[String], length: u64) -> Result<Self, HttpError> {
        let mut mirrors = urls
            .iter()
            .map(|url| {
                Ok(Mirror {
                    file: RangeFile::new(url, length)?,
                    fetched: AtomicU64::new(0),
                    fetchers: AtomicU32::new(0),
                    state: Mutex::default(),
                })
            })
            .collect::<Result<Vec<_>, HttpError>>()?;
        let first = random(mirrors.len());
        mirrors.rotate_left(first);
        Ok(Self(mirrors))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn mirror(&self, index: usize) -> Option<&Mirror> {
        self.0.get(index)
    }

    /// Assigns a fetcher to the server with the fewest fetchers among those not dropped.
    pub(super) fn assign(&self) -> Option<usize> {
        let free = |mirror: &&(usize, &Mirror)| mirror.1.accepts_fetcher();
        let all: Vec<(usize, &Mirror)> = self.0.iter().enumerate().collect();
        let (index, mirror) = all
            .iter()
            .filter(free)
            .min_by_key(|(_, mirror)| mirror.fetchers.load(Ordering::Relaxed))?;
        mirror.fetchers.fetch_add(1, Ordering::Relaxed);
        Some(*index)
    }

    /// A fetcher leaves its server.
    pub(super) fn leave(&self, index: usize) {
        if let Some(mirror) = self.0.get(index) {
            mirror.fetchers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Drops a server. Dropping the last one is the error of the image.
    pub(super) fn drop_out(&self, index: usize, why: StreamError) -> Result<(), StreamError> {
        if let Some(mirror) = self.0.get(index) {
            mirror.lock().dropped.get_or_insert(why);
        }
        if self.0.iter().any(|mirror| !mirror.is_dropped()) {
            return Ok(());
        }
        Err(self.none_left())
    }

    /// Whether a server other than `than` is left.
    pub(super) fn has_other(&self, than: usize) -> bool {
        let mut others = self.0.iter().enumerate();
        others.any(|(index, mirror)| index != than && !mirror.is_dropped())
    }

    fn none_left(&self) -> StreamError {
        if let [only] = self.0.as_slice() {
            return only.lock().dropped.take().unwrap_or(StreamError::HungUp);
        }
        let mut retryable = false;
        let mut reasons = Vec::new();
        for mirror in &self.0 {
            let state = mirror.lock();
            let Some(why) = &state.dropped else { continue };
            reasons.push(one_line(why));
            retryable |= is_retryable(why);
        }
        PackedError::NoMirror { reasons, retryable }.into()
    }

    /// A server sent `chunk` wrong: drops it if another is left, or if it has sent the same chunk wrong [`WRONG_MOST`]
    /// times. A line with random bit errors sends a different chunk wrong the next time. Returns whether it was
    /// dropped.
    pub(super) fn sent_wrong(
        &self,
        index: usize,
        chunk: usize,
        why: PackedError,
    ) -> Result<bool, StreamError> {
        let is_hopeless = self.0.get(index).is_some_and(|mirror| {
            let mut state = mirror.lock();
            let times = state.wrong.entry(chunk).or_default();
            *times += 1;
            *times >= WRONG_MOST
        });
        if !is_hopeless && !self.has_other(index) {
            return Ok(false);
        }
        self.drop_out(index, why.into()).map(|()| true)
    }

    /// Packed bytes received from all servers.
    pub(super) fn fetched(&self) -> u64 {
        let fetched = |mirror: &Mirror| mirror.fetched.load(Ordering::Relaxed);
        self.0.iter().map(fetched).sum()
    }

    /// What each server delivered, for the report.
    pub(super) fn outcomes(&self) -> Vec<MirrorOutcome> {
        let outcome = |mirror: &Mirror| MirrorOutcome {
            url: mirror.file.name().to_owned(),
            fetched_bytes: Bytes(mirror.fetched.load(Ordering::Relaxed)),
            dropped: mirror.lock().dropped.as_ref().map(|why| one_line(why)),
        };
        self.0.iter().map(outcome).collect()
    }
}

impl Mirror {
    fn lock(&self) -> MutexGuard<'_, MirrorState> {
        // no code panics while holding the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.lock().dropped.is_some()
    }

    /// A server without ranges can serve only one fetcher.
    fn accepts_fetcher(&self) -> bool {
        let state = self.lock();
        state.dropped.is_none() && !(state.whole && self.fetchers.load(Ordering::Relaxed) > 0)
    }

    /// Marks it as not supporting ranges; returns whether that is new.
    pub(super) fn set_whole(&self) -> bool {
        !std::mem::replace(&mut self.lock().whole, true)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.lock().whole
    }

    pub(super) fn count_received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn is_retryable(error: &StreamError) -> bool {
    match error {
        StreamError::Http(error) => {
            error.is_transient()
                || matches!(
                    error,
                    HttpError::Exhausted { .. } | HttpError::TooSlow { .. }
                )
        }
        StreamError::Packed(error) => error.is_retryable(),
        _ => false,
    }
}

/// A random number below `below`.
pub(super) fn random(below: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random % u64::try_from(below.max(1)).unwrap_or(1)).unwrap_or(0)
}
