//! The engine for packed images: fetches chunks in parallel, verifies them before and after they are unpacked, and
//! skips those that the disk holds already.
//!
//! ```text
//!  mirrors ──ranges──▶ fetchers ──frames──▶ workers ──chunks──▶ target      each a few threads
//!                         ▲     one buffer    BLAKE3, zstd,       past the page cache,
//!                         │     a chunk       BLAKE3              head last
//!                     scheduler ◀──────────── check               what the disk holds, if that is worth reading
//! ```
//!
//! The scheduler knows the state of every chunk; all threads ask it what to do next. Nothing unverified reaches the
//! disk, nothing is written beyond the target, and the first MiB is written last.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "counts chunks of an index whose numbers were checked when it was read"
)]

mod check;
mod choice;
mod engine;
mod error;
mod fetcher;
mod meter;
mod mirror;
mod reverify;
mod scheduler;
mod supervisor;
mod target;
mod thread_budget;
mod whole;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use host::cancel::Cancel;
use host::units::Bytes;
use os_image::hex;
use os_image::manifest::Image;

use super::digest::Digests;
use super::error::StreamError;
use super::{Expected, Job};
use crate::http::{Client, address};
use crate::model::digest::Algorithm;
use crate::model::report::{CheckedDigest, DigestedPart, ImageOutcome};
use crate::model::sources::PackedFacts;
use crate::model::trust::Trust;
use crate::model::url::{RedactedUrl, redacted};
use crate::pool::Pool;
use crate::source::policy::PackedPolicy;
use crate::source::{FoundManifest, ManifestProblem, bound_to, manifest};
use check::PIECE;
use engine::{CHECKERS, Engine};
pub use error::PackedError;
use meter::Meter;
use mirror::Mirrors;
pub use reverify::reverify;
use target::Target;
use whole::{Whole, check_claims};

/// Checks the manifest against the policy of this node. The plan was made with it, but its `facts` may be from a file.
fn check_policy(
    policy: &PackedPolicy,
    found: &FoundManifest,
    facts: &PackedFacts,
    url: &str,
) -> Result<(), PackedError> {
    let url = || redacted(url);
    let claims = policy.images.strict && facts.signed_by.is_some();
    if (policy.images.require_signature || claims) && found.signed_by.is_none() {
        return Err(PackedError::Untrusted { url: url() });
    }
    let name = &found.manifest.name;
    if found.signed_by.is_some() && !bound_to(name, &facts.manifest) {
        return Err(PackedError::OtherName {
            url: url(),
            name: name.clone(),
        });
    }
    let (release, least) = (found.manifest.release, policy.images.min_release.of(name));
    if release < least {
        return Err(PackedError::TooOld {
            url: url(),
            release,
            least,
        });
    }
    Ok(())
}

/// A packed image to be written.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Facts of the manifest that the plan was made with; it must not have changed since.
    pub facts: &'a PackedFacts,
    /// Whether the server supports ranges, if known.
    pub ranges: Option<bool>,
    /// The policy of this node.
    pub rules: &'a PackedPolicy,
    /// Images written at the same time, including this one (at least 1): they share buffers and connections.
    pub at_once: usize,
    /// Whether the target discards what is written: the image is only verified.
    pub discards: bool,
}

/// Writes a packed image, verifies it, and returns when it is on the medium.
pub(super) fn write(job: Job<'_>, packed: Packed<'_>) -> Result<ImageOutcome, StreamError> {
    let started = Instant::now();
    let Job {
        url,
        expected,
        target,
        device,
        client,
        events,
        ..
    } = job;
    let shown = redacted(url);
    expected.check(&shown)?;
    let found = fetch_manifest(client, url, packed)?;
    check_policy(packed.rules, &found, packed.facts, url)?;
    let image = listed(&found, url, packed.facts)?;
    let (size, raw_size) = (target.size(), Bytes(image.raw_size));
    if raw_size > size {
        return Err(StreamError::TooLarge {
            url: shown,
            device: device.to_owned(),
            size,
            needed: Some(raw_size),
        });
    }
    check_claims(&shown, image, &expected.digests)?;
    let mirrors = Mirrors::new(&places(url, &packed.rules.mirrors), image.packed_size)?;
    let target = Target::new(target, device)?;
    let engine = Engine {
        index: &image.index,
        mirrors: &mirrors,
        target: &target,
        client,
        events,
        name: address::base_name(url),
        at_once: packed.at_once,
        stop: Cancel::new(),
        deadline: (client.settings().total_timeout).map(|limit| started + limit),
        retries: AtomicU32::new(0),
        reading: Meter::default(),
        fetching: Meter::default(),
        working: Meter::default(),
        checks: Pool::new(CHECKERS, PIECE),
        whole: Whole::new(&shown, &image.index, &expected.digests, packed.discards),
    };
    let written = engine.run(packed.rules.delta, packed.ranges != Some(false))?;
    Ok(ImageOutcome {
        url: shown.clone(),
        fetched_bytes: Bytes(mirrors.fetched()),
        trust: match expected.trust {
            Trust::Signature if found.signed_by.is_none() => Trust::SameServer,
            trust => trust,
        },
        digests_checked: checked(&expected, manifest_url(url, packed.facts)),
        retries: engine.retries.load(Ordering::Relaxed),
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        packed: Some(engine.outcome(&found, &written)),
        ..digested(image, &written.digests)
    })
}

/// The manifest's entry of the image at `url`.
fn listed<'m>(
    found: &'m FoundManifest,
    url: &str,
    facts: &PackedFacts,
) -> Result<&'m Image, PackedError> {
    let file = address::base_name(url);
    let image = found.manifest.image(&file);
    image.ok_or_else(|| PackedError::NotListed {
        url: manifest_url(url, facts),
        file,
    })
}

/// The digests that were compared: the chunks with the manifest, the whole with what others state.
fn checked(expected: &Expected, manifest: String) -> Vec<CheckedDigest> {
    let chunks = CheckedDigest {
        of: DigestedPart::Chunks,
        algorithm: Algorithm::Blake3,
        digest: None,
        stated_by: manifest,
    };
    let others = expected.digests.iter().map(CheckedDigest::from);
    std::iter::once(chunks).chain(others).collect()
}

/// Size and digests of the whole: computed, or the manifest's claims.
fn digested(image: &Image, digests: &Digests) -> ImageOutcome {
    let claimed_md5 = image.raw_md5.as_ref().map(|digest| hex::text(digest));
    ImageOutcome {
        url: String::new(),
        fetched_bytes: Bytes::ZERO,
        raw_bytes: Bytes(image.raw_size),
        raw_sha256_computed: digests.sha256.is_some(),
        raw_sha256: (digests.sha256.clone()).unwrap_or_else(|| hex::text(&image.raw_sha256)),
        raw_md5: digests.md5.clone().or(claimed_md5),
        raw_blake3: digests.blake3.clone(),
        verified: true,
        trust: Trust::SameServer,
        digests_checked: Vec::new(),
        retries: 0,
        took_ms: 0,
        packed: None,
    }
}

fn manifest_url(url: &str, facts: &PackedFacts) -> String {
    redacted(&address::beside(url, &facts.manifest).unwrap_or_default())
}

/// URLs of the data file: the request's, and one in the folder of each mirror.
fn places(url: &str, mirrors: &[RedactedUrl]) -> Vec<String> {
    let name = address::base_name(url);
    let others = mirrors
        .iter()
        .filter_map(|base| address::within(base.reveal(), &name));
    let mut places = vec![url.to_owned()];
    for other in others {
        if !places.contains(&other) {
            places.push(other);
        }
    }
    places
}

/// Fetches the manifest that the plan was made with, from the first server that has it.
fn fetch_manifest(
    client: &Client,
    url: &str,
    packed: Packed<'_>,
) -> Result<FoundManifest, StreamError> {
    let budget = client.settings().retry_budget;
    let mut first: Option<PackedError> = None;
    for place in places(url, &packed.rules.mirrors) {
        let Some(url) = address::beside(&place, &packed.facts.manifest) else {
            continue;
        };
        let problem = match manifest(client, &url, packed.rules.signers(), budget) {
            Ok(found) if found.sha256 == packed.facts.manifest_sha256 => return Ok(found),
            Ok(_) => PackedError::Changed {
                url: redacted(&url),
            },
            Err(ManifestProblem::Http(crate::http::HttpError::Cancelled)) => {
                return Err(StreamError::Cancelled);
            }
            Err(problem) => problem.into(),
        };
        first.get_or_insert(problem);
    }
    Err(first.map_or(StreamError::HungUp, StreamError::Packed))
}
