//! What the images are: looked up read-only, read from a file, or unknown (`--offline`).

use std::fmt;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use host::units::Bytes;
use liblzma::bufread::XzDecoder;
use os_image::container::{FileFormat, HEAD_LENGTH, WINDOW_MAX};
use os_image::disk::{DiskImage, DiskImageError, Qcow2};

use crate::model::filesystem::{ARCHIVE, FilesystemType};
use crate::model::request::Container;
use crate::model::sources::ImageContent;

/// What to do about a window that is too wide.
pub(crate) const NARROWER: &str =
    "pack it with a smaller one: `zstd --long=27` without `--ultra`, or `xz -9`";

/// Filesystem types that are known by their first bytes, whatever else is in them.
const RECOGNISED: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "swap"];

/// Why the first bytes of an image are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// There are none.
    Empty,
    /// It is wrapped in another way than the request says.
    Container {
        /// How it is wrapped.
        found: FileFormat,
        /// How the request says that it is.
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
        /// What it is.
        found: FileFormat,
    },
    /// Out of its container comes another file: compressed once more, or a disk image of a virtual machine.
    Nested {
        /// What comes out.
        inside: String,
    },
    /// It is a disk with its partition table, and should be one filesystem.
    WholeDisk {
        /// The filesystem type that it should be.
        expected: String,
    },
    /// It is another filesystem.
    Filesystem {
        /// Its type.
        found: String,
        /// The type that it should be.
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
        /// What the decoder says.
        why: String,
    },
    /// It is a disk image of a kind that is not read, or none.
    DiskImage {
        /// What is wrong with it.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// Unpacking it needs more memory than it gets.
    Window {
        /// What it asks for.
        needed: Bytes,
        /// The most that it gets.
        limit: Bytes,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Container { found, expected } => {
                write!(f, "is {found}, the request says {expected}")
            }
            Self::Format { expected, .. } if expected.is_empty() => f.write_str(
                "is a tar archive: its files go into a filesystem, by a request that says `format: tar`; it is no image of a filesystem or a disk",
            ),
            Self::Format {
                found: FileFormat::Tar,
                expected,
            } => write!(f, "is a tar archive, the request says that it is `{expected}`"),
            Self::Format { found, expected } => {
                write!(f, "is no tar archive but {found}, the request says that it is `{expected}`")
            }
            Self::Unread { found } => write!(f, "is {found}, which cannot be written as it is"),
            Self::Nested { inside } => {
                write!(f, "holds {inside} where a disk or a filesystem should be")
            }
            Self::WholeDisk { expected } => write!(
                f,
                "is the image of a whole disk, the request says that it is `{expected}`"
            ),
            Self::Filesystem { found, expected } => {
                write!(f, "holds `{found}`, the request says that it is `{expected}`")
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
    /// What to try.
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

impl From<DiskImageError> for Mismatch {
    fn from(error: DiskImageError) -> Self {
        Self::DiskImage {
            why: error.to_string(),
            hint: error.hint(),
        }
    }
}

/// Whether an image that begins with `head` is what the request says, and asks for no more memory than it gets. What is in the
/// container is looked at as far as so few bytes tell.
pub fn check_head(head: &[u8], container: Container, format: &str) -> Result<(), Mismatch> {
    if head.is_empty() {
        return Err(Mismatch::Empty);
    }
    let found = FileFormat::by(head);
    if container_of(found) != Some(container) {
        let expected = found_of(container);
        return Err(match container_of(found) {
            None if format.is_empty() => Mismatch::Unread { found },
            _ => Mismatch::Container { found, expected },
        });
    }
    if let (Container::Qcow2, Err(why)) = (container, disk_size(head)) {
        return Err(why);
    }
    let limit = Bytes(WINDOW_MAX);
    match found.window(head).map(Bytes) {
        Some(needed) if needed > limit => Err(Mismatch::Window { needed, limit }),
        _ => check_file(&first_bytes(head, container), format),
    }
}

/// Whether what begins with `content` out of its container is an archive, if it should be one, and else no file.
fn check_file(content: &[u8], format: &str) -> Result<(), Mismatch> {
    let found = FileFormat::by(content);
    let is_right = match format {
        // fewer bytes than its first header do not tell
        ARCHIVE => found == FileFormat::Tar || content.len() < HEAD_LENGTH,
        _ => found == FileFormat::Raw,
    };
    if is_right {
        return Ok(());
    }
    if found != FileFormat::Tar && found != FileFormat::Raw {
        let inside = found.name().to_owned();
        return Err(Mismatch::Nested { inside });
    }
    let expected = format.to_owned();
    Err(Mismatch::Format { found, expected })
}

/// Whether the first block out of the container is of what the request says, as far as it tells.
pub fn check_content(content: &[u8], format: &str) -> Result<(), Mismatch> {
    check_file(content, format)?;
    if format == ARCHIVE {
        return Ok(());
    }
    match check_identified(&super::prefix::identify(content), format) {
        Err(Mismatch::Unrecognised { .. }) => Ok(()),
        checked => checked,
    }
}

/// Whether what an image holds is what it should be: a filesystem of type `format`, an archive, or, where that is empty,
/// any disk or filesystem.
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

/// What comes out of the container first, as far as `head` goes: nothing of those that unpack whole blocks only.
fn first_bytes(head: &[u8], container: Container) -> Vec<u8> {
    match container {
        Container::Raw => head.to_vec(),
        Container::Gzip => read_some(MultiGzDecoder::new(head)),
        Container::Xz => read_some(XzDecoder::new(head)),
        Container::Zstd | Container::Bzip2 | Container::Qcow2 => Vec::new(),
    }
}

/// Reads until it is enough, or there is no more.
fn read_some(mut decoder: impl Read) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_LENGTH];
    let mut length = 0;
    while length < bytes.len()
        && let Ok(count) = decoder.read(&mut bytes[length..])
        && count > 0
    {
        length += count;
    }
    bytes.truncate(length);
    bytes
}

/// How large the disk is whose qcow2 image begins with `head`.
pub fn disk_size(head: &[u8]) -> Result<Bytes, Mismatch> {
    // nothing beyond the header is read as long as no piece is asked for
    let image = Qcow2::open(head.to_vec()).map_err(Mismatch::from)?;
    Ok(Bytes(image.size()))
}

/// How an image is wrapped whose first bytes say `found`; `None` for what is not read.
pub const fn container_of(found: FileFormat) -> Option<Container> {
    match found {
        // an archive that is wrapped in nothing; whether it should be one is told by the format
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

/// What the first bytes of such an image say.
const fn found_of(container: Container) -> FileFormat {
    match container {
        Container::Raw => FileFormat::Raw,
        Container::Gzip => FileFormat::Gzip,
        Container::Zstd => FileFormat::Zstd,
        Container::Xz => FileFormat::Xz,
        Container::Bzip2 => FileFormat::Bzip2,
        Container::Qcow2 => FileFormat::Qcow2,
    }
}

/// Whether `text` is `length` hexadecimal digits.
pub fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
