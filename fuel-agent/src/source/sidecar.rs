//! The metadata beside the root image (`NAME.yaml`), as Fuel's image builder publishes it: sizes and digests of images.

use host::units::Bytes;
use os_image::metadata::{self, Metadata};
use os_image::signature::verify;

use super::document::document_within;
use super::manifest::signature_of;
use super::policy::Signers;
use super::probe::RetryBudget;
use crate::http::address;
use crate::http::client::Client;
use crate::http::error::HttpError;
use crate::http::retry::chain;
use crate::model::digest::{Algorithm, DocumentedDigests};
use crate::model::operating_system::OperatingSystem;
use crate::model::sources::SourceFacts;
use crate::model::url::redacted;

/// Longest metadata that is read; a document of a thousand packages is a tenth of it.
const METADATA_LIMIT: u64 = 1 << 20;

/// Hint for metadata that exists and cannot be used.
const CORRECT_METADATA: &str =
    "correct that metadata, or publish it anew together with its image; `image-builder` writes it";

/// The document, or why there is none.
pub(super) enum SidecarMetadata {
    /// There is one that can be used.
    Known(Document),
    /// There is none: the reason.
    Absent(String),
    /// It cannot be used: the reason, and a hint.
    Unusable(String, String),
}

/// Metadata that can be used.
pub(super) struct Document {
    /// Its redacted URL.
    place: String,
    metadata: Box<Metadata>,
    /// Id of the trusted key that signed it.
    signed_by: Option<String>,
}

impl SidecarMetadata {
    /// Fetches the metadata beside the image at `root`, with its signature where keys are trusted.
    pub(super) fn fetch(
        client: &Client,
        root: Option<&str>,
        signers: Signers<'_>,
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
        let signed_by = match signer(client, &url, &bytes, signers, retries)? {
            Ok(signed_by) => signed_by,
            Err(unusable) => return Ok(unusable),
        };
        let text = String::from_utf8_lossy(&bytes);
        Ok(match Metadata::parse(&text) {
            Ok(metadata) => Self::Known(Document {
                place,
                metadata: Box::new(metadata),
                signed_by,
            }),
            Err(error) => {
                Self::Unusable(format!("{place} is {error}"), CORRECT_METADATA.to_owned())
            }
        })
    }

    /// Adds the document's facts of the image at `url`. For a packed image they come from the manifest and are only
    /// compared; a missing document does not matter then.
    pub(super) fn join(&self, url: &str, facts: &mut SourceFacts) {
        let is_packed = facts.packed.is_some();
        let Document {
            place,
            metadata,
            signed_by,
        } = match self {
            Self::Known(document) => document,
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
            Some(image) => {
                add(place, &name, image, facts);
                facts.signed_by.clone_from(signed_by);
            }
            None if is_packed => {}
            None => facts.no_digest = Some(format!("{place} does not name `{name}`")),
        }
    }
}

/// The trusted key that signed the metadata at `url`, whose text is `bytes`; `None` without a signature, or where no
/// key is trusted. A signature that is not valid makes the metadata unusable.
fn signer(
    client: &Client,
    url: &str,
    bytes: &[u8],
    signers: Signers<'_>,
    retries: &mut RetryBudget,
) -> Result<Result<Option<String>, SidecarMetadata>, HttpError> {
    if signers.keys.is_empty() {
        return Ok(Ok(None));
    }
    let unusable = SidecarMetadata::Unusable;
    let signature = match retries.spend(|budget| signature_of(client, url, budget))? {
        Ok(Some(signature)) => signature,
        Ok(None) => return Ok(Ok(None)),
        Err(error) => {
            let hint = error.hint().unwrap_or(CORRECT_METADATA).to_owned();
            return Ok(Err(unusable(chain(&error), hint)));
        }
    };
    Ok(match verify(bytes, &signature, signers.keys) {
        Ok(key) => Ok(Some(key.to_string())),
        Err(error) => {
            let why = format!("{} cannot be used: {error}", redacted(url));
            Err(unusable(why, error.hint().to_owned()))
        }
    })
}

/// Adds the facts of an entry.
fn add(place: &str, name: &str, image: &metadata::Image, facts: &mut SourceFacts) {
    facts.raw_size_bytes = image.raw_size.map(Bytes).or(facts.raw_size_bytes);
    let mut problem = None;
    for (algorithm, digest) in digests(image) {
        if algorithm.accepts(digest) {
            *facts.digest_mut(algorithm) = Some(digest.to_lowercase());
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
        let claim = facts.digest_mut(algorithm).clone();
        let here = here.to_lowercase();
        if let Some(there) = claim.filter(|there| *there != here) {
            let what = format!("raw {}", algorithm.name());
            problem.get_or_insert_with(|| differs(&what, &here, &there));
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
    let mut documented = DocumentedDigests::default();
    for (algorithm, digest) in digests(image) {
        *documented.place(algorithm) = Some(digest.to_lowercase());
    }
    facts.stated = documented.stated_by(place, true).into_iter().collect();
}
