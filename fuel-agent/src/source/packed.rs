//! Facts of packed images: finds the manifest beside the image and joins it with what else is known.

use std::time::Duration;

use host::units::Bytes;
use os_image::hex;
use os_image::index::Index;
use os_image::manifest::{Image, manifest_file_name};

use super::manifest::{FoundManifest, ManifestProblem, manifest};
use super::probe::{ProbeOptions, RetryBudget};
use crate::http::address;
use crate::http::client::Client;
use crate::http::error::HttpError;
use crate::http::retry::chain;
use crate::model::sources::{PackedFacts, SourceFacts};
use crate::model::url::redacted;

/// Adds the facts of the manifest, if there is one: named after the image, or after the root image.
pub(super) fn join(
    client: &Client,
    url: &str,
    root: Option<&str>,
    probe_options: ProbeOptions<'_>,
    retries: &mut RetryBudget,
    facts: &mut SourceFacts,
) -> Result<(), HttpError> {
    let file = address::base_name(url);
    let mut names = vec![manifest_file_name(&file)];
    if let Some(root) = root.map(|root| manifest_file_name(&address::base_name(root)))
        && !names.contains(&root)
    {
        names.push(root);
    }
    for (name, is_own) in names.into_iter().zip([true, false]) {
        match anywhere(client, url, &name, probe_options, retries)? {
            Search::Absent => {}
            Search::Found(found, place) => {
                match found.manifest.image(&file) {
                    Some(image) => add(&found, image, &name, &place, facts),
                    // the root image's manifest need not list every image beside it
                    None if !is_own => {}
                    None => {
                        let why = format!("{place} does not name `{file}`");
                        let hint = "list it in that manifest: pack it with `image-builder pack`";
                        facts.complain(why, Some(hint.to_owned()));
                    }
                }
                return Ok(());
            }
            Search::Unusable(why, hint) => {
                facts.complain(why, hint);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Result of looking for a manifest.
enum Search {
    Found(Box<FoundManifest>, String),
    /// No server has it.
    Absent,
    /// It cannot be fetched or used: the reason, and a hint.
    Unusable(String, Option<String>),
}

/// Looks for a manifest beside the image, and in the mirrors' folders if the image's own server does not answer.
fn anywhere(
    client: &Client,
    url: &str,
    name: &str,
    probe_options: ProbeOptions<'_>,
    retries: &mut RetryBudget,
) -> Result<Search, HttpError> {
    let own = address::beside(url, name);
    let others = probe_options.mirrors.iter();
    let others = others.filter_map(|base| address::within(base.reveal(), name));
    let mut first = None;
    for place in own.into_iter().chain(others) {
        let mut read_result = None;
        let answer = retries.spend(|budget: Duration| {
            match manifest(client, &place, probe_options.signers, budget) {
                Err(ManifestProblem::Http(error)) => Err(error),
                other => {
                    read_result = Some(other);
                    Ok(())
                }
            }
        })?;
        let shown = redacted(&place);
        match (answer, read_result) {
            (_, Some(Ok(found))) => return Ok(Search::Found(Box::new(found), shown)),
            (_, Some(Err(problem))) => {
                let hint = problem.hint().map(str::to_owned);
                return Ok(Search::Unusable(problem.to_string(), hint));
            }
            // an answer of the image's own server counts: there is no manifest
            (Err(error), None) if error.is_absent() && first.is_none() => {
                return Ok(Search::Absent);
            }
            (Err(error), None) => {
                first.get_or_insert_with(|| (chain(&error), error.hint().map(str::to_owned)));
            }
            (Ok(()), None) => {}
        }
    }
    Ok(first.map_or(Search::Absent, |(why, hint)| Search::Unusable(why, hint)))
}

/// Adds the manifest's facts of an image. The length of the data file has to match.
fn add(found: &FoundManifest, image: &Image, name: &str, place: &str, facts: &mut SourceFacts) {
    let packed_size = Bytes(image.packed_size);
    if let Some(size) = facts.size_bytes.filter(|size| *size != packed_size) {
        let file = &image.file;
        let why = format!("`{file}` is {size} long, {place} says {packed_size}");
        let hint = "publish data file and manifest of one build together";
        facts.complain(why, Some(hint.to_owned()));
    }
    facts.size_bytes = Some(packed_size);
    facts.raw_size_bytes = Some(Bytes(image.raw_size));
    facts.raw_sha256 = Some(hex::text(&image.raw_sha256));
    facts.raw_md5 = image.raw_md5.map(|md5| hex::text(&md5));
    if found.signed_by.is_some() && !bound_to(&found.manifest.name, name) {
        let why = format!(
            "{place} is the manifest of `{}`, not of this image",
            found.manifest.name
        );
        let hint =
            "publish each image with its own manifest, under the name that it was packed with";
        facts.complain(why, Some(hint.to_owned()));
    }
    facts.packed = Some(PackedFacts {
        found_at: place.to_owned(),
        ..summary(found, image, name)
    });
}

/// Whether a manifest of the image `name` may have the file name `file`. What is signed under another name is another
/// image, whatever its data file is called: a server must not pass one off for the other. `image-builder` packs every
/// image so.
pub(crate) fn bound_to(name: &str, file: &str) -> bool {
    file.strip_suffix(".manifest.json") == Some(name)
}

fn summary(found: &FoundManifest, image: &Image, name: &str) -> PackedFacts {
    let manifest = &found.manifest;
    let (fetch, data) = cost(&image.index);
    PackedFacts {
        manifest: name.to_owned(),
        found_at: String::new(),
        manifest_sha256: found.sha256.clone(),
        signed_by: found.signed_by.clone(),
        name: manifest.name.clone(),
        release: manifest.release,
        architecture: manifest.architecture.clone(),
        firmware: manifest.firmware.clone(),
        features: manifest.features.clone(),
        filesystem: image.filesystem.as_ref().map(|it| it.kind.clone()),
        filesystem_uuid: (image.filesystem.as_ref())
            .map(|it| it.uuid.clone())
            .filter(|uuid| !uuid.is_empty()),
        whole_disk: image.whole_disk,
        sector_size_bytes: Bytes(image.sector_size.into()),
        chunk_size_bytes: Bytes(image.index.chunk_size().into()),
        chunks: image.index.len(),
        fetch_bytes: Bytes(fetch),
        data_bytes: Bytes(data),
    }
}

/// Packed and raw bytes of all chunks with data.
fn cost(index: &Index) -> (u64, u64) {
    let data = index.iter().filter(|chunk| !chunk.zero);
    data.fold((0_u64, 0_u64), |(packed, raw), chunk| {
        (
            packed.saturating_add(chunk.packed_length.into()),
            raw.saturating_add(chunk.raw_length.into()),
        )
    })
}
