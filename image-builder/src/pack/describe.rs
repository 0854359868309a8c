//! What the manifest says of an image beside its digests: the options first, then what is found in it.

use std::path::Path;

use anyhow::Result;
use host::exec::Exec;
use os_image::manifest::{Filesystem, System};

use super::probe::Content;
use super::system;
use crate::cli::{Kind, What};
use crate::error::refused;

/// What the manifest says of it, but for its digests.
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

/// What is known of the image in `path`.
pub(crate) fn describe(
    what: &What,
    content: &Content,
    path: &Path,
    exec: &mut dyn Exec,
) -> Result<Described> {
    let whole_disk = is_whole_disk(what, content)?;
    let found = match content {
        Content::Filesystem(filesystem) if filesystem.kind.starts_with("ext") => {
            system::look(path, exec)
        }
        _ => system::FoundSystem::default(),
    };
    let architecture = what.architecture.clone().or(found.architecture);
    let architecture = architecture.ok_or_else(|| {
        refused(
            "the architecture of the image is unknown",
            "give it, like --architecture x86_64",
        )
    })?;
    let features = given_or(&what.features, found.features);
    let firmware = given_or(&what.firmware, firmware(content, &features));
    let or = |option: &Option<String>, found: String| option.clone().unwrap_or(found);
    let sector_size = match (&what.sector_size, content) {
        (Some(given), _) => given.parse()?,
        (None, Content::Disk(disk)) => disk.sector_size,
        (None, Content::Filesystem(filesystem)) => filesystem.sector_size,
        (None, Content::File(_) | Content::Unknown) => 512,
    };
    Ok(Described {
        os: System {
            family: or(&what.os_family, found.os.family),
            name: or(&what.os_name, found.os.name),
            version: or(&what.os_version, found.os.version),
            codename: or(&what.os_codename, found.os.codename),
        },
        architecture,
        firmware,
        features,
        mount: (!whole_disk).then(|| what.mount.clone()),
        filesystem: filesystem(content).filter(|_| !whole_disk),
        sector_size,
    })
}

fn is_whole_disk(what: &What, content: &Content) -> Result<bool> {
    match (what.kind, content) {
        (Some(kind), _) => Ok(kind == Kind::Disk),
        (None, Content::Disk(_)) => Ok(true),
        (None, Content::Filesystem(_)) => Ok(false),
        (None, Content::File(_) | Content::Unknown) => Err(refused(
            "the image is neither a disk with a partition table nor a known filesystem",
            "give its kind with --kind; if it should be one of them, check that it is neither damaged nor compressed",
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

/// What it boots from: a disk by itself, a filesystem with the boot loader that it has.
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
