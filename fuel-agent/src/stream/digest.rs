//! Stages that digest what passes through them; the first also finds the zeros.

use std::fmt::Write;
use std::sync::mpsc::{Receiver, SyncSender};

use sha2::Digest;

use super::decode::send;
use super::error::StreamError;
use super::{BLOCK_LENGTH, Block, StreamMessage};
use crate::model::digest::{Algorithm, StatedDigest};

/// Zeros are detected in units of this many bytes.
pub(super) const GRANULE: usize = 64 * 1024;

const _: () = assert!(BLOCK_LENGTH / GRANULE <= 32, "a bit for each granule");

static ZEROS: [u8; GRANULE] = [0; GRANULE];

/// Length and digests of a complete image; a digest that was not computed is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) length: u64,
    pub(super) sha256: Option<String>,
    pub(super) blake3: Option<String>,
    pub(super) md5: Option<String>,
}

impl Digests {
    fn place(&mut self, algorithm: Algorithm) -> &mut Option<String> {
        match algorithm {
            Algorithm::Sha256 => &mut self.sha256,
            Algorithm::Blake3 => &mut self.blake3,
            Algorithm::Md5 => &mut self.md5,
        }
    }

    /// Stores a digest that was computed.
    pub(super) fn put(&mut self, algorithm: Algorithm, digest: String) {
        *self.place(algorithm) = Some(digest);
    }

    /// The digest by `algorithm`, in lower-case hexadecimal.
    pub(super) fn of(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.as_deref(),
            Algorithm::Blake3 => self.blake3.as_deref(),
            Algorithm::Md5 => self.md5.as_deref(),
        }
    }

    /// Compares with a stated digest. A digest that was not computed never matches.
    pub(super) fn verify(&self, url: &str, stated: &StatedDigest) -> Result<(), StreamError> {
        let found = self.of(stated.algorithm).unwrap_or("not known");
        if found.eq_ignore_ascii_case(&stated.digest) {
            return Ok(());
        }
        Err(StreamError::Digest {
            url: url.to_owned(),
            algorithm: stated.algorithm.name(),
            found: found.to_owned(),
            expected: stated.digest.to_lowercase(),
            stated_by: stated.stated_by.clone(),
        })
    }
}

/// A hash function in progress.
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    Blake3(Box<blake3::Hasher>),
    Md5(md5::Md5),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Blake3 => Self::Blake3(Box::default()),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => drop(hasher.update(bytes)),
            Self::Md5(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self, digests: &mut Digests) {
        match self {
            Self::Sha256(hasher) => digests.put(Algorithm::Sha256, hex(&hasher.finalize())),
            Self::Blake3(hasher) => {
                digests.put(Algorithm::Blake3, hex(hasher.finalize().as_bytes()));
            }
            Self::Md5(hasher) => digests.put(Algorithm::Md5, hex(&hasher.finalize())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a `String` cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Digests everything from `input` and passes it on.
pub(super) fn run(
    algorithm: Algorithm,
    input: &Receiver<StreamMessage>,
    out: &SyncSender<StreamMessage>,
) -> Result<(), StreamError> {
    let mut hasher = Hasher::new(algorithm);
    loop {
        match input.recv().map_err(|_| StreamError::HungUp)? {
            StreamMessage::Block(mut block) => {
                hasher.update(&block.bytes);
                if algorithm == Algorithm::Sha256 {
                    block.zeros = zeros(&block);
                }
                send(out, StreamMessage::Block(block))?;
            }
            StreamMessage::StartOver => {
                hasher = Hasher::new(algorithm);
                send(out, StreamMessage::StartOver)?;
            }
            StreamMessage::End(mut digests) => {
                hasher.finish(&mut digests);
                return send(out, StreamMessage::End(digests));
            }
        }
    }
}

/// The granules of a block that are all zeros, lowest bit first.
fn zeros(block: &Block) -> u32 {
    let mut bit = 1;
    let mut found = 0;
    for granule in block.bytes.chunks(GRANULE) {
        // compiles to `memcmp`, which runs at memory bandwidth
        if ZEROS.get(..granule.len()) == Some(granule) {
            found |= bit;
        }
        bit <<= 1;
    }
    found
}
