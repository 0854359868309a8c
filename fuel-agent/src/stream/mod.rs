//! The data path: an image from its source onto its device, every stage at work at the same time.
//!
//! ```text
//!  source ──256 KiB──▶ decode ──1 MiB──▶ sha256 ──▶ md5 ──▶ write      a thread each; `write` is the caller's
//!  http, file          gzip, xz, …       zero runs  if asked  direct, several at a time; zeros punched; head last
//! ```
//!
//! Buffers come from two fixed pools, so memory is the same for every image and whatever compressed data claims.
//! Nothing is written beyond the target, and nothing before the first bytes have shown to be what the request says. The
//! first MiB is written last, when everything else is on the disk and the digests agree: a half-written filesystem is
//! none.
//!
//! An archive goes the same way, but for the last stage: that makes its files in a filesystem which is mounted.

mod archive;
mod decode;
mod digest;
mod direct_write_queue;
mod error;
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
use crate::model::url::redacted;
use crate::pool::Pool;
use crate::source::reader::Reader;
use crate::source::{self, Meter, Source, TransferContext};
pub use archive::{Unpacking, unpack_archive};
use decode::Wanted;
use digest::Digests;
pub use error::{DIGEST_OPTION, StreamError};
use slice::Slice;
use write::Writer;

/// Bytes that are decoded, digested and written at once; also what is held back to the end.
const BLOCK_LENGTH: usize = 1 << 20;

/// How many such blocks there are, the one held back among them.
const BLOCK_COUNT: usize = 8;

/// What is known of an image from outside, before it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its length when unpacked.
    pub raw_size: Option<Bytes>,
    /// Digests of what is unpacked: every one of them is computed and compared.
    pub digests: Vec<StatedDigest>,
}

impl Expected {
    /// What can be known to be wrong with the digests before anything is computed.
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

    /// Whether what has come is what it should be.
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

    /// The algorithms that are needed, each once.
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
    /// Of a packed image only what others than its manifest state: the manifest is checked by its chunks.
    fn from(facts: &SourceFacts) -> Self {
        let mut digests = facts.stated.clone();
        if digests.is_empty() && facts.packed.is_none() {
            digests.extend(facts.stated_by("its metadata"));
        }
        Self {
            raw_size: facts.raw_size_bytes,
            digests,
        }
    }
}

/// One image to be written.
pub struct Job<'a> {
    /// Where it comes from.
    pub url: &'a str,
    /// How it is wrapped, by the request; its first bytes have to agree.
    pub container: Container,
    /// The filesystem type in it, by the request; nothing where that does not matter. No archive, whatever it says.
    pub format: &'a str,
    /// What is known of it.
    pub expected: Expected,
    /// Whether it may be written although no digest is known.
    pub allow_unverified: bool,
    /// What is known where it is a packed image: then its chunks are fetched, not a stream.
    pub packed: Option<packed::Packed<'a>>,
    /// Where it goes; nothing is written beyond its end.
    pub target: &'a mut dyn BlockDevice,
    /// What people call the target.
    pub device: &'a str,
    /// Speaks HTTP, and knows when somebody says stop.
    pub client: &'a Client,
    /// Hears of progress and retries.
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

/// What goes from one stage to the next. A stage that fails hangs up without `End`.
enum StreamMessage {
    /// The next bytes.
    Block(Block),
    /// Everything so far is void.
    StartOver,
    /// That was all; each digesting stage adds its own.
    End(Digests),
}

/// Some bytes of the image.
struct Block {
    /// Where they belong.
    at: u64,
    bytes: Slice,
    /// Which granules of it are nothing but zeros, lowest bit first.
    zeros: u32,
}

/// Writes an image, checks it, and makes sure that it is on the medium.
///
/// After an error the target holds something, but nothing that can be mounted as a filesystem that begins in its first
/// MiB.
pub fn write_image(job: Job<'_>) -> Result<ImageOutcome, StreamError> {
    if let Some(packed) = job.packed {
        return packed::write(job, packed);
    }
    let parts = Pool::new(PART_COUNT, PART_LENGTH);
    let blocks = Pool::new(BLOCK_COUNT, BLOCK_LENGTH);
    write_within(job, &parts, &blocks)
}

/// The same with buffers of these two pools and no others.
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

/// The stage that writes what flows, and verifies it at the end.
type Last<'a> =
    Box<dyn FnOnce(&Meter, &Receiver<StreamMessage>) -> Result<Digests, StreamError> + 'a>;

/// Where bytes come from and what they have to be, whatever becomes of them.
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
    /// What can be known to be wrong before anything is fetched or written.
    fn check(&self) -> Result<(), StreamError> {
        let url = redacted(self.url);
        self.expected.check(&url)?;
        if self.expected.digests.is_empty() && !self.allow_unverified {
            return Err(StreamError::Unverified { url });
        }
        Ok(())
    }

    /// Lets everything flow into `last`, the stage of the caller.
    fn into(
        self,
        parts: &Pool,
        blocks: &Pool,
        last: Last<'_>,
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
        let wanted = Wanted {
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
            // whoever is still waiting for a server has nothing to wait for any more
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
            digests_checked: expected.digests.iter().map(CheckedDigest::from).collect(),
            retries: meter.retries(),
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            packed: None,
            url,
        })
    }
}

/// Where an image comes from, by how it is read.
enum Origin<'a> {
    /// From its beginning to its end.
    Stream(Box<dyn Source + 'a>),
    /// Where its tables say.
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

    /// A stage that digests what passes through it.
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

    /// Waits for all of them; of several errors the one that is a cause wins over those that only follow.
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
