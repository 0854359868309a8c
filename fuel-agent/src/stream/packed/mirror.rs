//! The servers that have the data file: who is asked, what each delivered, and who is not asked any more.

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

/// How often a server that is the only one may send one chunk wrong.
const WRONG_MOST: u32 = 3;

/// One server.
pub(super) struct Mirror {
    pub(super) file: RangeFile,
    fetched: AtomicU64,
    /// Lanes that ask it.
    fetchers: AtomicU32,
    state: Mutex<MirrorState>,
}

#[derive(Default)]
struct MirrorState {
    dropped: Option<StreamError>,
    /// It sends everything or nothing.
    whole: bool,
    /// How often each of its chunks was wrong.
    wrong: BTreeMap<usize, u32>,
}

/// All servers, in the order in which this node prefers them.
pub(super) struct Mirrors(Vec<Mirror>);

impl Mirrors {
    /// The servers at `urls`, for a data file of `length` bytes. Each node begins with another one, so that a rack that
    /// starts together spreads.
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

    /// The server with the fewest lanes of those that are still asked; the lane is counted there.
    pub(super) fn assign(&self) -> Option<usize> {
        let free = |mirror: &&(usize, &Mirror)| mirror.1.takes_a_lane();
        let all: Vec<(usize, &Mirror)> = self.0.iter().enumerate().collect();
        let (index, mirror) = all
            .iter()
            .filter(free)
            .min_by_key(|(_, mirror)| mirror.fetchers.load(Ordering::Relaxed))?;
        mirror.fetchers.fetch_add(1, Ordering::Relaxed);
        Some(*index)
    }

    /// A lane leaves its server.
    pub(super) fn leave(&self, index: usize) {
        if let Some(mirror) = self.0.get(index) {
            mirror.fetchers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A server is not asked any more. When it was the last, that is the error of the whole.
    pub(super) fn drop_out(&self, index: usize, why: StreamError) -> Result<(), StreamError> {
        if let Some(mirror) = self.0.get(index) {
            mirror.lock().dropped.get_or_insert(why);
        }
        if self.0.iter().any(|mirror| !mirror.is_dropped()) {
            return Ok(());
        }
        Err(self.none_left())
    }

    /// Whether another server could be asked instead of this one.
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

    /// `chunk` came wrong from a server: it is dropped where another can be asked, or when it sends the same chunk
    /// wrong [`WRONG_MOST`] times. A line that turns a bit now and then turns another one the next time.
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

    /// All bytes that came.
    pub(super) fn fetched(&self) -> u64 {
        let fetched = |mirror: &Mirror| mirror.fetched.load(Ordering::Relaxed);
        self.0.iter().map(fetched).sum()
    }

    /// What each did.
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
        // nobody panics while holding it
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.lock().dropped.is_some()
    }

    /// One lane is all that a server without ranges can serve.
    fn takes_a_lane(&self) -> bool {
        let state = self.lock();
        state.dropped.is_none() && !(state.whole && self.fetchers.load(Ordering::Relaxed) > 0)
    }

    /// It sends everything or nothing; whether that was news.
    pub(super) fn set_whole(&self) -> bool {
        !std::mem::replace(&mut self.lock().whole, true)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.lock().whole
    }

    pub(super) fn came(&self, bytes: usize) {
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

/// A number below `below`, another one on every node.
pub(super) fn random(below: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random % u64::try_from(below.max(1)).unwrap_or(1)).unwrap_or(0)
}
