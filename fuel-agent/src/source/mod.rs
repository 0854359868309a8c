//! What an image is, and where its bytes come from: one kind of bytes, whether a server or a file has them.
//!
//! ```text
//!   probe      what the images of a request are, before anything is touched
//!   packed     the same for packed images, with their mirrors
//!   manifest   the manifest of a packed image
//!   prefix     the first bytes of an image out of its container
//!   check      what they have to be
//!   document   a whole small file: a request, metadata
//!   fetch      an image as a stream, resumed and started over
//!   file       the same from a file
//!   range      parts of an image, as asked for
//!   reader     an image that is read back and forth
//! ```

pub mod check;
mod document;
mod fetch;
mod file;
mod manifest;
mod packed;
pub mod policy;
pub(crate) mod prefix;
mod probe;
pub(crate) mod range;
pub(crate) mod reader;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use host::cancel::Cancel;

use self::fetch::Fetch;
use self::file::FileSource;
use crate::events::Events;
use crate::http::address::Address;
use crate::http::client::Client;
use crate::http::error::HttpError;
use crate::model::request::Container;
use crate::model::url::redacted;
use crate::pool::{Buffer, Pool};

pub use self::document::document;
pub use self::manifest::{FoundManifest, ManifestProblem, manifest};
pub use self::probe::{ProbeOptions, look};

/// What comes next.
#[derive(Debug)]
pub enum SourceEvent {
    /// Bytes that follow those before.
    Bytes(Buffer),
    /// Everything so far is void: what follows is the beginning again.
    StartOver,
    /// That was all.
    End,
}

/// Gives the bytes of an image, in order, whatever happens on the way; an error is final.
pub trait Source: Send {
    /// The next piece; waits for it.
    fn next(&mut self) -> Result<SourceEvent, HttpError>;
}

/// How a transfer is going, for those who watch from another thread. Clones watch the same transfer.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    fetched: AtomicU64,
    total: AtomicU64,
    retries: AtomicU32,
    start_overs: AtomicU32,
}

impl Meter {
    /// Bytes that came, those that came twice counted twice.
    pub fn fetched(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }

    /// Bytes that will come in all, once known.
    pub fn total(&self) -> Option<u64> {
        // no image is empty, so 0 can stand for unknown
        Some(self.0.total.load(Ordering::Relaxed)).filter(|total| *total != 0)
    }

    /// How often a connection was made again, be it to go on or to start over.
    pub fn retries(&self) -> u32 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// How often it started over.
    pub fn start_overs(&self) -> u32 {
        self.0.start_overs.load(Ordering::Relaxed)
    }

    pub(super) fn add_fetched(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.fetched.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_total(&self, total: Option<u64>) {
        self.0.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn add_retry(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_start_over(&self) -> u32 {
        self.0.start_overs.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What a source is given beside its address.
#[derive(Clone)]
pub struct TransferContext<'a> {
    /// What it is wrapped in, by the request.
    pub container: Container,
    /// Buffers to fill.
    pub pool: Pool,
    /// Where it counts.
    pub meter: Meter,
    /// Ends it.
    pub stop: Cancel,
    /// Hears of retries.
    pub events: &'a dyn Events,
}

impl fmt::Debug for TransferContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferContext")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// The source that `url` names. Nothing is asked of anybody before its first piece is.
pub fn open<'a>(
    client: &Client,
    url: &str,
    context: TransferContext<'a>,
) -> Result<Box<dyn Source + 'a>, HttpError> {
    Ok(match Address::parse(url)? {
        Address::Web(url) => {
            let name = redacted(url.as_str());
            Box::new(Fetch::new(client.clone(), url, name, context))
        }
        Address::File(path) => Box::new(FileSource::open(&path, context)?),
    })
}
