//! The manifest of a packed image: read as it comes, and believed only when its signature is right.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use os_image::error::ManifestError;
use os_image::hex;
use os_image::manifest::{Limits, Manifest, signature_file_name};
use os_image::signature::{SIGNATURE_LIMIT, TrustedKey, read_signed};
use sha2::{Digest, Sha256};

use super::document::document_within;
use super::file;
use crate::http::address::{self, Address};
use crate::http::client::{Body, Client, Request};
use crate::http::error::HttpError;
use crate::http::retry::Retry;
use crate::model::error::Kind;
use crate::model::request::Container;
use crate::model::url::redacted;
use crate::pool::{Buffer, Pool};

/// Why a manifest is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestProblem {
    /// It did not come.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It is none, or nobody who is trusted vouches for it.
    #[error("{url} cannot be used: {}", said(.source))]
    Bad {
        /// The manifest.
        url: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// Packed images have to be signed where keys are trusted, and this one is not.
    #[error("{url} is not signed: {signature} does not exist")]
    Unsigned {
        /// The manifest.
        url: String,
        /// Where its signature would be.
        signature: String,
    },
}

impl ManifestProblem {
    /// Who can fix it.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Http(error) => error.kind(),
            Self::Bad { .. } | Self::Unsigned { .. } => Kind::Image,
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Bad { source, .. } => Some(source.hint()),
            Self::Unsigned { .. } => {
                Some("sign it with `image-builder sign`, and publish the signature beside it")
            }
        }
    }

    /// Whether the same request may well succeed next time.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Http(HttpError::Exhausted { .. }))
    }
}

fn said(error: &ManifestError) -> String {
    let mut text = error.to_string();
    if let ManifestError::Io(cause) = error {
        text = text + ": " + &cause.to_string();
    }
    text
}

/// A manifest that was read to its end.
#[derive(Debug)]
pub struct FoundManifest {
    /// What it says.
    pub manifest: Manifest,
    /// Lower-case hexadecimal sha256 of its bytes.
    pub sha256: String,
    /// The key that signed it, where keys are trusted.
    pub signed_by: Option<String>,
}

/// Reads the manifest at `url`, within a budget for retries. Where `keys` are trusted, one of them has to have signed
/// it; nothing of it is used before that is known.
pub fn manifest(
    client: &Client,
    url: &str,
    keys: &[TrustedKey],
    budget: Duration,
) -> Result<FoundManifest, ManifestProblem> {
    let signature = match keys {
        [] => None,
        _ => Some(signature_of(client, url, budget)?),
    };
    let web = match Address::parse(url)? {
        Address::Web(web) => web,
        Address::File(path) => {
            let (file, _) = file::open(&path)?;
            let mut bytes = Hashed::new(From::File(file));
            return read(&mut bytes, url, signature.as_deref(), keys);
        }
    };
    let name = redacted(url);
    let mut bad = None;
    let found = Retry::new(client, &name, budget).until_done(client, || {
        let request = Request::get(web.clone()).pool(&Pool::new(2, 64 * 1024));
        let response = client.send(request)?;
        if response.head.status != 200 {
            return Err(response.head.refusal(&name));
        }
        response.head.check_encoding(&name, Container::Raw)?;
        let mut bytes = Hashed::new(From::Web(response.body, None));
        match read(&mut bytes, url, signature.as_deref(), keys) {
            Ok(found) => Ok(Some(found)),
            Err(problem) => {
                if let Some(error) = bytes.broken.take() {
                    return Err(error);
                }
                // it has come, and trying again would not make it better
                bad = Some(problem);
                Ok(None)
            }
        }
    })?;
    match (found, bad) {
        (Some(found), _) => Ok(found),
        (None, Some(problem)) => Err(problem),
        (None, None) => Err(HttpError::Gone.into()),
    }
}

/// The text of the signature beside a manifest.
fn signature_of(client: &Client, url: &str, budget: Duration) -> Result<String, ManifestProblem> {
    let name = signature_file_name(&address::base_name(url));
    let place = address::beside(url, &name).unwrap_or_default();
    let limit = u64::try_from(SIGNATURE_LIMIT).unwrap_or(u64::MAX);
    match document_within(client, &place, limit, budget) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.is_absent() => Err(ManifestProblem::Unsigned {
            url: redacted(url),
            signature: redacted(&place),
        }),
        Err(error) => Err(error.into()),
    }
}

fn read(
    bytes: &mut Hashed,
    url: &str,
    signature: Option<&str>,
    keys: &[TrustedKey],
) -> Result<FoundManifest, ManifestProblem> {
    let limits = Limits::default();
    let read = match signature {
        Some(signature) => read_signed(&mut *bytes, signature, keys, &limits)
            .map(|(manifest, key)| (manifest, Some(key.to_string()))),
        None => Manifest::read(&mut *bytes, &limits).map(|manifest| (manifest, None)),
    };
    let (manifest, signed_by) = read.map_err(|source| ManifestProblem::Bad {
        url: redacted(url),
        source,
    })?;
    Ok(FoundManifest {
        manifest,
        sha256: bytes.digest(),
        signed_by,
    })
}

enum From {
    Web(Body, Option<(Buffer, usize)>),
    File(File),
}

/// Reads and digests.
struct Hashed {
    from: From,
    hasher: Sha256,
    /// Why reading failed, where the network is to blame.
    broken: Option<HttpError>,
}

impl Hashed {
    fn new(from: From) -> Self {
        Self {
            from,
            hasher: Sha256::new(),
            broken: None,
        }
    }

    fn digest(&mut self) -> String {
        hex::text(&std::mem::take(&mut self.hasher).finalize())
    }
}

impl Read for Hashed {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.from {
            From::File(file) => file.read(target)?,
            From::Web(body, rest) => {
                if rest.as_ref().is_none_or(|(buffer, at)| *at == buffer.len()) {
                    // back to its pool before the next one is waited for
                    *rest = None;
                    let next = body.advance().map_err(|error| {
                        self.broken = Some(error);
                        io::Error::other("the transfer broke off")
                    })?;
                    *rest = next.map(|buffer| (buffer, 0));
                }
                let Some((buffer, at)) = rest else {
                    return Ok(0);
                };
                let count = target.len().min(buffer.len() - *at);
                target[..count].copy_from_slice(&buffer[*at..*at + count]);
                *at += count;
                count
            }
        };
        self.hasher.update(&target[..count]);
        Ok(count)
    }
}
