//! A packed image on disk: its manifest, its signature, and the paths of its data files.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use os_image::manifest::{Limits, Manifest, manifest_file_name, signature_file_name};
use os_image::signature::{KeyId, SIGNATURE_LIMIT, TrustedKey, read_signed};

use crate::error::refused;

/// A manifest that was read from a file.
#[derive(Debug)]
pub(crate) struct SignedManifest {
    /// Path of the manifest.
    pub(crate) path: PathBuf,
    /// Its content.
    pub(crate) manifest: Manifest,
    /// State of its signature.
    pub(crate) signed: Signed,
}

/// State of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// There is no signature.
    No,
    /// There is a signature, but no key was given to verify it.
    Unchecked,
    /// Verified with this key.
    By(KeyId),
}

/// The path of a manifest from that of the manifest, its signature or an image that it lists.
pub(crate) fn manifest_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".json") {
        return path.to_owned();
    }
    let name = name
        .strip_suffix(".json.minisig")
        .map_or_else(|| manifest_file_name(&name), |stem| format!("{stem}.json"));
    path.with_file_name(name)
}

impl SignedManifest {
    /// Reads a manifest, given its own path or that of an image that it lists. If `keys` are given, one of them must
    /// have signed it.
    pub(crate) fn read(path: &Path, keys: &[TrustedKey]) -> Result<Self> {
        let path = manifest_path(path);
        let what = || format!("cannot read {}", path.display());
        let file = File::open(&path).with_context(what)?;
        let signature = read_signature(&path)?;
        let (manifest, signed) = match (signature, keys) {
            (Some(text), [_, ..]) => {
                let (manifest, by) =
                    read_signed(BufReader::new(file), &text, keys, &Limits::default())
                        .with_context(|| format!("cannot trust {}", path.display()))?;
                (manifest, Signed::By(by))
            }
            (None, [_, ..]) => {
                return Err(refused(
                    format!("{} is not signed", path.display()),
                    "sign it with `image-builder sign`",
                ));
            }
            (signature, []) => {
                let manifest =
                    Manifest::read(BufReader::new(file), &Limits::default()).with_context(what)?;
                let signed = signature.map_or(Signed::No, |_| Signed::Unchecked);
                (manifest, signed)
            }
        };
        Ok(Self {
            path,
            manifest,
            signed,
        })
    }

    /// Path of the data file `name`, which is in the manifest's folder.
    pub(crate) fn data_file(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Refuses an image whose data file is missing or has another length than in the manifest.
    pub(crate) fn check_lengths(&self) -> Result<()> {
        for image in &self.manifest.images {
            let path = self.data_file(&image.file);
            let what = || format!("cannot read {}", path.display());
            let length = fs::metadata(&path).with_context(what)?.len();
            if length != image.packed_size {
                return Err(refused(
                    format!(
                        "{} has {length} bytes, but its manifest says {}",
                        path.display(),
                        image.packed_size
                    ),
                    "pack the image again, or copy both files again",
                ));
            }
        }
        Ok(())
    }
}

/// Path of the signature of the file `path`.
pub(crate) fn signature_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(signature_file_name(&name))
}

/// The text of the signature of a file, if it has one.
pub(crate) fn read_signature(file: &Path) -> Result<Option<String>> {
    let path = signature_path(file);
    let what = || format!("cannot read {}", path.display());
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(what),
        Ok(metadata) if metadata.len() > u64::try_from(SIGNATURE_LIMIT)? => Err(refused(
            format!("{} is too long for a signature", path.display()),
            "sign the file again with `image-builder sign`",
        )),
        Ok(_) => fs::read_to_string(&path).map(Some).with_context(what),
    }
}

/// Parses keys, each given as its base64 line or as a file with it.
pub(crate) fn keys(given: &[String]) -> Result<Vec<TrustedKey>> {
    let read = |given: &String| {
        if let Ok(key) = TrustedKey::parse(given) {
            return Ok(key);
        }
        let what = || format!("cannot read the key {given}");
        let text = fs::read_to_string(given).with_context(what)?;
        TrustedKey::parse(&text).with_context(what)
    };
    given.iter().map(read).collect()
}
