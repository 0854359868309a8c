//! Stages that digest what passes through them; the first also finds the zeros.

use std::fmt::Write;
use std::sync::mpsc::{Receiver, SyncSender};

use sha2::Digest;

use super::decode::send;
use super::error::StreamError;
use super::{BLOCK_LENGTH, Block, StreamMessage};
use crate::source::check::is_hexadecimal;

/// Runs of zeros are found in pieces of this many bytes.
pub(super) const GRANULE: usize = 64 * 1024;

const _: () = assert!(BLOCK_LENGTH / GRANULE <= 32, "a bit for each granule");

static ZEROS: [u8; GRANULE] = [0; GRANULE];

/// Which digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    /// Whether `text` can be such a digest in hexadecimal.
    pub(super) fn accepts(self, text: &str) -> bool {
        let length = match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        };
        is_hexadecimal(text, length)
    }
}

/// What is known of an image when all of it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) length: u64,
    pub(super) sha256: Option<String>,
    pub(super) md5: Option<String>,
}

impl Digests {
    /// The one by `algorithm`.
    pub(super) fn of(&self, algorithm: Algorithm) -> &str {
        let found = match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Md5 => &self.md5,
        };
        found.as_deref().unwrap_or("not known")
    }
}

enum Hasher {
    Sha256(sha2::Sha256),
    Md5(md5::Md5),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self, digests: &mut Digests) {
        match self {
            Self::Sha256(hasher) => digests.sha256 = Some(hex(&hasher.finalize())),
            Self::Md5(hasher) => digests.md5 = Some(hex(&hasher.finalize())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a string does not fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Digests everything from `input` and hands it on.
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

/// Which granules of a block are zeros.
fn zeros(block: &Block) -> u32 {
    let mut bit = 1;
    let mut found = 0;
    for granule in block.bytes.chunks(GRANULE) {
        // a comparison of memory: as fast as memory is
        if granule == &ZEROS[..granule.len()] {
            found |= bit;
        }
        bit <<= 1;
    }
    found
}
