//! VMware's VMDK in one file: sparse, and the compressed kind that exports make (VMware Virtual Disk Format 1.1).

use super::{DiskImage, DiskImageError, ReadAt, SIZE_MAX, inflate, le, within};

/// Sector size in bytes, the unit of all numbers but the lengths in grain markers.
const SECTOR: u64 = 512;
/// Directory offset in the header of a stream: the footer at the end holds the real one.
const AT_END: u64 = u64::MAX;
/// Table entry of a grain that reads as zeros.
const ZERO_GRAIN: u32 = 1;
/// Largest supported descriptor in bytes; a descriptor of one extent has about one sector.
const DESCRIPTOR_MAX: u64 = 20 << 10;

/// A VMDK of one sparse extent.
#[derive(Debug)]
pub struct Vmdk<R> {
    source: R,
    source_size: u64,
    header: Header,
    /// The grain table that was read last, and its index.
    table: Vec<u8>,
    table_number: Option<u64>,
    packed: Vec<u8>,
}

/// The header's fields that are used here.
#[derive(Clone, Copy, Debug)]
struct Header {
    capacity: u64,
    grain: u64,
    descriptor: (u64, u64),
    table_entries: u64,
    directory: u64,
    compressed: bool,
}

const fn damaged(problem: &'static str) -> DiskImageError {
    DiskImageError::Damaged {
        format: "VMDK",
        problem,
    }
}

const fn unsupported(problem: &'static str, hint: &'static str) -> DiskImageError {
    DiskImageError::Unsupported {
        format: "VMDK",
        problem,
        hint,
    }
}

impl Header {
    fn parse(sector: &[u8; 512]) -> Result<Self, DiskImageError> {
        let field = |at| le::<8>(sector, at).unwrap_or_default();
        let word = |at| le::<4>(sector, at).unwrap_or_default();
        if sector[..4] != *b"KDMV" {
            return Err(damaged("its magic number is wrong"));
        }
        if !(1..=3).contains(&word(4)) {
            return Err(unsupported(
                "is of an unknown version",
                "export it as streamOptimized",
            ));
        }
        if sector[73..77] != *b"\n \r\n" {
            return Err(damaged("a transfer as text has changed its line ends"));
        }
        let compressed = word(8) & 1 << 16 != 0;
        let algorithm = le::<2>(sector, 77).unwrap_or_default();
        if algorithm > 1 || (algorithm == 1) != compressed {
            return Err(unsupported(
                "is compressed in an unknown way",
                "export it as streamOptimized",
            ));
        }
        let header = Self {
            capacity: field(12),
            grain: field(20),
            descriptor: (field(28), field(36)),
            table_entries: word(44),
            directory: field(56),
            compressed,
        };
        if !header.grain.is_power_of_two() || !(8..=4096).contains(&header.grain) {
            return Err(damaged("its grain size is invalid"));
        }
        if !(1..=512).contains(&header.table_entries) {
            return Err(damaged("its grain tables have the wrong size"));
        }
        match header.capacity.checked_mul(SECTOR) {
            Some(0) => Err(damaged("its disk is empty")),
            Some(size) if size <= SIZE_MAX => Ok(header),
            size => Err(DiskImageError::TooLarge {
                size: size.unwrap_or(u64::MAX),
            }),
        }
    }
}

impl<R: ReadAt> Vmdk<R> {
    /// Reads and checks the header, and the descriptor in it.
    pub fn open(source: R) -> Result<Self, DiskImageError> {
        let source_size = source.size()?;
        let mut sector = [0; 512];
        source.read_at(within(&mut sector, source_size), 0)?;
        if sector.starts_with(b"# Disk Descriptor") {
            return Err(unsupported(
                "is only a descriptor of other files",
                "export it as one file: streamOptimized or monolithicSparse",
            ));
        }
        let mut header = Header::parse(&sector)?;
        check_descriptor(&source, source_size, header.descriptor)?;
        if header.directory == AT_END {
            let footer = source_size
                .checked_sub(2 * SECTOR)
                .ok_or_else(|| damaged("it is truncated"))?;
            source.read_at(&mut sector, footer)?;
            let cut = |_| damaged("it has no footer: it is truncated");
            let footer = Header::parse(&sector).map_err(cut)?;
            if footer.directory == AT_END || footer.capacity != header.capacity {
                return Err(damaged("its footer is invalid"));
            }
            header.directory = footer.directory;
        }
        Ok(Self {
            source,
            source_size,
            header,
            table: Vec::new(),
            table_number: None,
            packed: Vec::new(),
        })
    }

    /// Fills `buffer` from the file; `at` is in sectors.
    fn read_sectors(&self, buffer: &mut [u8], at: u64) -> Result<u64, DiskImageError> {
        let cut = || damaged("a table or grain lies outside of the file: it is truncated");
        let length = u64::try_from(buffer.len()).map_err(|_| cut())?;
        let at = at.checked_mul(SECTOR).ok_or_else(cut)?;
        let end = at
            .checked_add(length)
            .filter(|end| *end <= self.source_size);
        let end = end.ok_or_else(cut)?;
        self.source.read_at(buffer, at)?;
        Ok(end)
    }

    /// The table entry of grain `number`.
    fn entry(&mut self, number: u64) -> Result<u32, DiskImageError> {
        let entries = self.header.table_entries;
        let table = number.checked_div(entries).unwrap_or_default();
        let index = number.checked_rem(entries).unwrap_or_default();
        if self.table_number != Some(table) {
            self.read_table(table)?;
        }
        if self.table.is_empty() {
            return Ok(0);
        }
        let at = usize::try_from(index.saturating_mul(4)).unwrap_or(usize::MAX);
        let entry = le::<4>(&self.table, at).and_then(|entry| u32::try_from(entry).ok());
        entry.ok_or_else(|| damaged("a table is too short"))
    }

    /// Reads grain table `table`; it is empty if the image has none there.
    fn read_table(&mut self, table: u64) -> Result<(), DiskImageError> {
        // four bytes an entry: read with the sector that it is in
        let mut sector = [0; 512];
        let place = self.header.directory.checked_add(table / 128);
        let place = place.ok_or_else(|| damaged("its directory lies outside of the file"))?;
        self.read_sectors(&mut sector, place)?;
        let at = usize::try_from((table % 128) << 2).unwrap_or_default();
        let place = le::<4>(&sector, at).unwrap_or_default();
        self.table_number = None;
        let length = if place == 0 {
            0
        } else {
            self.header.table_entries.saturating_mul(4)
        };
        let mut bytes = std::mem::take(&mut self.table);
        bytes.clear();
        bytes.resize(usize::try_from(length).unwrap_or_default(), 0);
        if place != 0 {
            self.read_sectors(&mut bytes, place)?;
        }
        self.table = bytes;
        self.table_number = Some(table);
        Ok(())
    }

    fn read_compressed(
        &mut self,
        number: u64,
        place: u64,
        buffer: &mut [u8],
    ) -> Result<(), DiskImageError> {
        let mut marker = [0; 12];
        let data = self.read_sectors(&mut marker, place)?;
        let lba = le::<8>(&marker, 0).unwrap_or_default();
        let length = le::<4>(&marker, 8).unwrap_or_default();
        if number.checked_mul(self.header.grain) != Some(lba) {
            return Err(damaged("a grain has another number than its table entry"));
        }
        // incompressible data grows by a few bytes only
        let grain_size = self.header.grain.saturating_mul(SECTOR);
        if length > grain_size.saturating_mul(2)
            || data
                .checked_add(length)
                .is_none_or(|end| end > self.source_size)
        {
            return Err(damaged("a grain is longer than it can be"));
        }
        self.packed.clear();
        self.packed
            .resize(usize::try_from(length).unwrap_or_default(), 0);
        self.source.read_at(&mut self.packed, data)?;
        if inflate(&self.packed, buffer, true).is_some() {
            return Ok(());
        }
        // the last grain is packed whole, even if the disk ends within it
        let mut grain = vec![0; usize::try_from(grain_size).unwrap_or_default()];
        inflate(&self.packed, &mut grain, true)
            .ok_or_else(|| damaged("a compressed grain cannot be unpacked"))?;
        for (byte, unpacked) in buffer.iter_mut().zip(grain) {
            *byte = unpacked;
        }
        Ok(())
    }
}

/// Checks in the descriptor that the file is the whole disk.
fn check_descriptor(
    source: &impl ReadAt,
    source_size: u64,
    (place, sectors): (u64, u64),
) -> Result<(), DiskImageError> {
    if place == 0 || sectors == 0 {
        return Err(unsupported(
            "is one of several files of a disk",
            "export it as one file: streamOptimized or monolithicSparse",
        ));
    }
    let wrong = || damaged("its descriptor lies outside of the file");
    let length = sectors
        .checked_mul(SECTOR)
        .filter(|length| *length <= DESCRIPTOR_MAX);
    let length = length.ok_or_else(wrong)?;
    let at = place.checked_mul(SECTOR).ok_or_else(wrong)?;
    if at.checked_add(length).is_none_or(|end| end > source_size) {
        return Err(wrong());
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    source.read_at(&mut bytes, at)?;
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let of = |line: &str| {
            let (name, value) = line.split_once('=')?;
            let same = name.trim().eq_ignore_ascii_case(key);
            same.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        };
        text.trim_end_matches('\0').lines().find_map(of)
    };
    if value("parentCID").is_some_and(|parent| parent != "ffffffff") {
        return Err(unsupported(
            "is only the difference to a parent",
            "merge them first, or export the machine's disk",
        ));
    }
    match value("createType").as_deref() {
        Some("streamoptimized" | "monolithicsparse") => Ok(()),
        _ => Err(unsupported(
            "is neither streamOptimized nor monolithicSparse",
            "export it as one of them",
        )),
    }
}

impl<R: ReadAt> DiskImage for Vmdk<R> {
    fn size(&self) -> u64 {
        self.header.capacity.saturating_mul(SECTOR)
    }

    fn piece_size(&self) -> u32 {
        u32::try_from(self.header.grain.saturating_mul(SECTOR)).unwrap_or(u32::MAX)
    }

    fn piece(&mut self, number: u64, buffer: &mut [u8]) -> Result<bool, DiskImageError> {
        match self.entry(number)? {
            0 | ZERO_GRAIN => Ok(false),
            place if self.header.compressed => {
                self.read_compressed(number, place.into(), buffer)?;
                Ok(true)
            }
            place => {
                self.read_sectors(buffer, place.into())?;
                Ok(true)
            }
        }
    }
}
