//! GUID partition tables (UEFI 2.10, section 5.3): headers and entries, parsed and encoded.

mod copies;

pub use copies::{Gpt, GptError, GptPartition};

use std::io;
use std::ops::Range;

use uuid::Uuid;

use super::{FoundPartition, bytes, number, run_of};
use crate::blockdev::BlockDevice;
use crate::units::Bytes;

/// First eight bytes of a header.
pub const SIGNATURE: &[u8; 8] = b"EFI PART";

/// Type of an EFI system partition.
pub const ESP: Uuid = uuid::uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

/// Attribute of the partition from which BIOS firmware boots (legacy BIOS bootable).
pub const LEGACY_BOOT: u64 = 1 << 2;

/// Length of the headers that are written, in bytes; longer ones are read.
const HEADER_LENGTH: u32 = 92;

/// Length of the entries that are written, in bytes; longer ones are read.
const ENTRY_LENGTH: u32 = 128;

/// The longest list of entries that is accepted, in bytes; the usual one is 16 KiB.
const LONGEST_LIST: u64 = 1 << 20;

/// One of the two headers of a table. Positions count in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sector of this header: 1 for the primary one, the last sector for the backup.
    pub place: u64,
    /// Sector of the other header.
    pub other: u64,
    /// The first sector that partitions may use.
    pub first_usable: u64,
    /// The last sector that partitions may use.
    pub last_usable: u64,
    /// Identifier of the disk.
    pub disk_guid: Uuid,
    /// The first sector of the list of entries.
    pub list: u64,
    /// Number of entries in the list, used or not.
    pub count: u32,
    /// Length of an entry in bytes.
    pub entry_length: u32,
    /// CRC-32 of the list.
    pub list_sum: u32,
}

impl Header {
    /// Parses the header in `sector`, which was read at sector `place`; `None` where there is none, or where its
    /// checksum is wrong, it names another sector as its own, or its list is too long.
    pub fn parse(sector: &[u8], place: u64) -> Option<Self> {
        let length = usize::try_from(number(sector, 12, 4)).ok()?;
        let mut summed = sector.get(..length)?.to_vec();
        summed.get_mut(16..20)?.fill(0);
        let is_sound = sector.starts_with(SIGNATURE)
            && length >= usize::try_from(HEADER_LENGTH).ok()?
            && u64::from(crc32(&summed)) == number(sector, 16, 4);
        let header = Self {
            place: number(sector, 24, 8),
            other: number(sector, 32, 8),
            first_usable: number(sector, 40, 8),
            last_usable: number(sector, 48, 8),
            disk_guid: guid(sector, 56)?,
            list: number(sector, 72, 8),
            count: short(sector, 80)?,
            entry_length: short(sector, 84)?,
            list_sum: short(sector, 88)?,
        };
        let list_length = header.list_length();
        let is_ours = header.place == place
            && header.entry_length >= ENTRY_LENGTH
            && list_length <= LONGEST_LIST;
        (is_sound && is_ours).then_some(header)
    }

    /// The header's bytes, with its checksum, without the zeros that fill its sector.
    pub fn encode(&self) -> Vec<u8> {
        let with_sum = |sum: u32| {
            [
                &SIGNATURE[..],
                // revision 1.0
                &[0, 0, 1, 0],
                &HEADER_LENGTH.to_le_bytes(),
                &sum.to_le_bytes(),
                &[0; 4],
                &self.place.to_le_bytes(),
                &self.other.to_le_bytes(),
                &self.first_usable.to_le_bytes(),
                &self.last_usable.to_le_bytes(),
                &self.disk_guid.to_bytes_le(),
                &self.list.to_le_bytes(),
                &self.count.to_le_bytes(),
                &self.entry_length.to_le_bytes(),
                &self.list_sum.to_le_bytes(),
            ]
            .concat()
        };
        with_sum(crc32(&with_sum(0)))
    }

    /// Length of the list of entries, in bytes.
    fn list_length(&self) -> u64 {
        // exact: the product of two numbers of 32 bits has at most 64
        u64::from(self.count).saturating_mul(self.entry_length.into())
    }

    /// Byte range of the list of entries on the disk; `None` on overflow.
    pub fn list_range(&self, sector_size: u64) -> Option<Range<u64>> {
        let start = self.list.checked_mul(sector_size)?;
        Some(start..start.checked_add(self.list_length())?)
    }

    /// The entries in use; `None` where the checksum of `list` differs from the header's.
    pub fn entries(&self, list: &[u8]) -> Option<Vec<Entry>> {
        let length = usize::try_from(self.entry_length).ok()?;
        let entries = list.chunks_exact(length);
        if crc32(list) != self.list_sum || u32::try_from(entries.len()).ok()? != self.count {
            return None;
        }
        let numbered = (1..).zip(entries);
        Some(
            numbered
                .filter_map(|(number, entry)| Entry::parse(number, entry))
                .collect(),
        )
    }
}

/// A partition in the list of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition's number: its position in the list, from 1.
    pub(crate) number: u32,
    /// Partition type.
    pub type_guid: Uuid,
    /// Unique identifier.
    pub(crate) guid: Uuid,
    /// First sector.
    pub first: u64,
    /// Last sector. It may lie before `first` or beyond the disk: that is not checked here.
    pub last: u64,
    /// [`LEGACY_BOOT`] and others.
    pub(crate) attributes: u64,
    /// Label; at most 36 units of UTF-16.
    pub(crate) name: String,
}

impl Entry {
    /// `None` where the entry is not in use.
    fn parse(count: u32, entry: &[u8]) -> Option<Self> {
        let name: Vec<u16> = bytes(entry, 56, 72)
            .as_chunks()
            .0
            .iter()
            .map(|unit| u16::from_le_bytes(*unit))
            .take_while(|unit| *unit != 0)
            .collect();
        let entry = Self {
            number: count,
            type_guid: guid(entry, 0)?,
            guid: guid(entry, 16)?,
            first: number(entry, 32, 8),
            last: number(entry, 40, 8),
            attributes: number(entry, 48, 8),
            name: String::from_utf16_lossy(&name),
        };
        (!entry.type_guid.is_nil()).then_some(entry)
    }

    /// The entry's 128 bytes.
    fn encode(&self) -> Vec<u8> {
        let name: Vec<u8> = self
            .name
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let mut entry = [
            &self.type_guid.to_bytes_le()[..],
            &self.guid.to_bytes_le(),
            &self.first.to_le_bytes(),
            &self.last.to_le_bytes(),
            &self.attributes.to_le_bytes(),
            &name,
        ]
        .concat();
        entry.resize(128, 0);
        entry
    }
}

/// The partitions of the primary table, or of the backup where that is broken; `None` where both are.
pub(super) fn read(device: &dyn BlockDevice) -> io::Result<Option<Vec<FoundPartition>>> {
    let sectors = device.size().0.checked_div(device.sector_size().0);
    let last = sectors.unwrap_or_default().saturating_sub(1);
    for place in [1, last] {
        if let Some(entries) = read_copy(device, place)? {
            let found = entries.iter().filter_map(|entry| found(device, entry));
            return Ok(Some(found.collect()));
        }
    }
    Ok(None)
}

/// The entries of the copy whose header is in sector `place`; `None` where a checksum is wrong.
fn read_copy(device: &dyn BlockDevice, place: u64) -> io::Result<Option<Vec<Entry>>> {
    let sector = device.sector_size().0;
    let mut header = vec![0; usize::try_from(sector).map_err(io::Error::other)?];
    device.read_at(&mut header, Bytes(place.saturating_mul(sector)))?;
    let Some(header) = Header::parse(&header, place) else {
        return Ok(None);
    };
    let range = header.list_range(sector);
    let Some(range) = range.filter(|range| range.end <= device.size().0) else {
        return Ok(None);
    };
    let length = range.end.saturating_sub(range.start);
    let mut list = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    device.read_at(&mut list, Bytes(range.start))?;
    Ok(header.entries(&list))
}

fn found(device: &dyn BlockDevice, entry: &Entry) -> Option<FoundPartition> {
    let length = entry.last.checked_sub(entry.first)?.checked_add(1)?;
    Some(FoundPartition {
        number: entry.number,
        extent: run_of(device, entry.first, length)?,
        type_id: entry.type_guid.to_string(),
        guid: Some(entry.guid.to_bytes_le()),
    })
}

fn guid(from: &[u8], at: usize) -> Option<Uuid> {
    let bytes = bytes(from, at, 16).try_into().ok()?;
    Some(Uuid::from_bytes_le(bytes))
}

fn short(from: &[u8], at: usize) -> Option<u32> {
    u32::try_from(number(from, at, 4)).ok()
}

/// The checksum of headers and lists: CRC-32 of IEEE 802.3, bit by bit, since tables are short.
pub fn crc32(data: &[u8]) -> u32 {
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
