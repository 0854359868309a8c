//! Unpacks the first bytes of an image from the part of its file fetched so far, so that its content is known before
//! anything is written.

use std::io::{self, Read};

use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use os_image::container::{WINDOW_MAX, ZSTD_WINDOW_LOG_MAX};
use os_image::content::{Content, HEAD_LENGTH};
use os_image::disk::{DiskImage, DiskImageError, Qcow2, ReadAt};
use os_image::members;

use crate::model::mismatch::Mismatch;
use crate::model::request::Container;
use crate::model::sources::ImageContent;
use host::units::Bytes;

/// Most bytes of a file fetched to identify its content; more than the longest block of bzip2 takes.
pub(crate) const FETCH_MAX: usize = 2 << 20;

/// Memory for xz: the largest dictionary, and the decoder itself.
const XZ_MEMORY: u64 = WINDOW_MAX + (1 << 20);

/// The beginning of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning<'a> {
    pub(crate) bytes: &'a [u8],
    /// Length of the file, if known.
    pub(crate) size: Option<u64>,
}

impl Beginning<'_> {
    fn is_all(&self) -> bool {
        self.size.is_some_and(|size| size <= length(self.bytes))
    }
}

/// Identifies the content of an image; `None` if more of the file is needed.
pub(crate) fn content(
    file: Beginning<'_>,
    container: Container,
) -> Result<Option<ImageContent>, Mismatch> {
    Ok(unpack(file, container)?.map(|head| identify(&head)))
}

/// The first [`HEAD_LENGTH`] bytes of the image, or all of it if it is shorter.
fn unpack(file: Beginning<'_>, container: Container) -> Result<Option<Vec<u8>>, Mismatch> {
    let bytes = file.bytes;
    match container {
        Container::Raw => {
            let enough = file.is_all() || bytes.len() >= HEAD_LENGTH;
            Ok(enough.then(|| bytes.get(..HEAD_LENGTH).unwrap_or(bytes).to_vec()))
        }
        Container::Gzip => drain(file, members::gzip(bytes)),
        Container::Bzip2 => drain(file, members::bzip2(bytes)),
        Container::Xz => match Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED) {
            Ok(stream) => drain(file, XzDecoder::new_stream(bytes, stream)),
            Err(_) => Ok(None),
        },
        Container::Zstd => match zstd::stream::read::Decoder::with_buffer(bytes) {
            Ok(mut decoder) => match decoder.window_log_max(ZSTD_WINDOW_LOG_MAX) {
                Ok(()) => drain(file, decoder),
                Err(_) => Ok(None),
            },
            Err(_) => Ok(None),
        },
        Container::Qcow2 => qcow2(file),
    }
}

/// Reads up to [`HEAD_LENGTH`] bytes. An error of the decoder counts only if nothing was unpacked; later ones are left
/// to the data path.
fn drain(file: Beginning<'_>, mut decoder: impl Read) -> Result<Option<Vec<u8>>, Mismatch> {
    let most = u64::try_from(HEAD_LENGTH).unwrap_or(u64::MAX);
    let mut head = Vec::with_capacity(HEAD_LENGTH);
    let ended = decoder.by_ref().take(most).read_to_end(&mut head);
    let ended = ended.map(drop);
    let filled = head.len();
    let is_enough = filled == HEAD_LENGTH;
    match ended {
        _ if is_enough => Ok(Some(head)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !file.is_all() => Ok(None),
        // the end of a member or frame; another may follow
        Ok(()) if !file.is_all() => Ok(None),
        Ok(()) if filled == 0 => Err(Mismatch::Empty),
        // zeros behind the end are padding
        Err(error)
            if error.kind() == io::ErrorKind::UnexpectedEof
                && (filled == 0 || !file.bytes.ends_with(&[0])) =>
        {
            Err(Mismatch::Cut)
        }
        Err(error) if filled == 0 => Err(Mismatch::Damaged {
            why: error.to_string(),
        }),
        Ok(()) | Err(_) => Ok(Some(head)),
    }
}

/// A file of which only the beginning was fetched.
struct Partial<'a>(Beginning<'a>);

impl ReadAt for Partial<'_> {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let from = usize::try_from(at).map_err(|_| end())?;
        let to = from.checked_add(buffer.len()).ok_or_else(end)?;
        buffer.copy_from_slice(self.0.bytes.get(from..to).ok_or_else(end)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.size.unwrap_or(u64::MAX))
    }
}

fn qcow2(file: Beginning<'_>) -> Result<Option<Vec<u8>>, Mismatch> {
    match first_of_disk(Partial(file)) {
        Ok(head) => Ok(Some(head)),
        Err(DiskImageError::Io(_)) => Ok(None),
        Err(error) => Err(Mismatch::from(error)),
    }
}

/// The first bytes of the disk in a qcow2 image.
pub(crate) fn first_of_disk(source: impl ReadAt) -> Result<Vec<u8>, DiskImageError> {
    let mut image = Qcow2::open(source)?;
    let mut head = Vec::new();
    for number in 0..image.pieces() {
        if head.len() >= HEAD_LENGTH {
            break;
        }
        let mut piece = vec![0; image.piece_length(number)];
        if !image.piece(number, &mut piece)? {
            piece.fill(0);
        }
        head.append(&mut piece);
    }
    head.truncate(HEAD_LENGTH);
    Ok(head)
}

/// Identifies the content by its first bytes.
pub(crate) fn identify(head: &[u8]) -> ImageContent {
    match Content::of(head) {
        Content::File(os_image::container::FileFormat::Tar) => ImageContent::Archive,
        Content::File(found) => ImageContent::File {
            format: found.name().to_owned(),
        },
        Content::Disk(disk) => ImageContent::Disk {
            table: disk.table.to_owned(),
            sector_size_bytes: Bytes(disk.sector_size.into()),
            bios: disk.bios,
            uefi: disk.uefi,
            size_bytes: disk.size.map(Bytes),
        },
        Content::Filesystem(filesystem) => ImageContent::Filesystem {
            filesystem: filesystem.kind.to_owned(),
            sector_size_max_bytes: Bytes(filesystem.sector_size_max.into()),
            size_bytes: filesystem.size().map(Bytes),
        },
        Content::Unknown => ImageContent::Unknown,
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn packed(raw: &[u8]) -> [(Container, Vec<u8>); 5] {
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(raw).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(raw).unwrap();
        [
            (Container::Raw, raw.to_vec()),
            (Container::Gzip, gzip(raw)),
            (Container::Bzip2, bzip2.finish().unwrap()),
            (Container::Xz, xz.finish().unwrap()),
            (Container::Zstd, zstd::encode_all(raw, 1).unwrap()),
        ]
    }

    /// Incompressible bytes with the magic of XFS.
    fn image(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut raw: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        raw[..4].copy_from_slice(b"XFSB");
        raw
    }

    fn is_xfs(content: Option<ImageContent>) -> bool {
        matches!(content, Some(ImageContent::Filesystem { filesystem, .. }) if filesystem == "xfs")
    }

    #[test]
    fn what_is_in_a_container_is_known_by_its_beginning() {
        for (container, file) in packed(&image(3 << 20)) {
            let size = Some(length(&file));
            let bytes = &file[..FETCH_MAX];
            let found = content(Beginning { bytes, size }, container).unwrap();
            assert!(is_xfs(found), "{container:?}");
            let bytes = &file[..1000];
            let found = content(Beginning { bytes, size }, container).unwrap();
            assert_eq!(found, None, "{container:?}: so few bytes do not tell");
        }
    }

    #[test]
    fn a_short_image_is_known_when_all_of_it_is_there() {
        for (container, file) in packed(&image(4000)) {
            let size = Some(length(&file));
            let found = content(Beginning { bytes: &file, size }, container).unwrap();
            assert!(is_xfs(found), "{container:?}");
            let found = content(
                Beginning {
                    bytes: &file,
                    size: None,
                },
                container,
            )
            .unwrap();
            assert_eq!(found, None, "{container:?}: more may follow");
        }
    }

    #[test]
    fn members_without_content_are_counted_before_all_of_the_file_is_fetched() {
        let [_, gzip, bzip2, ..] = packed(&[]);
        for (container, member) in [gzip, bzip2] {
            for (count, damaged) in [(900, false), (1100, true)] {
                let bytes = &member.repeat(count)[..];
                let found = content(Beginning { bytes, size: None }, container);
                let is_damaged = matches!(found, Err(Mismatch::Damaged { .. }));
                assert_eq!(is_damaged, damaged, "{container:?}: {found:?}");
            }
        }
    }

    #[test]
    fn a_container_of_nothing_is_empty_and_one_that_breaks_off_is_cut() {
        for (container, file) in packed(&[]).into_iter().skip(1) {
            let size = Some(length(&file));
            let found = content(Beginning { bytes: &file, size }, container);
            assert_eq!(found, Err(Mismatch::Empty), "{container:?}");
        }
        for (container, file) in packed(&image(5000)).into_iter().skip(1) {
            let bytes = &file[..file.len().min(13)];
            let size = Some(length(bytes));
            let found = content(Beginning { bytes, size }, container);
            assert_eq!(found, Err(Mismatch::Cut), "{container:?}");
        }
    }

    #[test]
    fn a_file_in_a_file_is_no_image() {
        for (inside, name) in [
            (&b"QFI\xfb\0\0\0\x03"[..], "qcow2"),
            (b"KDMV\x01\0\0\0", "vmdk"),
            (b"<<< Oracle VM VirtualBox Disk Image >>>\n", "VDI"),
            (&gzip(b"x"), "gzip"),
        ] {
            let file = gzip(inside);
            let size = Some(length(&file));
            let found = content(Beginning { bytes: &file, size }, Container::Gzip).unwrap();
            let format = name.to_owned();
            assert_eq!(found, Some(ImageContent::File { format }));
        }
    }

    #[test]
    fn endless_empty_blocks_are_decoded_only_as_far_as_fetched() {
        let file = gzip(b"").repeat(1000);
        let found = content(
            Beginning {
                bytes: &file,
                size: None,
            },
            Container::Gzip,
        );
        assert_eq!(found, Ok(None));
    }
}
