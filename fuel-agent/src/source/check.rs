//! Compares the beginning of an image with the request.

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

/// Checks that `head` is of the stated container, that unpacking needs no more memory than allowed, and, as far as so
/// few bytes show, that the content matches `format`.
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

/// Checks that the unpacked beginning `content` is an archive if one is expected, and otherwise not a file format of
/// its own.
fn check_file(content: &[u8], format: &str) -> Result<(), Mismatch> {
    let found = FileFormat::by(content);
    let is_right = match format {
        // a tar header is longer than that
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

/// Checks the content of the first block against the request.
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

/// The first bytes out of the container; none for containers that unpack in whole blocks only.
fn first_bytes(head: &[u8], container: Container) -> Vec<u8> {
    match container {
        Container::Raw => head.to_vec(),
        Container::Gzip => read_some(MultiGzDecoder::new(head)),
        Container::Xz => read_some(XzDecoder::new(head)),
        Container::Zstd | Container::Bzip2 | Container::Qcow2 => Vec::new(),
    }
}

/// The first [`HEAD_LENGTH`] bytes, or those before an end or an error.
fn read_some(decoder: impl Read) -> Vec<u8> {
    let most = u64::try_from(HEAD_LENGTH).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(HEAD_LENGTH);
    // what came before an error is kept
    let _ = decoder.take(most).read_to_end(&mut bytes);
    bytes
}

/// Virtual size of the disk in a qcow2 image, from its header.
pub fn disk_size(head: &[u8]) -> Result<Bytes, Mismatch> {
    // only the header is read while no piece is requested
    let image = Qcow2::open(head.to_vec()).map_err(Mismatch::from)?;
    Ok(Bytes(image.size()))
}

/// Whether `text` is `length` hexadecimal digits.
pub fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
