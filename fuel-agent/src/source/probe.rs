//! Probes the images of a request before anything is touched: sizes, containers, digests.
//!
//! Only cancellation makes the probe fail as a whole. A problem of an image becomes part of its facts, where `plan`
//! shows it and `run` refuses it.

use std::path::Path;
use std::time::Duration;

use crate::http::header::{HeaderValue, RANGE};
use crate::model::url::{RedactedUrl, redacted};
use host::cancel::Cancel;
use host::units::Bytes;
use os_image::container::{FileFormat, HEAD_LENGTH};
use os_image::disk::DiskImageError;
use url::Url;

use super::check::{check_head, disk_size};
use super::file;
use super::packed;
use super::policy::Signers;
use super::prefix::{self, Beginning, FETCH_MAX};
use super::reader::Reader;
use super::sidecar::SidecarMetadata;
use super::{Meter, TransferContext};
use crate::events::Silence;
use crate::http::address::{self, Address};
use crate::http::client::{Client, PART_LENGTH, Request, Response};
use crate::http::error::HttpError;
use crate::http::retry::{Retry, chain};
use crate::model::mismatch::{Mismatch, container_of};
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::{SourceFacts, Sources};
use crate::model::storage::Mount;
use crate::pool::Pool;

/// Bytes of an image that are examined first.
const PROBE_FIRST: usize = 64 * 1024;

/// Options for packed images.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeOptions<'a> {
    /// Signatures that are believed.
    pub signers: Signers<'a>,
    /// URLs of folders on other servers with the same files.
    pub mirrors: &'a [RedactedUrl],
}

/// Collects the facts of all images: from their servers, from the YAML beside the root image, and from manifests.
pub fn probe_images(
    client: &Client,
    images: &[ImageSpec],
    probe_options: ProbeOptions<'_>,
) -> Result<Sources, HttpError> {
    let root = images
        .iter()
        .find(|image| image.mount == Mount::Path("/".to_owned()));
    let mut retries = RetryBudget(client.settings().retry_budget);
    let found = SidecarMetadata::fetch(
        client,
        root.map(|root| root.url.reveal()),
        probe_options.signers,
        &mut retries,
    )?;
    let mut sources = Sources::default();
    for image in images {
        let probed = probe_anywhere(client, image, probe_options.mirrors, &mut retries)?;
        let mut facts = probed.unwrap_or_else(|error| SourceFacts {
            problem: Some(chain(&error)),
            problem_hint: error.hint().map(str::to_owned),
            ..SourceFacts::default()
        });
        if image.may_be_packed() {
            let root = root.map(|root| root.url.reveal());
            packed::join(
                client,
                image.url.reveal(),
                root,
                probe_options,
                &mut retries,
                &mut facts,
            )?;
        }
        found.join(image.url.reveal(), &mut facts);
        sources.images.insert(image.url.clone(), facts);
    }
    Ok(sources)
}

/// Probes an image at its own server and, if that fails and the image may be packed, at the mirrors. Other images are
/// fetched from their own server only.
fn probe_anywhere(
    client: &Client,
    image: &ImageSpec,
    mirrors: &[RedactedUrl],
    retries: &mut RetryBudget,
) -> Result<Result<SourceFacts, HttpError>, HttpError> {
    let first = retries.spend(|budget| probe(client, image.url.reveal(), image, budget))?;
    let Err(error) = first else { return Ok(first) };
    let name = address::base_name(image.url.reveal());
    let others = mirrors.iter().filter(|_| image.may_be_packed());
    for other in others.filter_map(|base| address::within(base.reveal(), &name)) {
        let probed = retries.spend(|budget| probe(client, &other, image, budget))?;
        if probed.is_ok() {
            return Ok(probed);
        }
    }
    Ok(Err(error))
}

/// One retry budget for all images: a server that is down is waited for once, not once per image.
pub(super) struct RetryBudget(Duration);

impl RetryBudget {
    /// Runs `ask` with the budget; only cancellation is an error of the outer result.
    pub(super) fn spend<T>(
        &mut self,
        ask: impl FnOnce(Duration) -> Result<T, HttpError>,
    ) -> Result<Result<T, HttpError>, HttpError> {
        match ask(self.0) {
            Err(HttpError::Cancelled) => Err(HttpError::Cancelled),
            Err(error) => {
                if matches!(error, HttpError::Exhausted { .. }) {
                    self.0 = Duration::ZERO;
                }
                Ok(Err(error))
            }
            Ok(found) => Ok(Ok(found)),
        }
    }
}

/// Facts of an image at its own URL or a mirror's.
fn probe(
    client: &Client,
    at: &str,
    image: &ImageSpec,
    budget: Duration,
) -> Result<SourceFacts, HttpError> {
    let container = image.container;
    let (start, mut facts) = match Address::parse(at)? {
        Address::Web(url) => probe_web(client, &url, container, budget)?,
        Address::File(path) => probe_file(client, &path)?,
    };
    let head = start.get(..HEAD_LENGTH).unwrap_or(&start);
    facts.container = container_of(FileFormat::by(head));
    if facts.container == Some(Container::Raw) && container == Container::Raw {
        facts.raw_size_bytes = facts.size_bytes;
    }
    if let (Some(Container::Qcow2), Ok(size)) = (facts.container, disk_size(head)) {
        facts.raw_size_bytes = Some(size);
    }
    // `Content-Encoding` explains unexpected first bytes better than they do, so it is checked first
    let checked = check_head(head, container, image.format.as_str());
    let checked = checked.and_then(|()| identify_content(client, at, &start, &mut facts));
    if let Err(why) = checked {
        facts.complain(format!("{} {why}", redacted(at)), Some(why.hint()));
    }
    Ok(facts)
}

/// Identifies the content as far as the beginning shows. For a qcow2 image the beginning of its disk is read.
fn identify_content(
    client: &Client,
    at: &str,
    start: &[u8],
    facts: &mut SourceFacts,
) -> Result<(), Mismatch> {
    let Some(container) = facts.container else {
        return Ok(());
    };
    facts.content = prefix::content(beginning(start, facts.size_bytes), container)?;
    if facts.content.is_some() || container != Container::Qcow2 || facts.ranges == Some(false) {
        return Ok(());
    }
    let context = TransferContext {
        container,
        pool: Pool::new(1, PART_LENGTH),
        meter: Meter::default(),
        stop: Cancel::new(),
        events: &Silence,
    };
    let Ok(reader) = Reader::new(client, at, context) else {
        return Ok(());
    };
    match prefix::first_of_disk(&reader) {
        Ok(head) => facts.content = Some(prefix::identify(&head)),
        // left to the data path, which reports it
        Err(DiskImageError::Io(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

const fn beginning(bytes: &[u8], size: Option<Bytes>) -> Beginning<'_> {
    let size = match size {
        Some(Bytes(size)) => Some(size),
        None => None,
    };
    Beginning { bytes, size }
}

/// Collects the beginning of an image until its content can be identified.
#[derive(Default)]
struct Start {
    bytes: Vec<u8>,
    /// Length at the last attempt to identify it.
    examined: usize,
}

impl Start {
    /// Whether no more is needed. Tried each time the length has doubled: some containers need many bytes for one
    /// block.
    fn is_enough(&mut self, size: Option<u64>) -> bool {
        if self.bytes.len() >= FETCH_MAX {
            return true;
        }
        if self.bytes.len() < PROBE_FIRST.max(self.examined.saturating_mul(2)) {
            return false;
        }
        self.examined = self.bytes.len();
        let Some(container) = container_of(FileFormat::by(&self.bytes)) else {
            return true;
        };
        let file = Beginning {
            bytes: &self.bytes,
            size,
        };
        !matches!(prefix::content(file, container), Ok(None))
    }
}

/// One request finds the first bytes, the length, and whether ranges are supported.
fn probe_web(
    client: &Client,
    url: &Url,
    container: Container,
    budget: Duration,
) -> Result<(Vec<u8>, SourceFacts), HttpError> {
    let name = redacted(url.as_str());
    let retry = Retry::new(client, &name, budget);
    retry.until_done(client, || {
        let range = HeaderValue::from_str(&format!("bytes=0-{}", FETCH_MAX - 1));
        let longest = u64::try_from(FETCH_MAX).unwrap_or(u64::MAX);
        let mut request =
            Request::document(client, url.clone(), longest).pool(&Pool::new(2, PROBE_FIRST));
        if let Ok(range) = range {
            request = request.header(RANGE, range);
        }
        let Response { head, mut body } = client.send(request)?;
        let (size, ranges) = match head.status {
            200 => (head.length, false),
            206 => match head.check_part(0) {
                Ok(range) => (range.total, true),
                Err(why) => {
                    let url = name.clone();
                    return Err(HttpError::Answer { url, why });
                }
            },
            // not satisfiable: the file is empty
            416 => (Some(0), true),
            _ => return Err(head.refusal(&name)),
        };
        let mut start = Start::default();
        while head.status != 416
            && !start.is_enough(size)
            && let Some(part) = body.advance()?
        {
            start.bytes.extend_from_slice(&part);
        }
        let encoded = head.check_encoding(&name, container).err();
        let facts = SourceFacts {
            problem: encoded.as_ref().map(HttpError::to_string),
            problem_hint: encoded.and_then(|error| error.hint().map(str::to_owned)),
            size_bytes: size.map(Bytes),
            ranges: Some(ranges),
            etag: head.etag,
            ..SourceFacts::default()
        };
        Ok((start.bytes, facts))
    })
}

fn probe_file(client: &Client, path: &Path) -> Result<(Vec<u8>, SourceFacts), HttpError> {
    let (file, length) = file::open(&client.settings().files, path)?;
    let start = file::read_start(&file, FETCH_MAX).map_err(|source| HttpError::File {
        path: path.to_owned(),
        source,
    })?;
    let facts = SourceFacts {
        size_bytes: Some(Bytes(length)),
        ..SourceFacts::default()
    };
    Ok((start, facts))
}
