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
use os_image::metadata::{self, Metadata};
use os_image::signature::TrustedKey;
use url::Url;

use super::check::{check_head, disk_size};
use super::document::document_within;
use super::file;
use super::packed;
use super::prefix::{self, Beginning, FETCH_MAX};
use super::reader::Reader;
use super::{Meter, TransferContext};
use crate::events::Silence;
use crate::http::address::{self, Address};
use crate::http::client::{Client, PART_LENGTH, Request, Response};
use crate::http::error::HttpError;
use crate::http::retry::{Retry, chain};
use crate::model::digest::{Algorithm, Documented};
use crate::model::mismatch::{Mismatch, container_of};
use crate::model::operating_system::OperatingSystem;
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::{SourceFacts, Sources};
use crate::model::storage::Mount;
use crate::pool::Pool;

/// Bytes of an image that are examined first.
const PROBE_FIRST: usize = 64 * 1024;

/// Longest metadata that is read; a document of a thousand packages is a tenth of it.
const METADATA_LIMIT: u64 = 1 << 20;

/// Hint for metadata that exists and cannot be used.
const CORRECT_METADATA: &str =
    "correct that metadata, or publish it anew together with its image; `image-builder` writes it";

/// Options for packed images.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeOptions<'a> {
    /// Keys that may sign manifests. If there are any, one of them has to have signed.
    pub keys: &'a [TrustedKey],
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
    let found = SidecarMetadata::fetch(client, root.map(|root| root.url.reveal()), &mut retries)?;
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

/// Fuel's metadata beside the root image.
enum SidecarMetadata {
    /// The redacted URL and the document.
    Known(String, Box<Metadata>),
    /// There is none: the reason.
    Absent(String),
    /// It cannot be used: the reason, and a hint.
    Unusable(String, String),
}

impl SidecarMetadata {
    fn fetch(
        client: &Client,
        root: Option<&str>,
        retries: &mut RetryBudget,
    ) -> Result<Self, HttpError> {
        let Some(root) = root else {
            let why = "the request has no image for `/`, so there is no metadata";
            return Ok(Self::Absent(why.to_owned()));
        };
        let name = metadata::file_name(&address::base_name(root));
        let Some(url) = address::beside(root, &name) else {
            return Ok(Self::Absent(format!(
                "{} is not a valid URL",
                redacted(root)
            )));
        };
        let place = redacted(&url);
        let ask = |budget| document_within(client, &url, METADATA_LIMIT, budget);
        let bytes = match retries.spend(ask)? {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => {
                tracing::warn!(url = place, "no metadata beside the root image");
                return Ok(Self::Absent(format!("{place} does not exist")));
            }
            Err(error) => {
                let hint = error.hint().unwrap_or(CORRECT_METADATA).to_owned();
                return Ok(Self::Unusable(chain(&error), hint));
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        Ok(match Metadata::parse(&text) {
            Ok(metadata) => Self::Known(place, Box::new(metadata)),
            Err(error) => {
                Self::Unusable(format!("{place} is {error}"), CORRECT_METADATA.to_owned())
            }
        })
    }

    /// Adds the document's facts of the image at `url`. For a packed image they come from the manifest and are only
    /// compared; a missing document does not matter then.
    fn join(&self, url: &str, facts: &mut SourceFacts) {
        let is_packed = facts.packed.is_some();
        let (place, metadata) = match self {
            Self::Known(place, metadata) => (place, metadata),
            Self::Absent(_) | Self::Unusable(..) if is_packed => return,
            Self::Absent(why) => {
                facts.no_digest = Some(why.clone());
                return;
            }
            Self::Unusable(why, hint) => {
                facts.no_digest = Some(why.clone());
                facts.complain(why.clone(), Some(hint.to_owned()));
                return;
            }
        };
        facts.system = metadata
            .system
            .as_ref()
            .map(|system| OperatingSystem::new(&system.name, &system.major, &system.minor));
        let name = address::base_name(url);
        match metadata.image(&name) {
            Some(image) if is_packed => compare(place, image, facts),
            Some(image) => add(place, &name, image, facts),
            None if is_packed => {}
            None => facts.no_digest = Some(format!("{place} does not name `{name}`")),
        }
    }
}

/// Adds the facts of an entry.
fn add(place: &str, name: &str, image: &metadata::Image, facts: &mut SourceFacts) {
    facts.raw_size_bytes = image.raw_size.map(Bytes).or(facts.raw_size_bytes);
    let mut problem = None;
    for (algorithm, digest) in digests(image) {
        let target = match algorithm {
            Algorithm::Sha256 => &mut facts.raw_sha256,
            Algorithm::Blake3 => &mut facts.raw_blake3,
            Algorithm::Md5 => &mut facts.raw_md5,
        };
        if algorithm.accepts(digest) {
            *target = Some(digest.to_lowercase());
        } else {
            problem = Some(format!("{place} has `{digest}` as a digest of `{name}`"));
        }
    }
    if let Some(why) = problem {
        facts.complain(why, Some(CORRECT_METADATA.to_owned()));
    }
    facts.stated = facts.stated_by(place).into_iter().collect();
    if !facts.has_digest() {
        facts.no_digest = Some(format!("{place} has no digest of `{name}`"));
    }
}

/// The digests of the unpacked image that an entry states.
fn digests(image: &metadata::Image) -> impl Iterator<Item = (Algorithm, &str)> {
    let all = [
        (Algorithm::Md5, &image.raw_md5),
        (Algorithm::Sha256, &image.raw_sha256),
        (Algorithm::Blake3, &image.raw_blake3),
    ];
    all.into_iter()
        .filter_map(|(algorithm, digest)| Some((algorithm, digest.as_deref()?)))
}

/// Compares an entry with the manifest. Its digests are computed as well: the manifest's digests of the whole are only
/// a claim.
fn compare(place: &str, image: &metadata::Image, facts: &mut SourceFacts) {
    let differs = |what: &str, here: &str, there: &str| {
        format!("{place} says that the {what} is {here}, the manifest says {there}")
    };
    let mut problem = None;
    if let (Some(here), Some(there)) = (image.raw_size, facts.raw_size_bytes)
        && Bytes(here) != there
    {
        problem = Some(differs("raw size", &here.to_string(), &there.0.to_string()));
    }
    for (algorithm, here) in digests(image) {
        let claim = match algorithm {
            Algorithm::Sha256 => &facts.raw_sha256,
            Algorithm::Blake3 => &facts.raw_blake3,
            Algorithm::Md5 => &facts.raw_md5,
        };
        let here = here.to_lowercase();
        if let Some(there) = claim.as_ref().filter(|there| **there != here) {
            let what = format!("raw {}", algorithm.name());
            problem.get_or_insert_with(|| differs(&what, &here, there));
        } else if !algorithm.accepts(&here) {
            problem.get_or_insert_with(|| {
                let name = algorithm.name();
                format!("{place} has `{here}` as the {name} digest of a packed image")
            });
        }
    }
    if let Some(problem) = problem {
        let hint = "publish image, manifest and metadata of one build together";
        facts.complain(problem, Some(hint.to_owned()));
    }
    let documented = Documented {
        sha256: image.raw_sha256.as_deref(),
        blake3: image.raw_blake3.as_deref(),
        md5: image.raw_md5.as_deref(),
    };
    facts.stated = documented.stated_by(place, true).into_iter().collect();
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
        Address::File(path) => probe_file(&path)?,
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
        if self.bytes.len() < PROBE_FIRST.max(2 * self.examined) {
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
        let mut request = Request::get(url.clone()).pool(&Pool::new(2, PROBE_FIRST));
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

fn probe_file(path: &Path) -> Result<(Vec<u8>, SourceFacts), HttpError> {
    let (file, length) = file::open(path)?;
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
