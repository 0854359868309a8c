//! What has to be signed so that nodes trust a file: its manifest, the metadata that states its digest, or it itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use os_image::manifest::Manifest;
use os_image::metadata::{self, Metadata};

use crate::error::refused;
use crate::signed_manifest::{SignedManifest, manifest_path};

/// A file that gets a signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signable {
    /// The manifest of a packed image.
    Manifest(PathBuf),
    /// Metadata that states the digests of images: Fuel's YAML.
    Metadata(PathBuf),
    /// Any other file, such as a request.
    Other(PathBuf),
}

/// What is signed for `path`. A manifest, or an image that has one: the manifest, and the metadata beside it. Another
/// image that metadata names: the metadata. Anything else: the file itself.
pub(crate) fn of(path: &Path) -> Result<Vec<Signable>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".yaml") {
        // a request may be YAML too
        let is_metadata = read(path).is_ok_and(|metadata| !metadata.images.is_empty());
        let path = path.to_owned();
        return Ok(vec![if is_metadata {
            Signable::Metadata(path)
        } else {
            Signable::Other(path)
        }]);
    }
    let is_manifest = [".manifest.json", ".manifest.json.minisig"];
    let manifest = manifest_path(path);
    let metadata = path.with_file_name(metadata::file_name(&name));
    let with_metadata = metadata.exists().then_some(metadata);
    if is_manifest.iter().any(|end| name.ends_with(end)) || has_manifest(path, &manifest) {
        let metadata = with_metadata.map(Signable::Metadata);
        return Ok([Signable::Manifest(manifest)]
            .into_iter()
            .chain(metadata)
            .collect());
    }
    match with_metadata {
        Some(metadata) if read(&metadata)?.image(&name).is_some() => {
            Ok(vec![Signable::Metadata(metadata)])
        }
        _ => Ok(vec![Signable::Other(path.to_owned())]),
    }
}

/// Whether `path`, which is no manifest, is an image with the manifest at `manifest`.
fn has_manifest(path: &Path, manifest: &Path) -> bool {
    let end = path.extension().unwrap_or_default();
    end != "json" && end != "minisig" && manifest.exists()
}

fn read(path: &Path) -> Result<Metadata> {
    let what = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(path).with_context(what)?;
    Metadata::parse(&text).with_context(what)
}

impl Signable {
    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Manifest(path) | Self::Metadata(path) | Self::Other(path) => path,
        }
    }

    /// Refuses what should not be signed: a manifest whose data files have other lengths, or metadata that is none.
    /// Returns the trusted comment. It has no time: the release number, which is signed too, tells which manifest is
    /// newer.
    pub(crate) fn check(&self) -> Result<String> {
        let name = self.path().file_name().unwrap_or_default();
        let comment = format!("file:{}", name.to_string_lossy());
        match self {
            Self::Manifest(path) => {
                let image = SignedManifest::read(path, &[])?;
                image.check_lengths()?;
                let Manifest { name, release, .. } = &image.manifest;
                Ok(format!("{name} release {release}"))
            }
            Self::Metadata(path) => {
                check_digests(path)?;
                Ok(comment)
            }
            Self::Other(_) => Ok(comment),
        }
    }
}

/// Refuses metadata without a strong digest for an image: an md5 is not worth a signature.
fn check_digests(path: &Path) -> Result<()> {
    let metadata = read(path)?;
    let weak = |image: &&metadata::Image| image.raw_sha256.is_none() && image.raw_blake3.is_none();
    match metadata.images.iter().find(weak) {
        None => Ok(()),
        Some(image) => Err(refused(
            format!(
                "{} has neither `raw_sha256` nor `raw_blake3` for `{}`",
                path.display(),
                image.container_name
            ),
            "add `raw_sha256`, the digest of the unpacked image: forgeries of an md5 can be made",
        )),
    }
}
