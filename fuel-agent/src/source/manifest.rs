//! The manifest of a packed image: parsed while it arrives, and used only if its signature is valid.

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
use super::policy::Signers;
use crate::http::address::{self, Address};
use crate::http::client::{Body, Client, Request};
use crate::http::error::HttpError;
use crate::http::retry::Retry;
use crate::model::error::Kind;
use crate::model::request::Container;
use crate::model::url::redacted;
use crate::pool::Buffer;

/// The longest manifest that is read, in bytes, as [`Limits`] has it: decides how long it may take.
const LONGEST: u64 = 64 << 20;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestProblem {
    /// It cannot be fetched.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It is malformed, or its signature is not valid.
    #[error("{url} cannot be used: {}", with_cause(.source))]
    Bad {
        /// URL of the manifest, redacted.
        url: String,
        /// Error of the parser, or of the signature.
        source: ManifestError,
    },
    /// Keys are configured, so packed images have to be signed, and this one is not.
    #[error("{url} is not signed: {signature} does not exist")]
    Unsigned {
        /// URL of the manifest, redacted.
        url: String,
        /// URL of the missing signature, redacted.
        signature: String,
    },
}

impl ManifestProblem {
    /// The kind of error, which decides the exit code.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Http(error) => error.kind(),
            Self::Bad { .. } | Self::Unsigned { .. } => Kind::Image,
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Bad { source, .. } => Some(source.hint()),
            Self::Unsigned { .. } => {
                Some("sign it with `image-builder sign`, and publish the signature beside it")
            }
        }
    }

    /// Whether the same request may succeed when it is run again.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Http(HttpError::Exhausted { .. }))
    }
}

fn with_cause(error: &ManifestError) -> String {
    let mut text = error.to_string();
    if let ManifestError::Io(cause) = error {
        text = text + ": " + &cause.to_string();
    }
    text
}

/// A complete manifest.
#[derive(Debug)]
pub struct FoundManifest {
    /// The parsed manifest.
    pub manifest: Manifest,
    /// sha256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// The key that signed it, if keys are configured.
    pub signed_by: Option<String>,
}

/// Reads the manifest at `url`, within a retry budget. A signature has to be by one of the keys of `signers`, where
/// there are any; nothing of the manifest is used before the signature is verified. One without a signature is read
/// only where none is required.
pub fn manifest(
    client: &Client,
    url: &str,
    signers: Signers<'_>,
    budget: Duration,
) -> Result<FoundManifest, ManifestProblem> {
    let signature = match signers.keys {
        [] => None,
        _ => signature_of(client, url, budget)?,
    };
    let unsigned = signature.is_none() && signers.required && !signers.keys.is_empty();
    match read_at(client, url, signature.as_deref(), signers.keys, budget) {
        // it is there, and no one vouches for it: what is in it does not matter
        Ok(_) | Err(ManifestProblem::Bad { .. }) if unsigned => Err(ManifestProblem::Unsigned {
            url: redacted(url),
            signature: redacted(&signature_address(url)),
        }),
        read => read,
    }
}

fn read_at(
    client: &Client,
    url: &str,
    signature: Option<&str>,
    keys: &[TrustedKey],
    budget: Duration,
) -> Result<FoundManifest, ManifestProblem> {
    let web = match Address::parse(url)? {
        Address::Web(web) => web,
        Address::File(path) => {
            let (file, _) = file::open(&client.settings().files, &path)?;
            let mut bytes = Hashed::new(From::File(file));
            return read(&mut bytes, url, signature, keys);
        }
    };
    let name = redacted(url);
    let mut bad = None;
    let found = Retry::new(client, &name, budget).until_done(client, || {
        let request = Request::document(client, web.clone(), LONGEST);
        let response = client.send(request)?;
        if response.head.status != 200 {
            return Err(response.head.refusal(&name));
        }
        response.head.check_encoding(&name, Container::Raw)?;
        let mut bytes = Hashed::new(From::Web(response.body, None));
        match read(&mut bytes, url, signature, keys) {
            Ok(found) => Ok(Some(found)),
            Err(problem) => {
                if let Some(error) = bytes.broken.take() {
                    return Err(error);
                }
                // the file was received completely: fetching it again would not help
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

/// Address of the signature of the document at `url`.
fn signature_address(url: &str) -> String {
    let name = signature_file_name(&address::base_name(url));
    address::beside(url, &name).unwrap_or_default()
}

/// The text of the signature beside the document at `url`; `None` if it does not exist.
pub(super) fn signature_of(
    client: &Client,
    url: &str,
    budget: Duration,
) -> Result<Option<String>, HttpError> {
    let limit = u64::try_from(SIGNATURE_LIMIT).unwrap_or(u64::MAX);
    match document_within(client, &signature_address(url), limit, budget) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
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

/// Computes the digest of what is read.
struct Hashed {
    from: From,
    hasher: Sha256,
    /// Why reading failed, if the network was the reason.
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
                    // return the buffer to the pool before waiting for the next one
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
                let mut bytes = buffer.get(*at..).unwrap_or_default();
                let count = bytes.read(target)?;
                *at = at.saturating_add(count);
                count
            }
        };
        self.hasher.update(target.get(..count).unwrap_or_default());
        Ok(count)
    }
}
