//! Partition tables as they are on a disk, read the way the kernel reads them: GPT (the backup where the primary is
//! broken) and MBR with its chain of logical partitions. Nothing here writes one.

use std::io;

use crate::blockdev::BlockDevice;
use crate::units::{Bytes, Extent};

/// The longest list of GPT entries that is believed; the usual one is 16 KiB.
const LONGEST_LIST: u64 = 1 << 20;
/// The longest chain of logical partitions that is followed; a ring of them has no end.
const LONGEST_CHAIN: u32 = 128;

/// Kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// GUID partition table.
    Gpt,
    /// MBR.
    Dos,
}

impl TableKind {
    /// As blkid and udev call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Dos => "dos",
        }
    }
}

/// A partition table that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTable {
    /// Its kind.
    pub kind: TableKind,
    /// Its partitions, by number.
    pub partitions: Vec<FoundPartition>,
}

/// A partition in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    /// Its number, as the kernel counts.
    pub number: u32,
    /// Where it lies. An extended partition is only as long as the kernel makes it: too short for a filesystem.
    pub extent: Extent,
    /// Its type as udev writes it: a lower-case GUID, or `0x83`.
    pub type_id: String,
}

/// Reads the table of `device`, `None` where there is none that the kernel would believe.
pub fn read(device: &dyn BlockDevice) -> io::Result<Option<FoundTable>> {
    if device.size() < Bytes(4096) {
        return Ok(None);
    }
    let mut first = [0_u8; 512];
    device.read_at(&mut first, Bytes::ZERO)?;
    let Some(entries) = mbr_entries(&first) else {
        return Ok(None);
    };
    // A GPT is only believed behind its protective MBR: without one it is what somebody wiped half of.
    if entries.iter().any(|entry| entry.kind == 0xee)
        && let Some(partitions) = read_gpt(device)?
    {
        let kind = TableKind::Gpt;
        return Ok(Some(FoundTable { kind, partitions }));
    }
    Ok(Some(FoundTable {
        kind: TableKind::Dos,
        partitions: read_mbr(device, &entries)?,
    }))
}

/// An entry of an MBR or of a link in the chain, in sectors.
#[derive(Clone, Copy, Debug)]
struct MbrEntry {
    kind: u8,
    start: u64,
    length: u64,
}

impl MbrEntry {
    const fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    const fn is_used(self) -> bool {
        self.kind != 0 && self.length != 0
    }
}

/// The four entries, or `None` where this is no MBR: the boot sector of a FAT or NTFS ends with the same two bytes.
fn mbr_entries(sector: &[u8; 512]) -> Option<[MbrEntry; 4]> {
    let filesystem = ["FAT12", "FAT16", "FAT32"].iter().any(|name| {
        [0x36, 0x52]
            .iter()
            .any(|at| bytes(sector, *at, name.len()) == name.as_bytes())
    }) || bytes(sector, 3, 4) == b"NTFS";
    if bytes(sector, 510, 2) != [0x55, 0xaa] || filesystem {
        return None;
    }
    let entry = |index: usize| {
        let at = 446 + 16 * index;
        let flag = *sector.get(at)?;
        matches!(flag, 0 | 0x80).then_some(MbrEntry {
            kind: *sector.get(at + 4)?,
            start: number(sector, at + 8, 4),
            length: number(sector, at + 12, 4),
        })
    };
    Some([entry(0)?, entry(1)?, entry(2)?, entry(3)?])
}

fn read_mbr(device: &dyn BlockDevice, entries: &[MbrEntry; 4]) -> io::Result<Vec<FoundPartition>> {
    let sector = device.sector_size();
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        if entry.is_used() {
            // The kernel's length for an extended partition: room for a boot loader, none for a filesystem.
            let stub = MbrEntry {
                length: entry.length.min(1024_u64.div_ceil(sector.0)),
                ..*entry
            };
            let entry = if entry.is_extended() { &stub } else { entry };
            found.extend(mbr_partition(device, number, entry, 0));
        }
    }
    let mut next = 5;
    for extended in entries.iter().filter(|entry| entry.is_extended()) {
        follow(device, extended.start, &mut next, &mut found)?;
    }
    Ok(found)
}

/// Walks the chain of logical partitions of an extended one that starts at sector `first`.
fn follow(
    device: &dyn BlockDevice,
    first: u64,
    next: &mut u32,
    found: &mut Vec<FoundPartition>,
) -> io::Result<()> {
    let mut link = first;
    for _ in 0..LONGEST_CHAIN {
        let at = Bytes(link.saturating_mul(device.sector_size().0));
        if at.saturating_add(Bytes(512)) > device.size() {
            break;
        }
        let mut sector = [0_u8; 512];
        device.read_at(&mut sector, at)?;
        let Some([one, two, ..]) = mbr_entries(&sector) else {
            break;
        };
        for entry in [one, two] {
            if entry.is_used() && !entry.is_extended() {
                found.extend(mbr_partition(device, *next, &entry, link));
                *next += 1;
            }
        }
        let mut further = [one, two].into_iter();
        match further.find(|entry| entry.is_used() && entry.is_extended()) {
            Some(entry) => link = first.saturating_add(entry.start),
            None => break,
        }
    }
    Ok(())
}

fn mbr_partition(
    device: &dyn BlockDevice,
    number: u32,
    entry: &MbrEntry,
    base: u64,
) -> Option<FoundPartition> {
    Some(FoundPartition {
        number,
        extent: run_of(device, base.checked_add(entry.start)?, entry.length)?,
        type_id: format!("{:#x}", entry.kind),
    })
}

/// A run of sectors as an extent; `None` where it is not within the device.
fn run_of(device: &dyn BlockDevice, start: u64, length: u64) -> Option<Extent> {
    let size = device.sector_size().0;
    let extent = Extent::new(
        Bytes(start.checked_mul(size)?),
        Bytes(length.checked_mul(size)?),
    )?;
    (extent.end() <= device.size()).then_some(extent)
}

fn read_gpt(device: &dyn BlockDevice) -> io::Result<Option<Vec<FoundPartition>>> {
    let last = (device.size().0 / device.sector_size().0).saturating_sub(1);
    for place in [1, last] {
        if let Some(partitions) = read_gpt_at(device, place)? {
            return Ok(Some(partitions));
        }
    }
    Ok(None)
}

/// The GPT whose header is in sector `place`, if its sums are right.
fn read_gpt_at(device: &dyn BlockDevice, place: u64) -> io::Result<Option<Vec<FoundPartition>>> {
    let sector = device.sector_size();
    let mut header = vec![0_u8; usize::try_from(sector.0).unwrap_or(512)];
    device.read_at(&mut header, Bytes(place.saturating_mul(sector.0)))?;
    let length = usize::try_from(number(&header, 12, 4)).unwrap_or(usize::MAX);
    if bytes(&header, 0, 8) != b"EFI PART" || length < 92 || length > header.len() {
        return Ok(None);
    }
    let sum = number(&header, 16, 4);
    if let Some(field) = header.get_mut(16..20) {
        field.fill(0);
    }
    let (count, each) = (number(&header, 80, 4), number(&header, 84, 4));
    let list = count.saturating_mul(each);
    if u64::from(crc32(bytes(&header, 0, length))) != sum
        || number(&header, 24, 8) != place
        || each < 128
        || list > LONGEST_LIST
    {
        return Ok(None);
    }
    let at = Bytes(number(&header, 72, 8).saturating_mul(sector.0));
    let end = at.saturating_add(Bytes(list));
    if end > device.size() {
        return Ok(None);
    }
    let mut entries = vec![0_u8; usize::try_from(list).map_err(io::Error::other)?];
    device.read_at(&mut entries, at)?;
    if u64::from(crc32(&entries)) != number(&header, 88, 4) {
        return Ok(None);
    }
    let each = usize::try_from(each).map_err(io::Error::other)?;
    let numbered = (1..).zip(entries.chunks_exact(each));
    Ok(Some(
        numbered
            .filter_map(|(number, entry)| gpt_partition(device, number, entry))
            .collect(),
    ))
}

fn gpt_partition(device: &dyn BlockDevice, partition: u32, entry: &[u8]) -> Option<FoundPartition> {
    let kind = bytes(entry, 0, 16);
    if kind.iter().all(|byte| *byte == 0) {
        return None;
    }
    let (first, last) = (number(entry, 32, 8), number(entry, 40, 8));
    let length = last.checked_sub(first)?.checked_add(1)?;
    Some(FoundPartition {
        number: partition,
        extent: run_of(device, first, length)?,
        type_id: guid(kind),
    })
}

/// A GUID as it is written: its first three fields are little-endian on disk.
fn guid(raw: &[u8]) -> String {
    let tail = |from: usize, to: usize| {
        (from..to).fold(String::new(), |text, at| {
            text + &format!("{:02x}", number(raw, at, 1))
        })
    };
    format!(
        "{:08x}-{:04x}-{:04x}-{}-{}",
        number(raw, 0, 4),
        number(raw, 4, 2),
        number(raw, 6, 2),
        tail(8, 10),
        tail(10, 16)
    )
}

fn bytes(from: &[u8], at: usize, length: usize) -> &[u8] {
    from.get(at..at.saturating_add(length)).unwrap_or_default()
}

/// A little-endian number of up to eight bytes.
fn number(from: &[u8], at: usize, length: usize) -> u64 {
    let digits = bytes(from, at, length).iter().rev();
    digits.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The CRC that GPT uses, bit by bit: tables are short.
fn crc32(data: &[u8]) -> u32 {
    let sum = data.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let shifted = sum >> 1;
            if sum & 1 == 0 {
                shifted
            } else {
                shifted ^ 0xedb8_8320
            }
        })
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockdev::{Access, Devices};
    use crate::fake::FakeDevices;
    use proptest::prelude::*;
    use std::path::Path;

    const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
    const LINUX_RAW: [u8; 16] = [
        0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
        0xe4,
    ];

    fn disk(sector: u64) -> FakeDevices {
        FakeDevices::new().with_sectors("/dev/sda", Bytes(64 << 20), Bytes(sector))
    }

    fn found(devices: &FakeDevices) -> Option<FoundTable> {
        let device = devices.open(Path::new("/dev/sda"), Access::Read).unwrap();
        read(device.as_ref()).unwrap()
    }

    fn put(devices: &FakeDevices, at: u64, bytes: &[u8]) {
        devices.put("/dev/sda", Bytes(at), bytes).unwrap();
    }

    /// An MBR sector with these entries: (kind, start, length).
    fn mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
        let mut sector = vec![0; 512];
        for (index, (kind, start, length)) in entries.iter().enumerate() {
            let at = 446 + 16 * index;
            sector[at + 4] = *kind;
            sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    /// A list of 128 entries: (number, first, last).
    fn list(entries: &[(usize, u64, u64)]) -> Vec<u8> {
        let mut list = vec![0; 128 * 128];
        for (number, first, last) in entries {
            let at = 128 * (number - 1);
            list[at..at + 16].copy_from_slice(&LINUX_RAW);
            list[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
            list[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
        }
        list
    }

    fn header(place: u64, list_at: u64, list: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&place.to_le_bytes());
        header[72..80].copy_from_slice(&list_at.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(list).to_le_bytes());
        let sum = crc32(&header).to_le_bytes();
        header[16..20].copy_from_slice(&sum);
        header
    }

    fn put_gpt(devices: &FakeDevices, sector: u64, entries: &[(usize, u64, u64)]) {
        let end = (64 << 20) / sector - 1;
        let names = list(entries);
        put(devices, 0, &mbr(&[(0xee, 1, u32::MAX)]));
        put(devices, sector, &header(1, 2, &names));
        put(devices, 2 * sector, &names);
        let backup = end - 16384 / sector;
        put(devices, end * sector, &header(end, backup, &names));
        put(devices, backup * sector, &names);
    }

    #[test]
    fn the_sum_is_the_one_that_everybody_means() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_empty_disk_has_no_table_and_a_wiped_mbr_has_no_partitions() {
        assert_eq!(found(&disk(512)), None);
        let devices = disk(512);
        put(&devices, 0, &mbr(&[]));
        let table = found(&devices).unwrap();
        assert_eq!((table.kind, table.partitions.len()), (TableKind::Dos, 0));
    }

    #[test]
    fn a_gpt_is_read_on_both_kinds_of_sectors() {
        for sector in [512, 4096] {
            let devices = disk(sector);
            put_gpt(&devices, sector, &[(1, 2048, 4095), (7, 40, 40)]);
            let table = found(&devices).unwrap();
            assert_eq!(table.kind, TableKind::Gpt);
            let extent = |first: u64, count: u64| {
                Extent::new(Bytes(first * sector), Bytes(count * sector)).unwrap()
            };
            let expected = [(1, extent(2048, 2048)), (7, extent(40, 1))].map(|(number, extent)| {
                FoundPartition {
                    number,
                    extent,
                    type_id: LINUX.to_owned(),
                }
            });
            assert_eq!(table.partitions, expected, "{sector}");
        }
    }

    #[test]
    fn the_backup_stands_in_for_a_broken_primary() {
        for broken in [512 + 40, 1024 + 5] {
            let devices = disk(512);
            put_gpt(&devices, 512, &[(1, 2048, 4095)]);
            put(&devices, broken, &[0x77]);
            assert_eq!(found(&devices).unwrap().partitions.len(), 1, "{broken}");
            put(&devices, (64 << 20) - 512 + 40, &[0x77]);
            let table = found(&devices).unwrap();
            assert_eq!(table.kind, TableKind::Dos, "{broken}");
        }
    }

    #[test]
    fn a_gpt_without_its_mbr_is_none() {
        let devices = disk(512);
        put_gpt(&devices, 512, &[(1, 2048, 4095)]);
        put(&devices, 0, &[0; 512]);
        assert_eq!(found(&devices), None);
    }

    #[test]
    fn entries_beyond_the_end_or_backwards_are_passed_over() {
        let devices = disk(512);
        put_gpt(
            &devices,
            512,
            &[
                (1, 2048, 1 << 40),
                (2, 5000, 4000),
                (3, 0, u64::MAX),
                (4, 99, 100),
            ],
        );
        let numbers: Vec<u32> = found(&devices)
            .unwrap()
            .partitions
            .iter()
            .map(|p| p.number)
            .collect();
        assert_eq!(numbers, [4]);
    }

    #[test]
    fn an_mbr_is_read_with_its_logical_partitions() {
        let devices = disk(512);
        put(
            &devices,
            0,
            &mbr(&[(0x83, 2048, 2048), (0, 0, 0), (0x0f, 8192, 32768)]),
        );
        put(
            &devices,
            8192 * 512,
            &mbr(&[(0x82, 2048, 100), (0x05, 4096, 8192)]),
        );
        put(&devices, (8192 + 4096) * 512, &mbr(&[(0x8e, 2048, 200)]));
        let table = found(&devices).unwrap();
        assert_eq!(table.kind, TableKind::Dos);
        let lines: Vec<String> = table
            .partitions
            .iter()
            .map(|p| {
                let (start, length) = (p.extent.start.0 / 512, p.extent.length.0 / 512);
                format!("{} {start}+{length} {}", p.number, p.type_id)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "1 2048+2048 0x83",
                "3 8192+2 0xf",
                "5 10240+100 0x82",
                "6 14336+200 0x8e"
            ]
        );
    }

    #[test]
    fn a_ring_of_logical_partitions_has_an_end() {
        let devices = disk(512);
        put(&devices, 0, &mbr(&[(0x05, 8192, 32768)]));
        put(&devices, 8192 * 512, &mbr(&[(0x83, 1, 1), (0x05, 0, 8192)]));
        assert!(found(&devices).unwrap().partitions.len() <= 130);
    }

    #[test]
    fn the_boot_sector_of_a_filesystem_is_no_table() {
        for (at, name) in [(0x36, "FAT16"), (0x52, "FAT32"), (3, "NTFS")] {
            let devices = disk(512);
            let mut sector = mbr(&[(0x83, 2048, 2048)]);
            sector[at..at + name.len()].copy_from_slice(name.as_bytes());
            put(&devices, 0, &sector);
            assert_eq!(found(&devices), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_content_makes_it_fail_or_leave_the_disk(
            mut sector in prop::collection::vec(any::<u8>(), 512),
            kinds in prop::collection::vec(prop::sample::select(vec![0_u8, 5, 0x83, 0xee]), 4),
            header in prop::collection::vec(any::<u8>(), 92),
        ) {
            let devices = disk(512);
            sector[510..].copy_from_slice(&[0x55, 0xaa]);
            for (index, kind) in kinds.iter().enumerate() {
                sector[446 + 16 * index] = 0;
                sector[446 + 16 * index + 4] = *kind;
            }
            put(&devices, 0, &sector);
            put(&devices, 512, b"EFI PART");
            put(&devices, 520, &header);
            for partition in found(&devices).map(|table| table.partitions).unwrap_or_default() {
                prop_assert!(partition.extent.end() <= Bytes(64 << 20));
            }
        }
    }
}
