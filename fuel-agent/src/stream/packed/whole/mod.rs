//! Digests of the whole image that others than its manifest state.
//!
//! BLAKE3 is a tree: the root is merged from one value per chunk, computed while the chunk is in memory to be verified.
//! The other digests need the bytes in order, and chunks arrive in any order: they are computed over the target's
//! content, read back after a flush. If the target discards what is written (`write --check`), chunks are processed in
//! order.

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

/// Pieces read ahead of the digesting thread.
const AHEAD: usize = 2;

/// Interval of progress events.
const TICK: Duration = Duration::from_millis(100);

/// The digests that have to be computed.
pub(super) struct Whole<'a> {
    url: &'a str,
    stated: &'a [StatedDigest],
    tree: Option<Tree<'a>>,
    in_order: Option<InOrder<'a>>,
    /// Digests computed over what is read back.
    read_back: Vec<Algorithm>,
}

impl<'a> Whole<'a> {
    /// Digests for `stated`; `discards` if the target does not keep what is written.
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

    /// Whether a single worker has to process the chunks in order.
    pub(super) fn is_in_order(&self) -> bool {
        self.in_order.is_some()
    }

    /// A hasher for the chunk's value in the tree of the whole, if that is needed.
    pub(super) fn subtree(&self, chunk: &Chunk) -> Option<blake3::Hasher> {
        self.tree.as_ref().map(|_| tree::hasher(chunk))
    }

    /// Stores the value of a verified chunk.
    pub(super) fn put(&self, number: usize, subtree: Option<&blake3::Hasher>) {
        if let (Some(tree), Some(subtree)) = (&self.tree, subtree) {
            tree.put(number, subtree);
        }
    }

    /// Digests a verified chunk. `false` if chunks are needed in order and this is not the next one: it has to be
    /// fetched again.
    pub(super) fn take(&self, number: usize, chunk: &Chunk, raw: &[u8]) -> bool {
        if let Some(mut subtree) = self.subtree(chunk) {
            subtree.update(raw);
            self.put(number, Some(&subtree));
        }
        (self.in_order.as_ref()).is_none_or(|in_order| in_order.take(number, raw))
    }

    /// Computes the digests and compares them with the stated ones. Everything but the head is on the target by then.
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

/// Compares the manifest's digests of the whole with the stated ones, before anything is fetched or written.
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

/// Digests the target from its beginning to the end of the image.
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
        let (mut done, mut reported_at) = (0, Instant::now());
        for piece in pieces {
            let piece: Buffer = piece;
            for hasher in &mut hashers {
                hasher.update(&piece);
            }
            done += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if reported_at.elapsed() >= TICK || done == size {
                reported_at = Instant::now();
                engine.events.emit(&Event::Progress {
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

/// Sends the target's content piece by piece; the head is still in memory.
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
