//! Whether the bytes of an image are what the request says, as far as its beginning tells.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use host::units::Bytes;
use liblzma::bufread::XzDecoder;
use os_image::container::{FileFormat, HEAD_LENGTH, WINDOW_MAX};
use os_image::disk::{DiskImage, DiskImageError, Qcow2};

use crate::model::filesystem::ARCHIVE;
use crate::model::mismatch::{Mismatch, check_identified, container_of, found_of};
use crate::model::request::Container;

impl From<DiskImageError> for Mismatch {
    fn from(error: DiskImageError) -> Self {
        Self::DiskImage {
            why: error.to_string(),
            hint: error.hint(),
        }
    }
}

/// Whether an image that begins with `head` is what the request says, and asks for no more memory than it gets. What is
/// in the container is looked at as far as so few bytes tell.
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

/// Whether `text` is `length` hexadecimal digits.
pub fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
