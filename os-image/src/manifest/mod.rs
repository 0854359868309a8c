//! The manifest of a packed image: its properties and its chunks. docs/packed-images.md specifies it.

mod limited_reader;
mod raw;
mod read;
mod write;

#[cfg(test)]
mod tests;

use crate::error::InvalidManifest;
use crate::index::Index;

/// The version of the format that is read and written.
pub const VERSION: u64 = 1;

/// The longest value in a manifest, in bytes: names, paths, digests.
pub(crate) const TOKEN_LIMIT: usize = 4096;

/// The manifest: one system, in one file per filesystem or in one for the whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the image, like `debian-12`.
    pub name: String,
    /// Grows with every release of this name; a reader that has seen a newer release may refuse an older one.
    pub release: u64,
    /// The operating system in the image.
    pub os: System,
    /// Architecture, like `x86_64` (as printed by `uname -m`).
    pub architecture: String,
    /// Firmware that it can boot from: `bios`, `uefi`.
    pub firmware: Vec<String>,
    /// Features of the system, in words like `lvm`, `md`, `cloud-init`, `grub-pc`, `grub-efi`.
    pub features: Vec<String>,
    /// The data files, at least one.
    pub images: Vec<Image>,
}

/// An operating system. Unknown fields are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Family, like `debian` (`ID` of os-release).
    pub family: String,
    /// Name, like `Debian GNU/Linux`.
    pub name: String,
    /// Version, like `12`.
    pub version: String,
    /// Codename, like `bookworm`.
    pub codename: String,
}

/// One data file and the image that it unpacks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name of the data file, in the folder of the manifest.
    pub file: String,
    /// Mount point of its filesystem, like `/`; `None` for a whole disk.
    pub mount: Option<String>,
    /// Whether it is a disk with a partition table rather than one filesystem.
    pub whole_disk: bool,
    /// The filesystem; `None` for a whole disk.
    pub filesystem: Option<Filesystem>,
    /// Sector size of the disks that it was made for: 512 or 4096 bytes. Data structures that count in sectors do not
    /// work on other disks.
    pub sector_size: u32,
    /// Length of the raw image in bytes.
    pub raw_size: u64,
    /// Length of the data file in bytes.
    pub packed_size: u64,
    /// sha256 of the raw image.
    pub raw_sha256: [u8; 32],
    /// sha256 of the data file.
    pub packed_sha256: [u8; 32],
    /// md5 of the raw image, which Fuel's metadata carries too.
    pub raw_md5: Option<[u8; 16]>,
    /// The chunks, which cover the raw image without gaps.
    pub index: Index,
}

/// A filesystem in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Type as `blkid` names it, like `ext4`.
    pub kind: String,
    /// UUID as written in fstab; empty if it has none.
    pub uuid: String,
}

/// Limits for reading a manifest. The default is for a node with little memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of its text in bytes. The text is read as a stream and not kept.
    pub(crate) text: u64,
    /// Bytes of memory for the indexes of all its images together.
    pub(crate) index: usize,
    /// The most images that it may list.
    pub(crate) images: usize,
}

impl Default for Limits {
    /// The largest index that `pack` makes, and the text that it takes.
    fn default() -> Self {
        Self {
            text: 64 << 20,
            index: crate::index::INDEX_LIMIT,
            images: 16,
        }
    }
}

impl Manifest {
    /// The entry of the data file `file`.
    pub fn image(&self, file: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.file == file)
    }

    /// Makes the checks of [`Manifest::read`] except those of the indexes, which are consistent by construction.
    pub(crate) fn check(&self) -> Result<(), (String, InvalidManifest)> {
        let top = |fault| (String::from("the top"), fault);
        check_name("name", &self.name).map_err(top)?;
        check_name("architecture", &self.architecture).map_err(top)?;
        let os = &self.os;
        for text in [&os.family, &os.name, &os.version, &os.codename] {
            if text.len() > 128 || text.chars().any(char::is_control) {
                return Err((String::from("os"), InvalidManifest::Text));
            }
        }
        for (key, words) in [("firmware", &self.firmware), ("features", &self.features)] {
            check_words(key, words).map_err(|fault| (key.to_owned(), fault))?;
        }
        if self.images.is_empty() {
            return Err((String::from("images"), InvalidManifest::Empty));
        }
        for (i, image) in self.images.iter().enumerate() {
            let at = |fault| (format!("images[{i}]"), fault);
            image.check().map_err(at)?;
            for earlier in self.images.iter().take(i) {
                if earlier.file == image.file {
                    return Err(at(InvalidManifest::Repeated(image.file.clone())));
                }
                if earlier.mount == image.mount {
                    let place = image.mount.as_deref().unwrap_or("whole_disk");
                    return Err(at(InvalidManifest::Repeated(place.to_owned())));
                }
            }
        }
        Ok(())
    }
}

impl Image {
    fn check(&self) -> Result<(), InvalidManifest> {
        check_name("file", &self.file)?;
        if self.whole_disk == self.mount.is_some() {
            return Err(InvalidManifest::Target);
        }
        if let Some(mount) = &self.mount {
            check_mount(mount)?;
        }
        if let Some(filesystem) = &self.filesystem {
            check_name("type", &filesystem.kind)?;
            if !filesystem.uuid.is_empty() {
                check_name("uuid", &filesystem.uuid)?;
            }
        }
        check_sizes(self.raw_size, self.sector_size)
    }
}

fn check_sizes(raw_size: u64, sector_size: u32) -> Result<(), InvalidManifest> {
    if ![512, 4096].contains(&sector_size) {
        return Err(InvalidManifest::SectorSize(sector_size.into()));
    }
    if raw_size == 0 || !raw_size.is_multiple_of(sector_size.into()) {
        return Err(InvalidManifest::RawSize {
            raw_size,
            sector_size,
        });
    }
    Ok(())
}

/// Checks the name of an image, a file, an architecture or a feature: it must be safe in paths, URLs and shells.
fn check_name(key: &'static str, text: &str) -> Result<(), InvalidManifest> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let bad_start = text.starts_with(['.', '-']);
    if text.is_empty() || text.len() > 128 || bad_start || !text.chars().all(good) {
        // a refused value is quoted, but shortened
        let text = text.chars().take(64).collect::<String>();
        let text = text.escape_debug().to_string();
        return Err(InvalidManifest::Name { key, text });
    }
    Ok(())
}

fn check_words(key: &'static str, words: &[String]) -> Result<(), InvalidManifest> {
    for (i, word) in words.iter().enumerate() {
        check_name(key, word)?;
        if words.iter().take(i).any(|earlier| earlier == word) {
            return Err(InvalidManifest::Repeated(word.clone()));
        }
    }
    Ok(())
}

fn check_mount(path: &str) -> Result<(), InvalidManifest> {
    let wrong = || {
        InvalidManifest::Mount(
            path.chars()
                .take(64)
                .collect::<String>()
                .escape_debug()
                .to_string(),
        )
    };
    let inner = path.strip_prefix('/').ok_or_else(wrong)?;
    let part_is_good = |part: &str| !["", ".", ".."].contains(&part);
    let good = inner.is_empty() || inner.split('/').all(part_is_good);
    if !good || path.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok(())
}

/// Name of the manifest that belongs to the data file `image_file_name`: up to its *first* dot, as Fuel's YAML is
/// found.
pub fn manifest_file_name(image_file_name: &str) -> String {
    let stem = image_file_name.split('.').next().unwrap_or_default();
    format!("{stem}.manifest.json")
}

/// Name of the signature that belongs to a manifest.
pub fn signature_file_name(manifest_file_name: &str) -> String {
    format!("{manifest_file_name}.minisig")
}
