//! QEMU's qcow2, versions 2 and 3 (docs/interop/qcow2.txt of QEMU): plain, zlib and zstd clusters, also with
//! subclusters.

use super::{DiskImage, DiskImageError, ReadAt, SIZE_MAX, be, inflate, within};

/// Length of a version 3 header up to its compression type; later fields do not matter for reading.
const HEADER_LENGTH: usize = 112;
/// Mask of bits 9 to 55 of a table entry: an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bit of a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// Bit of a cluster that reads as zeros (version 3).
const ZERO: u64 = 1;
/// Subclusters of a cluster, in images with extended table entries.
const SUBCLUSTERS: usize = 32;

/// Bits of incompatible features: a reader has to support all that are set.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// The compression type of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Zlib,
    Zstd,
}

/// A qcow2 image: its active state, without its snapshots.
#[derive(Debug)]
pub struct Qcow2<R> {
    source: R,
    source_size: u64,
    size: u64,
    cluster_bits: u32,
    l1_offset: u64,
    extended: bool,
    zero_flag: bool,
    compression: Compression,
    /// The L2 table that was read last, and its index.
    l2: Vec<u8>,
    l2_number: Option<u64>,
    packed: Vec<u8>,
}

const fn damaged(problem: &'static str) -> DiskImageError {
    DiskImageError::Damaged {
        format: "qcow2",
        problem,
    }
}

const fn unsupported(problem: &'static str, hint: &'static str) -> DiskImageError {
    DiskImageError::Unsupported {
        format: "qcow2",
        problem,
        hint,
    }
}

impl<R: ReadAt> Qcow2<R> {
    /// Reads and checks the header.
    pub fn open(source: R) -> Result<Self, DiskImageError> {
        let source_size = source.size()?;
        let mut header = [0; HEADER_LENGTH];
        // a version 2 header is shorter; what is not there stays 0
        source.read_at(within(&mut header, source_size), 0)?;
        let field = |at| be::<8>(&header, at).unwrap_or_default();
        let word = |at| be::<4>(&header, at).unwrap_or_default();
        if !header.starts_with(b"QFI\xfb") {
            return Err(damaged("its magic number is wrong"));
        }
        let version = word(4);
        if ![2, 3].contains(&version) {
            return Err(unsupported(
                "is of an unknown version",
                "convert it to version 3",
            ));
        }
        let incompatible = if version == 3 { field(72) } else { 0 };
        check_features(incompatible, field(8), word(32))?;
        let compression = match be::<1>(&header, 104).unwrap_or_default() {
            _ if incompatible & COMPRESSION_TYPE == 0 => Compression::Zlib,
            0 => Compression::Zlib,
            1 => Compression::Zstd,
            _ => {
                return Err(unsupported(
                    "is compressed in an unknown way",
                    "convert it with `-o compression_type=zstd`",
                ));
            }
        };
        let cluster_bits = u32::try_from(word(20)).unwrap_or(u32::MAX);
        let extended = incompatible & EXTENDED_L2 != 0;
        if !(9..=21).contains(&cluster_bits) || (extended && cluster_bits < 14) {
            return Err(damaged("its cluster size is invalid"));
        }
        let image = Self {
            source,
            source_size,
            size: field(24),
            cluster_bits,
            l1_offset: field(40),
            extended,
            zero_flag: version == 3,
            compression,
            l2: Vec::new(),
            l2_number: None,
            packed: Vec::new(),
        };
        image.check_tables(word(36))?;
        Ok(image)
    }

    fn check_tables(&self, l1_entries: u64) -> Result<(), DiskImageError> {
        if self.size > SIZE_MAX {
            return Err(DiskImageError::TooLarge { size: self.size });
        }
        if self.size == 0 || !self.size.is_multiple_of(512) {
            return Err(damaged(
                "the size of its disk is not a whole number of sectors",
            ));
        }
        if l1_entries < self.pieces().div_ceil(self.l2_entries()) {
            return Err(damaged("its first table is too short for its disk"));
        }
        Ok(())
    }

    fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    fn entry_size(&self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    fn l2_entries(&self) -> u64 {
        self.cluster_size() >> if self.extended { 4 } else { 3 }
    }

    /// The two words of the table entry of cluster `number`; the second is 0 if the image has no extended entries.
    fn entry(&mut self, number: u64) -> Result<(u64, u64), DiskImageError> {
        let entries = self.l2_entries();
        let table = number.checked_div(entries).unwrap_or_default();
        let index = number.checked_rem(entries).unwrap_or_default();
        if self.l2_number != Some(table) {
            self.read_table(table)?;
        }
        if self.l2.is_empty() {
            return Ok((0, 0));
        }
        let at = usize::try_from(index.saturating_mul(self.entry_size())).unwrap_or(usize::MAX);
        let first = be::<8>(&self.l2, at).ok_or_else(|| damaged("a table is too short"))?;
        let second = if self.extended {
            be::<8>(&self.l2, at.saturating_add(8))
        } else {
            None
        };
        Ok((first, second.unwrap_or_default()))
    }

    /// Reads L2 table `table`; it is empty if the image has none there.
    fn read_table(&mut self, table: u64) -> Result<(), DiskImageError> {
        let wrong = || damaged("its first table lies outside of the file");
        let at = table
            .checked_mul(8)
            .and_then(|offset| self.l1_offset.checked_add(offset))
            .filter(|at| at.checked_add(8).is_some_and(|end| end <= self.source_size))
            .ok_or_else(wrong)?;
        let mut entry = [0; 8];
        self.source.read_at(&mut entry, at)?;
        let offset = u64::from_be_bytes(entry) & OFFSET;
        self.l2_number = None;
        self.l2.clear();
        if offset != 0 {
            let length = self.cluster_size();
            self.check_extent(offset, length)?;
            self.l2
                .resize(usize::try_from(length).unwrap_or_default(), 0);
            self.source.read_at(&mut self.l2, offset)?;
        }
        self.l2_number = Some(table);
        Ok(())
    }

    /// Clusters are aligned and end within the file.
    fn check_extent(&self, offset: u64, length: u64) -> Result<(), DiskImageError> {
        if !offset.is_multiple_of(self.cluster_size()) {
            return Err(damaged("a cluster is not aligned"));
        }
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.source_size) {
            return Err(damaged(
                "a cluster lies outside of the file: it is truncated",
            ));
        }
        Ok(())
    }

    fn read_compressed(&mut self, entry: u64, buffer: &mut [u8]) -> Result<(), DiskImageError> {
        // the more bits a cluster takes, the more its length in sectors does
        let shift = 70_u32.saturating_sub(self.cluster_bits);
        let offset = entry & !(u64::MAX << shift);
        let more_sectors = (entry & !COMPRESSED & !(1 << 63)) >> shift;
        let sectors = more_sectors.saturating_add(1);
        let length = sectors.saturating_mul(512).saturating_sub(offset % 512);
        // the last sector of a file need not be whole
        let length = length.min(self.source_size.saturating_sub(offset));
        self.packed.clear();
        self.packed
            .resize(usize::try_from(length).unwrap_or_default(), 0);
        self.source.read_at(&mut self.packed, offset)?;
        // a whole cluster is packed, even if the disk ends within it
        let mut cluster = Vec::new();
        let whole = usize::try_from(self.cluster_size()).unwrap_or_default();
        let out = if buffer.len() == whole {
            &mut *buffer
        } else {
            cluster.resize(whole, 0);
            cluster.as_mut_slice()
        };
        let unpacked = match self.compression {
            Compression::Zlib => inflate(&self.packed, out, false),
            Compression::Zstd => unpack_zstd(&self.packed, out),
        };
        unpacked.ok_or_else(|| damaged("a compressed cluster cannot be unpacked"))?;
        for (byte, unpacked) in buffer.iter_mut().zip(cluster) {
            *byte = unpacked;
        }
        Ok(())
    }

    /// Reads a cluster of which only some subclusters are allocated.
    fn read_parts(
        &self,
        offset: u64,
        bitmap: u64,
        buffer: &mut [u8],
    ) -> Result<bool, DiskImageError> {
        let (present, zero) = (bitmap & 0xffff_ffff, bitmap >> 32);
        if present & zero != 0 {
            return Err(damaged("a part of a cluster is both data and zero"));
        }
        if present == 0 {
            return Ok(false);
        }
        let part = usize::try_from(self.cluster_size()).unwrap_or_default() / SUBCLUSTERS;
        let mut at = offset;
        for (i, piece) in buffer.chunks_mut(part).enumerate() {
            let length = u64::try_from(piece.len()).unwrap_or_default();
            if present >> i & 1 == 1 {
                if at
                    .checked_add(length)
                    .is_none_or(|end| end > self.source_size)
                {
                    return Err(damaged(
                        "a cluster lies outside of the file: it is truncated",
                    ));
                }
                self.source.read_at(piece, at)?;
            } else {
                piece.fill(0);
            }
            at = at.saturating_add(length);
        }
        Ok(true)
    }
}

/// Decodes one frame at the beginning of `packed`, which may be longer; it has to give exactly `out.len()` bytes.
fn unpack_zstd(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let frame = zstd::zstd_safe::find_frame_compressed_size(packed).ok()?;
    let length = zstd::bulk::decompress_to_buffer(packed.get(..frame)?, out).ok()?;
    (length == out.len()).then_some(())
}

fn check_features(incompatible: u64, backing: u64, encryption: u64) -> Result<(), DiskImageError> {
    if backing != 0 {
        return Err(unsupported(
            "is only the difference to a backing file",
            "merge them first, where both are trusted: `qemu-img convert`",
        ));
    }
    if incompatible & EXTERNAL_DATA != 0 {
        return Err(unsupported(
            "keeps its data in another file",
            "merge them first, where both are trusted: `qemu-img convert`",
        ));
    }
    if encryption != 0 {
        return Err(unsupported("is encrypted", "decrypt it first"));
    }
    if incompatible & CORRUPT != 0 {
        return Err(damaged("it is marked as corrupt"));
    }
    if incompatible & !(DIRTY | COMPRESSION_TYPE | EXTENDED_L2) != 0 {
        return Err(unsupported(
            "has unknown features",
            "convert it without them",
        ));
    }
    Ok(())
}

impl<R: ReadAt> DiskImage for Qcow2<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece_size(&self) -> u32 {
        1 << self.cluster_bits
    }

    fn piece(&mut self, number: u64, buffer: &mut [u8]) -> Result<bool, DiskImageError> {
        let (entry, bitmap) = self.entry(number)?;
        if entry & COMPRESSED != 0 {
            self.read_compressed(entry, buffer)?;
            return Ok(true);
        }
        let offset = entry & OFFSET;
        if self.extended {
            if offset != 0 && !offset.is_multiple_of(self.cluster_size()) {
                return Err(damaged("a cluster is not aligned"));
            }
            return self.read_parts(offset, bitmap, buffer);
        }
        if offset == 0 || (self.zero_flag && entry & ZERO != 0) {
            return Ok(false);
        }
        self.check_extent(offset, u64::try_from(buffer.len()).unwrap_or(u64::MAX))?;
        self.source.read_at(buffer, offset)?;
        Ok(true)
    }
}
