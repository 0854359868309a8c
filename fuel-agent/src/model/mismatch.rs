//! Why an image is not what the request states, and what to do about it; decided by what is known of its first bytes.

use std::fmt;

use host::units::Bytes;
use os_image::container::FileFormat;

use super::filesystem::{ARCHIVE, FilesystemType};
use super::request::Container;
use super::sources::ImageContent;

/// What to do about a window that is too wide.
pub(crate) const NARROWER: &str =
    "pack it with a smaller one: `zstd --long=27` without `--ultra`, or `xz -9`";

/// Filesystem types that are known by their first bytes, whatever else is in them.
const RECOGNISED: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "swap"];

/// Why the first bytes of an image are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It has no bytes.
    Empty,
    /// It has another container than the request states.
    Container {
        /// Container or format by its first bytes.
        found: FileFormat,
        /// Container that the request states.
        expected: FileFormat,
    },
    /// It is an archive and should be none, or the other way round.
    Format {
        /// What it is, or what is in its wrapping.
        found: FileFormat,
        /// What it should be: a filesystem type, [`ARCHIVE`], or nothing where only the image itself was named.
        expected: String,
    },
    /// It is a file of a kind that is not read, and only the image itself was named.
    Unread {
        /// Format by its first bytes.
        found: FileFormat,
    },
    /// Out of its container comes another file: compressed once more, or a disk image of a virtual machine.
    Nested {
        /// Format of the unpacked bytes.
        inside: String,
    },
    /// It is a disk with its partition table, and should be one filesystem.
    WholeDisk {
        /// The filesystem type that it should be.
        expected: String,
    },
    /// It is another filesystem.
    Filesystem {
        /// Type as blkid names it.
        found: String,
        /// Type that the request states.
        expected: String,
    },
    /// Nothing that is known is in it, and the filesystem that should be there would be.
    Unrecognised {
        /// The filesystem type that it should be.
        expected: String,
    },
    /// All of it is there, and it ends in the middle.
    Cut,
    /// It cannot be unpacked.
    Damaged {
        /// Error of the decoder.
        why: String,
    },
    /// It is a disk image of a kind that is not read, or none.
    DiskImage {
        /// Message: what is wrong with it.
        why: String,
        /// Hint: what to do.
        hint: &'static str,
    },
    /// Unpacking it needs more memory than it gets.
    Window {
        /// Memory that its header asks for.
        needed: Bytes,
        /// Largest window that the decoder accepts.
        limit: Bytes,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Container { found, expected } => {
                write!(f, "is {}, the request says {expected}", noun(*found))
            }
            Self::Format { expected, .. } if expected.is_empty() => f.write_str(
                "is a tar archive, not an image of a filesystem or a disk: \
                 a request with `format: tar` unpacks it into a filesystem",
            ),
            Self::Format {
                found: FileFormat::Tar,
                expected,
            } => write!(
                f,
                "is a tar archive, the request says that it is `{expected}`"
            ),
            Self::Format { found, expected } => {
                let found = noun(*found);
                write!(
                    f,
                    "is not a tar archive but {found}, the request says that it is `{expected}`"
                )
            }
            Self::Unread { found } => {
                write!(f, "is {}, which cannot be written as it is", noun(*found))
            }
            Self::Nested { inside } => {
                write!(f, "holds {inside} where a disk or a filesystem should be")
            }
            Self::WholeDisk { expected } => write!(
                f,
                "is the image of a whole disk, the request says that it is `{expected}`"
            ),
            Self::Filesystem { found, expected } => {
                write!(
                    f,
                    "holds `{found}`, the request says that it is `{expected}`"
                )
            }
            Self::Unrecognised { expected } => {
                write!(f, "holds no `{expected}`, and nothing else that is known")
            }
            Self::Cut => f.write_str("ends in the middle"),
            Self::Damaged { why } => write!(f, "cannot be unpacked: {why}"),
            Self::DiskImage { why, .. } => write!(f, "cannot be read: {why}"),
            Self::Window { needed, limit } => write!(
                f,
                "needs {needed} of memory to be unpacked, more than {limit}"
            ),
        }
    }
}

/// The format as a noun in a sentence: names of formats stand as they are, kinds of files have an article.
fn noun(found: FileFormat) -> &'static str {
    match found {
        FileFormat::WebPage => "a web page",
        FileFormat::Tar => "a tar archive",
        FileFormat::Foreign("Android sparse image") => "an Android sparse image",
        other => other.name(),
    }
}

/// What to do with an image that holds `inside` where a disk or a filesystem should be.
fn nested_hint(inside: &str) -> &'static str {
    match inside {
        "gzip" | "xz" | "zstd" | "bzip2" => "unpack it once, and publish what comes out",
        "qcow2" => {
            "unpack it and publish the qcow2 image itself, or pack it with `image-builder pack`"
        }
        _ => {
            "unpack it, convert it with `qemu-img convert -O raw`, and pack it with `image-builder pack`"
        }
    }
}

impl Mismatch {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Empty => "publish the image".to_owned(),
            Self::Container {
                found: FileFormat::WebPage,
                ..
            }
            | Self::Unread {
                found: FileFormat::WebPage,
            } => "check the address: a page came in place of the image".to_owned(),
            Self::Container {
                found: FileFormat::Tar, ..
            } => "say `container: raw` and `format: tar` in the request, or publish the other file"
                .to_owned(),
            Self::Format { expected, .. } if expected.is_empty() => {
                "write a request that has it as the image of a mount point, with `format: tar`"
                    .to_owned()
            }
            Self::Format {
                found: FileFormat::Tar, ..
            } => "say `format: tar` in the request, or publish the image of a filesystem".to_owned(),
            Self::Format { .. } => {
                "say in the request which filesystem it is, or publish a tar archive".to_owned()
            }
            Self::Container {
                found: found @ (FileFormat::Raw | FileFormat::Gzip | FileFormat::Zstd),
                ..
            } => format!("say `container: {found}` in the request, or publish the other file"),
            // the dialect is not known here, and nailgun's turns these down
            Self::Container { found, .. } if container_of(*found).is_some() => format!(
                "publish it as gzip or zstd, or say `container: {found}` in a request of another dialect than nailgun's"
            ),
            Self::Container { .. } | Self::Unread { .. } => {
                "use raw, gzip, zstd, xz, bzip2 or qcow2; `image-builder pack` and `qemu-img convert` make one"
                    .to_owned()
            }
            Self::Nested { inside } => nested_hint(inside).to_owned(),
            Self::WholeDisk { .. } => {
                "publish an image of the filesystem; `provision write` writes whole disks".to_owned()
            }
            Self::Filesystem { found, .. } if RECOGNISED.contains(&found.as_str()) => {
                format!("set its `format` to `{found}`, or publish the other image")
            }
            Self::Filesystem { expected, .. } | Self::Unrecognised { expected } => format!(
                "publish an image of a filesystem of type `{expected}`; `blkid -p` names what is in its raw form"
            ),
            Self::Cut => "check that the file on the server is complete".to_owned(),
            Self::Damaged { .. } => {
                "check the file on the server (`gzip -t`, `zstd -t`, `xz -t`, `bzip2 -t`)".to_owned()
            }
            Self::DiskImage { hint, .. } => (*hint).to_owned(),
            Self::Window { .. } => NARROWER.to_owned(),
        }
    }
}

/// Whether what an image holds is what it should be: a filesystem of type `format`, an archive, or, where that is
/// empty, any disk or filesystem.
pub fn check_identified(content: &ImageContent, format: &str) -> Result<(), Mismatch> {
    let expected = format.to_owned();
    match content {
        ImageContent::Archive if format == ARCHIVE => Ok(()),
        ImageContent::Archive => {
            let found = FileFormat::Tar;
            Err(Mismatch::Format { found, expected })
        }
        ImageContent::File { format } => {
            let inside = format.clone();
            Err(Mismatch::Nested { inside })
        }
        _ if format.is_empty() => Ok(()),
        _ if format == ARCHIVE => {
            let found = FileFormat::Raw;
            Err(Mismatch::Format { found, expected })
        }
        ImageContent::Disk { .. } => Err(Mismatch::WholeDisk { expected }),
        ImageContent::Filesystem { filesystem, .. }
            if FilesystemType::from(format).takes(filesystem) =>
        {
            Ok(())
        }
        ImageContent::Filesystem { filesystem, .. } => {
            let found = filesystem.clone();
            Err(Mismatch::Filesystem { found, expected })
        }
        ImageContent::Unknown if RECOGNISED.contains(&format) => {
            Err(Mismatch::Unrecognised { expected })
        }
        ImageContent::Unknown => Ok(()),
    }
}

/// The container of an image whose first bytes are `found`; `None` for what is not read.
pub const fn container_of(found: FileFormat) -> Option<Container> {
    match found {
        // an archive without a container; `format` decides whether it should be one
        FileFormat::Raw | FileFormat::Tar => Some(Container::Raw),
        FileFormat::Gzip => Some(Container::Gzip),
        FileFormat::Zstd => Some(Container::Zstd),
        FileFormat::Xz => Some(Container::Xz),
        FileFormat::Bzip2 => Some(Container::Bzip2),
        FileFormat::Qcow2 => Some(Container::Qcow2),
        FileFormat::Lz4
        | FileFormat::Vmdk
        | FileFormat::Zip
        | FileFormat::Foreign(_)
        | FileFormat::WebPage => None,
    }
}

/// Format by the first bytes of an image in this container.
pub(crate) const fn found_of(container: Container) -> FileFormat {
    match container {
        Container::Raw => FileFormat::Raw,
        Container::Gzip => FileFormat::Gzip,
        Container::Zstd => FileFormat::Zstd,
        Container::Xz => FileFormat::Xz,
        Container::Bzip2 => FileFormat::Bzip2,
        Container::Qcow2 => FileFormat::Qcow2,
    }
}
