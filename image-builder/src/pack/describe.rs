//! Properties of an image for its manifest: from the options, else as found in the image.

use std::path::Path;

use anyhow::Result;
use host::exec::Exec;
use os_image::manifest::{Filesystem, System};

use super::probe::Content;
use super::system;
use crate::cli::{ImageOptions, Kind};
use crate::error::refused;

/// Properties of an image, without sizes and digests.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) os: System,
    pub(crate) architecture: String,
    pub(crate) firmware: Vec<String>,
    pub(crate) features: Vec<String>,
    pub(crate) mount: Option<String>,
    pub(crate) filesystem: Option<Filesystem>,
    pub(crate) sector_size: u32,
}

/// The properties of the image in `path`.
pub(crate) fn describe(
    options: &ImageOptions,
    content: &Content,
    path: &Path,
    exec: &mut dyn Exec,
) -> Result<Described> {
    let whole_disk = is_whole_disk(options, content)?;
    let found = match content {
        Content::Filesystem(filesystem) if filesystem.kind.starts_with("ext") => {
            system::look(path, exec)
        }
        _ => system::FoundSystem::default(),
    };
    let architecture = options.architecture.clone().or(found.architecture);
    let architecture = architecture.ok_or_else(|| {
        refused(
            "the architecture of the image is unknown",
            "give it with --architecture, like `--architecture x86_64`",
        )
    })?;
    let features = given_or(&options.features, found.features);
    let firmware = given_or(&options.firmware, firmware(content, &features));
    let or = |option: &Option<String>, found: String| option.clone().unwrap_or(found);
    let sector_size = match (&options.sector_size, content) {
        (Some(given), _) => given.parse()?,
        (None, Content::Disk(disk)) => disk.sector_size,
        (None, Content::Filesystem(filesystem)) => filesystem.sector_size,
        (None, Content::File(_) | Content::Unknown) => 512,
    };
    Ok(Described {
        os: System {
            family: or(&options.os_family, found.os.family),
            name: or(&options.os_name, found.os.name),
            version: or(&options.os_version, found.os.version),
            codename: or(&options.os_codename, found.os.codename),
        },
        architecture,
        firmware,
        features,
        mount: (!whole_disk).then(|| options.mount.clone()),
        filesystem: filesystem(content).filter(|_| !whole_disk),
        sector_size,
    })
}

fn is_whole_disk(options: &ImageOptions, content: &Content) -> Result<bool> {
    match (options.kind, content) {
        (Some(kind), _) => Ok(kind == Kind::Disk),
        (None, Content::Disk(_)) => Ok(true),
        (None, Content::Filesystem(_)) => Ok(false),
        (None, Content::File(_) | Content::Unknown) => Err(refused(
            "the image is neither a disk with a partition table nor a known filesystem",
            "check that it is neither damaged nor compressed, or give its kind with --kind",
        )),
    }
}

fn filesystem(content: &Content) -> Option<Filesystem> {
    let Content::Filesystem(filesystem) = content else {
        return None;
    };
    Some(Filesystem {
        kind: filesystem.kind.to_owned(),
        uuid: filesystem.uuid.clone(),
    })
}

fn given_or(given: &[String], found: Vec<String>) -> Vec<String> {
    if given.is_empty() {
        found
    } else {
        given.to_vec()
    }
}

/// Firmware that it can boot from: of a disk by its boot code and ESP, of a filesystem by its boot loaders.
fn firmware(content: &Content, features: &[String]) -> Vec<String> {
    let has = |feature: &str| features.iter().any(|known| known == feature);
    let (bios, uefi) = match content {
        Content::Disk(disk) => (disk.bios, disk.uefi),
        Content::Filesystem(_) | Content::File(_) | Content::Unknown => {
            (has("grub-pc"), has("grub-efi"))
        }
    };
    let kinds = [("bios", bios), ("uefi", uefi)];
    let kinds = kinds.iter().filter(|(_, boots)| *boots);
    kinds.map(|(name, _)| (*name).to_owned()).collect()
}
