//! A configdrive that was made elsewhere: unwrapped and checked.
//!
//! Ironic sends base64 of gzip of ISO 9660 with the label `config-2`, its old agents wrote the plain filesystem, Fuel's
//! is ext2. The result is always a filesystem that cloud-init would find.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;

/// A filesystem that cloud-init finds by its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The filesystem, unwrapped.
    pub bytes: Vec<u8>,
    /// Its block size in bytes: it cannot be mounted from a disk with larger sectors.
    pub block: usize,
}

/// Why the data is not a usable configdrive. Messages are predicates: `has …`, `is …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadyError {
    /// Not a supported filesystem, plain or wrapped.
    #[error("is neither FAT, ISO 9660 nor ext, nor gzip or base64 of one of these")]
    Unknown,
    /// Invalid base64.
    #[error("begins like base64, but is not valid base64")]
    Base64,
    /// Damaged or truncated gzip.
    #[error("has damaged or incomplete gzip data")]
    Gzip,
    /// Larger than the limit.
    #[error("unpacks to more than its partition holds")]
    TooLarge,
    /// Shorter than the filesystem's own size.
    #[error("is truncated: its filesystem is larger than the data")]
    Short,
    /// cloud-init would not find it.
    #[error("has a label that cloud-init does not search for")]
    Label,
}

/// Unwraps the filesystem from base64, gzip, both, or nothing, and checks it. `most` limits its size in bytes.
pub fn unwrap(wrapped: Vec<u8>, most: usize) -> Result<Ready, ReadyError> {
    let mut bytes = wrapped;
    if is_base64(&bytes) {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        bytes = STANDARD.decode(&bytes).map_err(|_| ReadyError::Base64)?;
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(bytes.as_slice())
            .take(limit)
            .read_to_end(&mut unpacked)
            .map_err(|_| ReadyError::Gzip)?;
        bytes = unpacked;
    }
    if bytes.len() > most {
        return Err(ReadyError::TooLarge);
    }
    let found = iso(&bytes).or_else(|| fat(&bytes)).or_else(|| ext(&bytes));
    let found = found.ok_or(ReadyError::Unknown)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length < found.length) {
        return Err(ReadyError::Short);
    }
    if !found
        .labels
        .iter()
        .any(|label| found.is_found_by_cloud_init(label))
    {
        return Err(ReadyError::Label);
    }
    Ok(Ready {
        bytes,
        block: found.block,
    })
}

/// Whether the first bytes are all characters of base64.
fn is_base64(bytes: &[u8]) -> bool {
    let head = bytes.get(..bytes.len().min(512)).unwrap_or_default();
    let good = |byte: &u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=".contains(byte)
    };
    !head.is_empty() && head.iter().all(good)
}

/// Properties from a filesystem's superblock.
#[derive(Debug)]
struct Volume {
    /// ext, which cloud-init's NoCloud does not mount.
    is_ext: bool,
    labels: Vec<String>,
    /// Size in bytes by its superblock.
    length: u64,
    block: usize,
}

impl Volume {
    fn is_found_by_cloud_init(&self, label: &str) -> bool {
        label.eq_ignore_ascii_case(crate::LABEL_CONFIG_DRIVE)
            || (!self.is_ext && label.eq_ignore_ascii_case(crate::LABEL_NOCLOUD))
    }
}

/// The little-endian number of up to eight bytes at `at`.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    )
}

fn index(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, length)?).ok()
}

fn label(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    let text = String::from_utf8_lossy(field);
    Some(text.trim_end_matches([' ', '\0']).to_owned())
}

/// ISO 9660, by its primary volume descriptor.
fn iso(bytes: &[u8]) -> Option<Volume> {
    const AT: usize = 0x8000;
    if bytes.get(AT..AT + 6)? != b"\x01CD001" {
        return None;
    }
    let block = index(bytes, AT + 128, 2)?;
    let length = number(bytes, AT + 80, 4)?.checked_mul(number(bytes, AT + 128, 2)?)?;
    (block >= 512 && length > 0).then_some(Volume {
        is_ext: false,
        labels: vec![label(bytes, AT + 40, 32)?],
        length,
        block,
    })
}

/// FAT of any width. Its label is in the boot sector and in the root folder, and readers differ on which one they use.
fn fat(bytes: &[u8]) -> Option<Volume> {
    let block = index(bytes, 11, 2)?;
    let (cluster, reserved, copies) = (
        index(bytes, 13, 1)?,
        index(bytes, 14, 2)?,
        index(bytes, 16, 1)?,
    );
    let (entries, small) = (index(bytes, 17, 2)?, index(bytes, 22, 2)?);
    let sane = matches!(block, 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && reserved > 0
        && matches!(copies, 1 | 2)
        && bytes.get(510..512)? == [0x55, 0xaa];
    let sectors = match number(bytes, 19, 2)? {
        0 => number(bytes, 32, 4)?,
        sectors => sectors,
    };
    if !sane || sectors == 0 {
        return None;
    }
    let wide = small == 0;
    let table = if wide { index(bytes, 36, 4)? } else { small };
    let tables = copies
        .checked_mul(table)?
        .checked_add(reserved)?
        .checked_mul(block)?;
    let (at, length) = if wide {
        let first = index(bytes, 44, 4)?.checked_sub(2)?;
        let size = cluster.checked_mul(block)?;
        (first.checked_mul(size)?.checked_add(tables)?, size)
    } else {
        (tables, entries.checked_mul(32)?)
    };
    let root = bytes.get(at..).unwrap_or_default();
    let root = root.get(..length).unwrap_or(root);
    let mut labels = vec![label(bytes, if wide { 71 } else { 43 }, 11)?];
    // attribute 8 alone: a label; with others: part of a long name
    let is_label = |entry: &&[u8]| entry.get(11).is_some_and(|kind| kind & 0x0f == 8);
    labels.extend(
        root.chunks_exact(32)
            .find(is_label)
            .and_then(|entry| label(entry, 0, 11)),
    );
    Some(Volume {
        is_ext: false,
        labels,
        length: sectors.checked_mul(number(bytes, 11, 2)?)?,
        block,
    })
}

/// ext2, ext3 and ext4, by the superblock.
fn ext(bytes: &[u8]) -> Option<Volume> {
    const AT: usize = 1024;
    let shift = u32::try_from(number(bytes, AT + 24, 4)?).ok()?;
    if number(bytes, AT + 56, 2)? != 0xef53 || shift > 6 {
        return None;
    }
    let block = 1024_usize << shift;
    let length = number(bytes, AT + 4, 4)?.checked_mul(u64::try_from(block).ok()?)?;
    Some(Volume {
        is_ext: true,
        labels: vec![label(bytes, AT + 120, 16)?],
        length,
        block,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::fat::{Format, Purpose, image};
    use crate::{File, LABEL_CONFIG_DRIVE, LABEL_NOCLOUD};

    const MOST: usize = 20 << 20;

    fn fat_image(size: u64, label: &str) -> Vec<u8> {
        let format = Format {
            size,
            sector_size: 512,
            label,
            volume_id: 1,
            purpose: if size > 64 << 20 {
                Purpose::EfiSystem
            } else {
                Purpose::Data
            },
        };
        image(&format, &[File::new("meta-data", "x")]).unwrap()
    }

    fn iso_image(label: &str) -> Vec<u8> {
        let mut bytes = vec![0; 200 << 10];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0x8000, b"\x01CD001");
        put(0x8000 + 40, &[b' '; 32]);
        put(0x8000 + 40, label.as_bytes());
        put(0x8000 + 80, &100_u32.to_le_bytes());
        put(0x8000 + 128, &2048_u16.to_le_bytes());
        bytes
    }

    fn ext_image(label: &str) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(1024 + 4, &1024_u32.to_le_bytes());
        put(1024 + 56, &[0x53, 0xef]);
        put(1024 + 120, label.as_bytes());
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn in_lines(bytes: &[u8]) -> Vec<u8> {
        let text = STANDARD.encode(bytes).into_bytes();
        let lines: Vec<&[u8]> = text.chunks(76).collect();
        lines.join(&b'\n')
    }

    #[test]
    fn the_filesystem_is_unwrapped_from_every_form_that_orchestrators_send() {
        for (plain, block) in [
            (fat_image(2 << 20, LABEL_NOCLOUD), 512),
            (fat_image(2 << 20, LABEL_CONFIG_DRIVE), 512),
            (iso_image("config-2"), 2048),
            (iso_image("cidata"), 2048),
            (ext_image("config-2"), 1024),
        ] {
            let packed = gzip(&plain);
            let forms = [
                plain.clone(),
                packed.clone(),
                STANDARD.encode(&packed).into_bytes(),
                in_lines(&packed),
                in_lines(&plain),
            ];
            for form in forms {
                let ready = unwrap(form, MOST).unwrap();
                assert!(ready.bytes == plain && ready.block == block);
            }
        }
    }

    #[test]
    fn a_wide_fat_has_its_label_too() {
        let plain = fat_image(100 << 20, LABEL_NOCLOUD);
        assert_eq!(&plain[82..90], b"FAT32   ");
        assert_eq!(
            unwrap(gzip(&plain), 100 << 20).unwrap().bytes.len(),
            100 << 20
        );
    }

    #[test]
    fn what_is_no_configdrive_is_refused() {
        let fat = fat_image(2 << 20, LABEL_NOCLOUD);
        let packed = gzip(&fat);
        let mut damaged = packed.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 1;
        let text = STANDARD.encode(&packed);
        for (bytes, error) in [
            (Vec::new(), ReadyError::Unknown),
            (vec![0; 1 << 20], ReadyError::Unknown),
            (b"QFI\xfb and so on".to_vec(), ReadyError::Unknown),
            (b"{\"meta_data\": {}}".to_vec(), ReadyError::Unknown),
            (b"http://host/config".to_vec(), ReadyError::Unknown),
            (b"plain words".to_vec(), ReadyError::Base64),
            (
                text.as_bytes()[..text.len() - 3].to_vec(),
                ReadyError::Base64,
            ),
            (gzip(&packed), ReadyError::Unknown),
            (packed[..packed.len() - 20].to_vec(), ReadyError::Gzip),
            (damaged, ReadyError::Gzip),
            (fat[..1 << 20].to_vec(), ReadyError::Short),
            (
                iso_image("config-2")[..100 << 10].to_vec(),
                ReadyError::Short,
            ),
            (iso_image("Debian 12"), ReadyError::Label),
            (fat_image(2 << 20, "EFI"), ReadyError::Label),
            (ext_image("cidata"), ReadyError::Label),
            (fat_image(21 << 20, LABEL_NOCLOUD), ReadyError::TooLarge),
            (gzip(&vec![0; 200 << 20]), ReadyError::TooLarge),
        ] {
            let length = bytes.len();
            assert_eq!(unwrap(bytes, MOST).unwrap_err(), error, "{length} bytes");
        }
    }
}
