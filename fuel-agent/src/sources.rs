//! What the images are: looked up read-only, read from a file, or unknown (`--offline`).

use std::fmt;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use host::units::Bytes;
use liblzma::bufread::XzDecoder;
use os_image::container::{FileFormat, HEAD_LENGTH, WINDOW_MAX};
use os_image::disk::{DiskImage, Qcow2};

use crate::model::request::{ARCHIVE, Container};

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
            Self::DiskImage { why, .. } => write!(f, "cannot be read: {why}"),
            Self::Window { needed, limit } => write!(
                f,
                "needs {needed} of memory to be unpacked, more than {limit}"
            ),
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
        return Err(Mismatch::Container { found, expected });
    }
    if let (Container::Qcow2, Err(why)) = (container, disk_size(head)) {
        return Err(why);
    }
    let limit = Bytes(WINDOW_MAX);
    match found.window(head).map(Bytes) {
        Some(needed) if needed > limit => Err(Mismatch::Window { needed, limit }),
        _ => check_content(&first_bytes(head, container), format),
    }
}

/// Whether what begins with `content` out of its container is an archive, if it should be one, and none if not.
pub fn check_content(content: &[u8], format: &str) -> Result<(), Mismatch> {
    let found = FileFormat::by(content);
    let is_right = match format {
        // fewer bytes than its first header do not tell
        ARCHIVE => found == FileFormat::Tar || content.len() < HEAD_LENGTH,
        _ => found != FileFormat::Tar,
    };
    if is_right {
        return Ok(());
    }
    let expected = format.to_owned();
    Err(Mismatch::Format { found, expected })
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
    let image = Qcow2::open(head.to_vec()).map_err(|error| Mismatch::DiskImage {
        why: error.to_string(),
        hint: error.hint(),
    })?;
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
        FileFormat::Lz4 | FileFormat::Vmdk | FileFormat::Zip | FileFormat::WebPage => None,
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
