//! The data path: an image from its source onto its device, with all stages running at once.
//!
//! ```text
//!  source ──256 KiB──▶ decode ──1 MiB──▶ sha256 ──▶ md5 ──▶ write      a thread each; `write` is the caller's
//!  http, file          gzip, xz, …       zero runs  if asked  direct, several at a time; zeros punched; head last
//! ```
//!
//! Buffers come from two fixed pools, so memory use does not depend on the image or on what compressed data claims.
//! Nothing is written beyond the target, and nothing before the first bytes have been compared with the request. The
//! first MiB is written last, when everything else is on the disk and the digests match, so that an incomplete
//! filesystem cannot be mounted.
//!
//! An archive takes the same path except for the last stage, which writes its files into a mounted filesystem.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod archive;
mod decode;
mod digest;
mod direct_write_queue;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
pub mod packed;
mod progress;
mod slice;
mod write;

#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

use host::blockdev::BlockDevice;
use host::cancel::Cancel;
use host::units::Bytes;

use crate::events::Events;
use crate::http::{Client, PART_COUNT, PART_LENGTH};
use crate::model::digest::{Algorithm, StatedDigest};
use crate::model::report::{CheckedDigest, ImageOutcome};
use crate::model::request::Container;
use crate::model::sources::SourceFacts;
use crate::model::trust::Trust;
use crate::model::url::redacted;
use crate::pool::Pool;
use crate::source::reader::Reader;
use crate::source::{self, Meter, Source, TransferContext};
pub use archive::{Unpacking, unpack_archive};
use decode::RequestedImage;
use digest::Digests;
pub use error::{DIGEST_OPTION, StreamError};
use slice::Slice;
use write::Writer;

/// Bytes that are decoded, digested and written at once; also the length of the head.
const BLOCK_LENGTH: usize = 1 << 20;

/// Number of these blocks, including the head.
const BLOCK_COUNT: usize = 8;

/// Length and digests of an image that others state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Length when unpacked.
    pub raw_size: Option<Bytes>,
    /// Digests of the unpacked image; each one is computed and compared.
    pub digests: Vec<StatedDigest>,
    /// What they are worth, for the report.
    pub trust: Trust,
}

impl Expected {
    /// Checks that the digests are well-formed.
    fn check(&self, url: &str) -> Result<(), StreamError> {
        let wrong = |stated: &&StatedDigest| !stated.algorithm.accepts(&stated.digest);
        match self.digests.iter().find(wrong) {
            None => Ok(()),
            Some(stated) => Err(StreamError::NoDigest {
                url: url.to_owned(),
                given: stated.digest.clone(),
                algorithm: stated.algorithm.name(),
            }),
        }
    }

    /// Compares the image received with what is stated.
    fn verify(&self, url: &str, digests: &Digests) -> Result<(), StreamError> {
        if let Some(size) = self.raw_size
            && size != Bytes(digests.length)
        {
            return Err(StreamError::Length {
                url: url.to_owned(),
                found: Bytes(digests.length),
                more: false,
                expected: size,
            });
        }
        for stated in &self.digests {
            digests.verify(url, stated)?;
        }
        Ok(())
    }

    /// The algorithms needed, each once.
    fn algorithms(&self) -> Vec<Algorithm> {
        let mut found = Vec::new();
        for stated in &self.digests {
            if !found.contains(&stated.algorithm) {
                found.push(stated.algorithm);
            }
        }
        found
    }
}

impl From<&SourceFacts> for Expected {
    /// For a packed image, only what others than its manifest state: its chunks are compared with the manifest.
    fn from(facts: &SourceFacts) -> Self {
        let mut digests = facts.stated.clone();
        if digests.is_empty() && facts.packed.is_none() {
            digests.extend(facts.stated_by("its metadata"));
        }
        Self {
            raw_size: facts.raw_size_bytes,
            digests,
            trust: facts.trust(),
        }
    }
}

/// One image to be written.
pub struct Job<'a> {
    /// Its URL.
    pub url: &'a str,
    /// Container by the request; the first bytes have to agree.
    pub container: Container,
    /// Filesystem type by the request, or empty if any will do. An archive is refused in any case.
    pub format: &'a str,
    /// Length and digests that others state.
    pub expected: Expected,
    /// Whether an image without a known digest may be written.
    pub allow_unverified: bool,
    /// For a packed image: its chunks are fetched instead of a stream.
    pub packed: Option<packed::Packed<'a>>,
    /// Target; nothing is written beyond its end.
    pub target: &'a mut dyn BlockDevice,
    /// Path of the target, for messages.
    pub device: &'a str,
    /// HTTP client; also carries cancellation.
    pub client: &'a Client,
    /// Receives progress and retries.
    pub events: &'a dyn Events,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("url", &redacted(self.url))
            .field("container", &self.container)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Message from one stage to the next. A stage that fails drops its channel without sending `End`.
enum StreamMessage {
    /// The next bytes.
    Block(Block),
    /// The source starts over: everything so far is void.
    StartOver,
    /// End of the image; each digesting stage adds its digest.
    End(Digests),
}

/// Consecutive bytes of the image.
struct Block {
    /// Offset in the image, in bytes.
    at: u64,
    bytes: Slice,
    /// Granules that are all zeros, lowest bit first.
    zeros: u32,
}

/// Writes an image, verifies it, and returns when it is on the medium.
///
/// After an error the target holds part of the image, but no filesystem that begins in its first MiB can be mounted.
pub fn write_image(job: Job<'_>) -> Result<ImageOutcome, StreamError> {
    if let Some(packed) = job.packed {
        return packed::write(job, packed);
    }
    let parts = Pool::new(PART_COUNT, PART_LENGTH);
    let blocks = Pool::new(BLOCK_COUNT, BLOCK_LENGTH);
    write_within(job, &parts, &blocks)
}

/// [`write_image`] with the given pools.
fn write_within(job: Job<'_>, parts: &Pool, blocks: &Pool) -> Result<ImageOutcome, StreamError> {
    let pipeline = Pipeline {
        url: job.url,
        container: job.container,
        format: job.format,
        expected: job.expected.clone(),
        allow_unverified: job.allow_unverified,
        client: job.client,
        events: job.events,
    };
    pipeline.check()?;
    match job.expected.raw_size {
        Some(size) if size > job.target.size() => Err(StreamError::TooLarge {
            url: redacted(job.url),
            device: job.device.to_owned(),
            size: job.target.size(),
            needed: Some(size),
        }),
        _ => {
            let write =
                |meter: &Meter, end: &Receiver<StreamMessage>| Writer::new(job, meter)?.run(end);
            pipeline.into(parts, blocks, Box::new(write))
        }
    }
}

/// The last stage: writes or unpacks the blocks, then verifies the image.
type LastStage<'a> =
    Box<dyn FnOnce(&Meter, &Receiver<StreamMessage>) -> Result<Digests, StreamError> + 'a>;

/// Everything about the source, independent of the target.
struct Pipeline<'a> {
    url: &'a str,
    container: Container,
    format: &'a str,
    expected: Expected,
    allow_unverified: bool,
    client: &'a Client,
    events: &'a dyn Events,
}

impl Pipeline<'_> {
    /// Checks that need neither network nor target.
    fn check(&self) -> Result<(), StreamError> {
        let url = redacted(self.url);
        self.expected.check(&url)?;
        if self.expected.digests.is_empty() && !self.allow_unverified {
            return Err(StreamError::Unverified { url });
        }
        Ok(())
    }

    /// Runs all stages; `last` runs on the calling thread.
    fn into(
        self,
        parts: &Pool,
        blocks: &Pool,
        last: LastStage<'_>,
    ) -> Result<ImageOutcome, StreamError> {
        let started = Instant::now();
        let (meter, stop) = (Meter::default(), Cancel::new());
        let context = TransferContext {
            container: self.container,
            pool: parts.clone(),
            meter: meter.clone(),
            stop: stop.clone(),
            events: self.events,
        };
        let url = redacted(self.url);
        let wanted = RequestedImage {
            url: &url,
            container: self.container,
            format: self.format,
        };
        let input = Origin::open(&self, context)?;
        let expected = &self.expected;
        let digests = thread::scope(|scope| {
            let mut stages = Stages::default();
            let (out, end) = sync_channel(BLOCK_COUNT);
            stages.spawn(scope, "decode", move || match input {
                Origin::Stream(source) => decode::run(source, wanted, blocks, &out),
                Origin::Disk(reader) => decode::qcow2::run(&reader, wanted, blocks, &out),
            })?;
            let mut end = stages.digest(scope, Algorithm::Sha256, end)?;
            let others = expected.algorithms().into_iter();
            for algorithm in others.filter(|algorithm| *algorithm != Algorithm::Sha256) {
                end = stages.digest(scope, algorithm, end)?;
            }
            let done = last(&meter, &end);
            // pending requests are dropped
            stop.cancel();
            drop(end);
            stages.join(done)
        })?;
        Ok(ImageOutcome {
            fetched_bytes: Bytes(meter.fetched()),
            raw_bytes: Bytes(digests.length),
            raw_sha256: digests.sha256.unwrap_or_default(),
            raw_sha256_computed: true,
            raw_md5: digests.md5,
            raw_blake3: digests.blake3,
            verified: !expected.digests.is_empty(),
            trust: expected.trust,
            digests_checked: expected.digests.iter().map(CheckedDigest::from).collect(),
            retries: meter.retries(),
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            packed: None,
            url,
        })
    }
}

/// The source, by access pattern.
enum Origin<'a> {
    /// Read from the beginning to the end.
    Stream(Box<dyn Source + 'a>),
    /// Read where the tables of the disk image point.
    Disk(Reader<'a>),
}

impl<'a> Origin<'a> {
    fn open(pipeline: &Pipeline<'_>, context: TransferContext<'a>) -> Result<Self, StreamError> {
        Ok(match pipeline.container {
            Container::Qcow2 => Self::Disk(Reader::new(pipeline.client, pipeline.url, context)?),
            _ => Self::Stream(source::open(pipeline.client, pipeline.url, context)?),
        })
    }
}

/// The threads of one image.
#[derive(Default)]
struct Stages<'scope>(Vec<ScopedJoinHandle<'scope, Result<(), StreamError>>>);

impl<'scope> Stages<'scope> {
    fn spawn<'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        name: &str,
        work: impl FnOnce() -> Result<(), StreamError> + Send + 'scope,
    ) -> Result<(), StreamError> {
        let thread = thread::Builder::new().name(name.to_owned());
        let handle = thread
            .spawn_scoped(scope, work)
            .map_err(|source| StreamError::Thread { source })?;
        self.0.push(handle);
        Ok(())
    }

    /// Adds a stage that digests what passes through it.
    fn digest<'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        algorithm: Algorithm,
        input: Receiver<StreamMessage>,
    ) -> Result<Receiver<StreamMessage>, StreamError> {
        let (out, end): (SyncSender<StreamMessage>, _) = sync_channel(BLOCK_COUNT);
        self.spawn(scope, algorithm.name(), move || {
            digest::run(algorithm, &input, &out)
        })?;
        Ok(end)
    }

    /// Waits for all stages. Of several errors, one that is a cause wins over those that follow from it.
    fn join(self, written: Result<Digests, StreamError>) -> Result<Digests, StreamError> {
        let mut result = written;
        for handle in self.0 {
            match (handle.join(), &result) {
                (Err(_), _) => result = Err(StreamError::Panicked),
                (Ok(Err(cause)), Err(StreamError::HungUp)) => result = Err(cause),
                (Ok(_), _) => {}
            }
        }
        result
    }
}
