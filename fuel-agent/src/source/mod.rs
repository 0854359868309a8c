//! Facts about images, and their bytes, from a server or a file alike.
//!
//! ```text
//!   probe      what the images of a request are, before anything is touched
//!   sidecar    the metadata beside the root image
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
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod check;
mod document;
mod fetch;
mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod manifest;
mod packed;
pub mod policy;
pub(crate) mod prefix;
mod probe;
pub(crate) mod range;
pub(crate) mod reader;
mod sidecar;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use host::cancel::Cancel;

use self::fetch::Fetch;
use self::file::FileSource;
use crate::events::Events;
use os_image::manifest::{manifest_file_name, signature_file_name};
use os_image::metadata;

use crate::http::address::{self, Address};
use crate::http::client::Client;
use crate::http::error::HttpError;
use crate::model::request::Container;
use crate::model::url::redacted;
use crate::pool::{Buffer, Pool};

pub use self::document::document;
pub use self::manifest::{FoundManifest, ManifestProblem, manifest};
pub(crate) use self::packed::bound_to;
pub use self::probe::{ProbeOptions, probe_images};

/// Result of reading from a source.
#[derive(Debug)]
pub enum SourceEvent {
    /// The next bytes.
    Bytes(Buffer),
    /// Everything so far is void: the image follows from its beginning again.
    StartOver,
    /// The image is complete.
    End,
}

/// The bytes of an image, in order. Interruptions are handled inside; an error is final.
pub trait Source: Send {
    /// Waits for the next bytes.
    fn next(&mut self) -> Result<SourceEvent, HttpError>;
}

/// Counters of a transfer, readable from other threads. Clones share them.
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
    /// Bytes received; bytes received twice count twice.
    pub fn fetched(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }

    /// Length of the file, once known.
    pub fn total(&self) -> Option<u64> {
        // no image is empty, so 0 stands for unknown
        Some(self.0.total.load(Ordering::Relaxed)).filter(|total| *total != 0)
    }

    /// Number of reconnections, to resume or to start over.
    pub fn retries(&self) -> u32 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// Adds a start over; returns how many there were.
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
        let before = self.0.start_overs.fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1)
    }
}

/// What a source needs besides its address.
#[derive(Clone)]
pub struct TransferContext<'a> {
    /// Container by the request.
    pub container: Container,
    /// Buffers to fill.
    pub pool: Pool,
    /// Counters to update.
    pub meter: Meter,
    /// Cancels the transfer.
    pub stop: Cancel,
    /// Receives warnings about retries.
    pub events: &'a dyn Events,
}

impl fmt::Debug for TransferContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferContext")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// Addresses of what may lie beside an image and is read with it: metadata, manifest, and their signatures.
pub(crate) fn files_beside(url: &str) -> Vec<String> {
    let name = address::base_name(url);
    let documents = [metadata::file_name(&name), manifest_file_name(&name)];
    let signed = documents.map(|name| [signature_file_name(&name), name]);
    let beside = signed.into_iter().flatten();
    beside
        .filter_map(|name| address::beside(url, &name))
        .collect()
}

/// The source at `url`. No request is made before the first read.
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
        Address::File(path) => {
            Box::new(FileSource::open(&client.settings().files, &path, context)?)
        }
    })
}
