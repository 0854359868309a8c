//! Digests of the whole image that somebody else than its manifest states.
//!
//! BLAKE3 is a tree: that of the whole is put together from one value a chunk, each computed while the chunk is in
//! memory to be checked. All others are of the bytes in their order, which chunks do not come in: they are computed
//! over what the target holds, read back after a flush. Where the target keeps nothing (`write --check`), chunks are
//! taken in order.

mod in_order;
mod tree;

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::super::digest::{Digests, Hasher};
use super::super::error::StreamError;
use super::PackedError;
use super::check::PIECE;
use super::engine::Engine;
use super::target::HEAD;
use crate::events::Event;
use crate::model::digest::{Algorithm, StatedDigest};
use crate::model::stage::Stage;
use crate::pool::Buffer;
use in_order::InOrder;
use os_image::hex;
use os_image::index::{Chunk, Index};
use os_image::manifest::Image;
use tree::Tree;

/// Pieces that are read ahead of those that are digested.
const AHEAD: usize = 2;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// What of the whole has to be computed.
pub(super) struct Whole<'a> {
    url: &'a str,
    stated: &'a [StatedDigest],
    tree: Option<Tree<'a>>,
    in_order: Option<InOrder<'a>>,
    /// Computed over what is read back.
    read_back: Vec<Algorithm>,
}

impl<'a> Whole<'a> {
    /// What `stated` asks for, where the target keeps what is written, or `discards` it.
    pub(super) fn new(
        url: &'a str,
        index: &'a Index,
        stated: &'a [StatedDigest],
        discards: bool,
    ) -> Self {
        let is_stated = |algorithm| stated.iter().any(|it| it.algorithm == algorithm);
        let mut ordered = vec![Algorithm::Sha256, Algorithm::Md5];
        ordered.retain(|algorithm| is_stated(*algorithm));
        let in_order = discards && !ordered.is_empty();
        Self {
            url,
            stated,
            tree: is_stated(Algorithm::Blake3).then(|| Tree::new(index)),
            in_order: in_order.then(|| InOrder::new(index, &ordered)),
            read_back: if discards { Vec::new() } else { ordered },
        }
    }

    /// Whether chunks have to be taken in their order, by one worker.
    pub(super) fn is_in_order(&self) -> bool {
        self.in_order.is_some()
    }

    /// Digests a part of the tree of the whole, while `chunk` is read.
    pub(super) fn subtree(&self, chunk: &Chunk) -> Option<blake3::Hasher> {
        self.tree.as_ref().map(|_| tree::hasher(chunk))
    }

    /// Notes what came of it: the chunk is right.
    pub(super) fn put(&self, number: usize, subtree: Option<&blake3::Hasher>) {
        if let (Some(tree), Some(subtree)) = (&self.tree, subtree) {
            tree.put(number, subtree);
        }
    }

    /// Takes a chunk that has been checked. `false` where its turn has not come: then it has to come again.
    pub(super) fn take(&self, number: usize, chunk: &Chunk, raw: &[u8]) -> bool {
        if let Some(mut subtree) = self.subtree(chunk) {
            subtree.update(raw);
            self.put(number, Some(&subtree));
        }
        (self.in_order.as_ref()).is_none_or(|in_order| in_order.take(number, raw))
    }

    /// Computes what has to be computed and compares it with what is stated. Everything but the head is on the target.
    pub(super) fn verify(&self, engine: &Engine<'_, '_>) -> Result<Digests, StreamError> {
        let mut digests = Digests {
            length: engine.index.raw_size(),
            ..Digests::default()
        };
        if let Some(tree) = &self.tree {
            let root = tree.root(|| engine.client.is_cancelled())?;
            digests.put(Algorithm::Blake3, root);
        }
        if let Some(in_order) = &self.in_order {
            in_order.finish(&mut digests);
        }
        if !self.read_back.is_empty() {
            read_back(engine, &self.read_back, &mut digests)?;
        }
        for stated in self.stated {
            digests.verify(self.url, stated)?;
        }
        Ok(digests)
    }
}

/// What the manifest says of the whole has to be what others say: that is known before anything is fetched or written.
pub(super) fn check_claims(
    url: &str,
    image: &Image,
    stated: &[StatedDigest],
) -> Result<(), PackedError> {
    for stated in stated {
        let claim = match stated.algorithm {
            Algorithm::Sha256 => Some(hex::text(&image.raw_sha256)),
            Algorithm::Md5 => image.raw_md5.as_ref().map(|md5| hex::text(md5)),
            Algorithm::Blake3 => None,
        };
        if let Some(claim) = claim.filter(|claim| *claim != stated.digest) {
            return Err(PackedError::Claim {
                url: url.to_owned(),
                algorithm: stated.algorithm.name(),
                claim,
                stated: stated.digest.clone(),
                stated_by: stated.stated_by.clone(),
            });
        }
    }
    Ok(())
}

/// Reads the target from its beginning to the end of the image, and digests it.
fn read_back(
    engine: &Engine<'_, '_>,
    algorithms: &[Algorithm],
    digests: &mut Digests,
) -> Result<(), StreamError> {
    let names: Vec<&str> = algorithms
        .iter()
        .map(|algorithm| algorithm.name())
        .collect();
    let (name, names) = (&engine.name, names.join(" and "));
    engine.note(&format!("{name}: read back from the disk, for its {names}"));
    engine.target.flush_to_medium()?;
    let mut hashers: Vec<Hasher> = algorithms.iter().map(|it| Hasher::new(*it)).collect();
    let what = format!("{name}, read back");
    let size = engine.index.raw_size();
    thread::scope(|scope| {
        let (out, pieces) = sync_channel(AHEAD);
        let thread = thread::Builder::new().name("read back".to_owned());
        let reader = thread
            .spawn_scoped(scope, move || read(engine, &out))
            .map_err(|source| StreamError::Thread { source })?;
        let (mut done, mut told) = (0, Instant::now());
        for piece in pieces {
            let piece: Buffer = piece;
            for hasher in &mut hashers {
                hasher.update(&piece);
            }
            done += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if told.elapsed() >= TICK || done == size {
                told = Instant::now();
                engine.events.tell(&Event::Progress {
                    stage: Stage::Image,
                    what: what.clone(),
                    done_bytes: done,
                    total_bytes: Some(size),
                });
            }
        }
        reader.join().map_err(|_| StreamError::Panicked)?
    })?;
    for hasher in hashers {
        hasher.finish(digests);
    }
    Ok(())
}

/// Hands on what the target holds, piece by piece, and its head, which is still in memory.
fn read(engine: &Engine<'_, '_>, out: &SyncSender<Buffer>) -> Result<(), StreamError> {
    let mut left = engine.index.raw_size();
    let mut at = 0;
    while left > 0 {
        if engine.client.is_cancelled() {
            return Err(StreamError::Cancelled);
        }
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut buffer = engine.checks.take();
        let is_head = at == 0 && engine.target.copy_head(&mut buffer);
        if !is_head {
            let room = buffer.spare().get_mut(..length).unwrap_or_default();
            engine.target.read(room, at)?;
            buffer.grow(length);
        }
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        (at, left) = (at + length, left.saturating_sub(length));
        out.send(buffer).map_err(|_| StreamError::HungUp)?;
    }
    Ok(())
}

const _: () = assert!(HEAD == PIECE, "the head is the first piece");
