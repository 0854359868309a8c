//! Filesystem types, and the one table of what each can do. A new type is a variant and a row.

use std::fmt;

use super::mkfs_options::{self, MkfsOption};
use crate::tools::Tool;
use host::units::Bytes;
use serde::{Serialize, Serializer};

/// Type of a filesystem, or swap space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FilesystemType {
    /// ext2.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Swap space.
    Swap,
    /// Any other, by its name: an image may hold it, and none is made here. It is planned, and refused by `run` where
    /// it would have to be made.
    Other(String),
}

/// What the agent can do with a type of filesystem.
#[derive(Debug)]
pub struct Capabilities {
    /// Its name in requests, in fstab, and of blkid's.
    pub name: &'static str,
    /// The program that makes one, with its options.
    pub maker: Maker,
    /// The longest label that it holds, in bytes.
    pub label_bytes: usize,
    /// Least room in which one of any use is made.
    pub least: Bytes,
    /// How it takes up its whole device after it came with an image; `None`: it stays as it is.
    pub growth: Option<Growth>,
    /// Whether files go into it.
    pub holds_files: bool,
    /// Types that its driver mounts too.
    pub mounts_too: &'static [&'static str],
    /// More mount options of a root filesystem: one that is damaged stops the node.
    pub root_options: Option<&'static str>,
}

/// The program that makes a filesystem, and its options.
#[derive(Debug)]
pub struct Maker {
    /// The `mkfs` program.
    pub tool: Tool,
    /// What keeps it from asking and from refusing.
    pub flags: &'static [&'static str],
    /// The option for the UUID, and what stands before it in its value.
    pub uuid: (&'static str, &'static str),
    /// Its option for the label, such as `-L`.
    pub label: &'static str,
    /// The options of its own that a request may add.
    pub options: &'static [MkfsOption],
}

/// When and by which program a filesystem is grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// While it is not mounted, checked before.
    Unmounted,
    /// While it is mounted only.
    Mounted,
}

impl Growth {
    /// The programs that growing needs.
    pub const fn tools(self) -> &'static [Tool] {
        match self {
            Self::Unmounted => &[Tool::E2fsck, Tool::Resize2fs],
            Self::Mounted => &[Tool::XfsGrowfs],
        }
    }
}

const fn ext(name: &'static str, tool: Tool, mounts_too: &'static [&'static str]) -> Capabilities {
    Capabilities {
        name,
        maker: Maker {
            tool,
            // -F: the device is the planned one, even where mkfs would refuse it
            flags: &["-F", "-q"],
            uuid: ("-U", ""),
            label: "-L",
            options: mkfs_options::EXT,
        },
        label_bytes: 16,
        least: Bytes::MIB,
        growth: Some(Growth::Unmounted),
        holds_files: true,
        mounts_too,
        root_options: Some("errors=panic"),
    }
}

/// The capabilities of each type.
static EXT2: Capabilities = ext("ext2", Tool::MkfsExt2, &[]);
static EXT3: Capabilities = ext("ext3", Tool::MkfsExt3, &["ext2"]);
static EXT4: Capabilities = ext("ext4", Tool::MkfsExt4, &["ext2", "ext3"]);
static XFS: Capabilities = Capabilities {
    name: "xfs",
    maker: Maker {
        tool: Tool::MkfsXfs,
        flags: &["-f", "-q"],
        uuid: ("-m", "uuid="),
        label: "-L",
        options: mkfs_options::XFS,
    },
    label_bytes: 12,
    // mkfs.xfs of xfsprogs 5.19 and newer makes no smaller one
    least: Bytes(300 << 20),
    growth: Some(Growth::Mounted),
    holds_files: true,
    mounts_too: &[],
    root_options: None,
};
static SWAP: Capabilities = Capabilities {
    name: "swap",
    maker: Maker {
        tool: Tool::Mkswap,
        flags: &["-f"],
        uuid: ("-U", ""),
        label: "-L",
        options: mkfs_options::SWAP,
    },
    label_bytes: 15,
    least: Bytes::MIB,
    growth: None,
    holds_files: false,
    mounts_too: &[],
    root_options: None,
};

impl FilesystemType {
    /// The types that the agent can make.
    pub const MADE: [Self; 5] = [Self::Ext2, Self::Ext3, Self::Ext4, Self::Xfs, Self::Swap];

    /// What can be done with it; `None` where it is not made here.
    pub const fn capabilities(&self) -> Option<&'static Capabilities> {
        match self {
            Self::Ext2 => Some(&EXT2),
            Self::Ext3 => Some(&EXT3),
            Self::Ext4 => Some(&EXT4),
            Self::Xfs => Some(&XFS),
            Self::Swap => Some(&SWAP),
            Self::Other(_) => None,
        }
    }

    /// Its name in requests, in fstab, and of blkid's.
    pub fn as_str(&self) -> &str {
        match (self.capabilities(), self) {
            (None, Self::Other(name)) => name,
            (Some(known), _) => known.name,
            (None, _) => "",
        }
    }

    /// Whether it is swap space, which has no files.
    pub const fn is_swap(&self) -> bool {
        matches!(self, Self::Swap)
    }

    /// How it takes up its whole device after it came with an image.
    pub fn growth(&self) -> Option<Growth> {
        self.capabilities()?.growth
    }

    /// Whether what blkid finds as `found` mounts as this one.
    pub fn takes(&self, found: &str) -> bool {
        let too = self
            .capabilities()
            .map_or(&[][..], |known| known.mounts_too);
        found == self.as_str() || too.contains(&found)
    }

    /// The types that are made here and that `suit`, for a sentence: `` `ext4`, `xfs` or `swap` ``.
    pub fn listed(suits: impl Fn(&Capabilities) -> bool) -> String {
        let made = Self::MADE.iter().filter_map(Self::capabilities);
        let names: Vec<String> = made
            .filter(|known| suits(known))
            .map(|known| format!("`{}`", known.name))
            .collect();
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl From<&str> for FilesystemType {
    fn from(name: &str) -> Self {
        let known = Self::MADE.into_iter().find(|known| known.as_str() == name);
        known.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl fmt::Display for FilesystemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FilesystemType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// Content of an image, as the request states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// A filesystem of this type, which becomes the one on its device.
    Filesystem(FilesystemType),
    /// A root archive: files for a filesystem that is made for them.
    Archive,
    /// Not stated: an image that is written as it is.
    Unspecified,
}

/// Name of an archive as `format` in requests.
pub const ARCHIVE: &str = "tar";

impl ImageFormat {
    /// As requests name it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Filesystem(kind) => kind.as_str(),
            Self::Archive => ARCHIVE,
            Self::Unspecified => "",
        }
    }

    /// The type of the filesystem in it.
    pub const fn filesystem(&self) -> Option<&FilesystemType> {
        match self {
            Self::Filesystem(kind) => Some(kind),
            Self::Archive | Self::Unspecified => None,
        }
    }
}

impl From<&str> for ImageFormat {
    fn from(name: &str) -> Self {
        match name {
            "" => Self::Unspecified,
            ARCHIVE => Self::Archive,
            kind => Self::Filesystem(kind.into()),
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ImageFormat {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_known_by_its_own_name() {
        for kind in FilesystemType::MADE {
            let known = kind.capabilities().unwrap();
            assert_eq!(FilesystemType::from(known.name), kind);
            assert!(kind.takes(known.name));
            for elder in known.mounts_too {
                assert!(FilesystemType::from(*elder).capabilities().is_some());
            }
        }
        let other = FilesystemType::from("btrfs");
        assert_eq!(
            (other.as_str(), other.capabilities().is_none()),
            ("btrfs", true)
        );
    }

    #[test]
    fn an_elder_ext_fits_and_a_younger_does_not() {
        assert!(FilesystemType::Ext4.takes("ext2") && FilesystemType::Xfs.takes("xfs"));
        assert!(!FilesystemType::Ext3.takes("ext4") && !FilesystemType::Xfs.takes("ext4"));
    }

    #[test]
    fn the_types_that_are_made_are_listed_in_hints() {
        assert_eq!(
            FilesystemType::listed(|_| true),
            "`ext2`, `ext3`, `ext4`, `xfs` or `swap`"
        );
        assert_eq!(
            FilesystemType::listed(|it| it.holds_files),
            "`ext2`, `ext3`, `ext4` or `xfs`"
        );
    }
}
