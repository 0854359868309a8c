//! Both copies of a table as bytes: made from planned partitions, written, compared.
//!
//! The whole table is made in memory first, so that it is written in a few writes in a chosen order, and read back by
//! comparing bytes: headers, lists and checksums at once.

use std::io;

use uuid::Uuid;

use super::super::mbr;
use super::{ENTRY_LENGTH, Entry, Header, crc32};
use crate::blockdev::BlockDevice;
use crate::units::{Bytes, Extent};

/// Number of entries in the list: what every tool makes, and the minimum of UEFI.
const ENTRIES: u32 = 128;

/// Maximum length of a partition's name, in units of UTF-16.
const NAME: usize = 36;

/// Why a table cannot be made, or differs from what was written.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// A number beyond the list, or given twice.
    #[error("partition number {0} is not between 1 and {ENTRIES}, or is used twice")]
    Number(u32),
    /// Not aligned to sectors, or overlapping the table itself.
    #[error(
        "partition {number} ({} at {}) does not consist of whole sectors between {} and {}",
        extent.length, extent.start, usable.start, usable.end()
    )]
    Place {
        /// The partition.
        number: u32,
        /// Where it lies.
        extent: Extent,
        /// Where partitions may lie.
        usable: Extent,
    },
    /// Two partitions share bytes.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
    /// A name that would be truncated.
    #[error("the name of partition {0} is longer than {NAME} characters")]
    Name(u32),
    /// Sectors of another size than 512 or 4096, or too few of them.
    #[error("a disk of {size} with sectors of {sector} cannot hold a GUID partition table")]
    Disk {
        /// Its size.
        size: Bytes,
        /// Its sectors.
        sector: Bytes,
    },
    /// What was read differs from what was written.
    #[error("the {part} at {at} differs from what was written")]
    Differs {
        /// Which part of the table.
        part: &'static str,
        /// Where it lies.
        at: Bytes,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A partition to be put in a table.
#[derive(Clone, Debug)]
pub struct GptPartition {
    /// Position in the list, from 1 to 128; gaps are allowed.
    pub number: u32,
    /// Its extent: whole sectors, not overlapping another one.
    pub extent: Extent,
    /// Partition type.
    pub type_guid: Uuid,
    /// Unique identifier.
    pub guid: Uuid,
    /// [`super::LEGACY_BOOT`] and others.
    pub attributes: u64,
    /// Label; at most 36 units of UTF-16.
    pub name: String,
}

/// The bytes of a table at both ends of a disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Gpt {
    /// The first sector, the primary header and its list.
    head: Vec<u8>,
    /// The backup's list and its header.
    tail: Vec<u8>,
    tail_at: Bytes,
    sector: usize,
}

impl Gpt {
    /// The table with these partitions for a disk of `size` with a logical sector size of `sector`.
    pub fn new(
        disk_guid: Uuid,
        partitions: &[GptPartition],
        size: Bytes,
        sector: Bytes,
    ) -> Result<Self, GptError> {
        let unfit = || GptError::Disk { size, sector };
        let sectors = size.0.checked_div(sector.0).unwrap_or(0);
        // Both copies, the first sector, and at least one usable sector.
        let room = || {
            let list = u64::from(ENTRIES * ENTRY_LENGTH).checked_div(sector.0)?;
            let first_usable = list.checked_add(2)?;
            let backup = sectors.checked_sub(1)?;
            let backup_list = backup.checked_sub(list)?;
            let last_usable = backup_list.checked_sub(1)?;
            let usable = backup_list.checked_sub(first_usable).filter(|it| *it > 0)?;
            let usable = Extent {
                start: Bytes(first_usable.checked_mul(sector.0)?),
                length: Bytes(usable.checked_mul(sector.0)?),
            };
            Some((first_usable, last_usable, backup_list, backup, usable))
        };
        if ![512, 4096].contains(&sector.0) {
            return Err(unfit());
        }
        let (first_usable, last_usable, backup_list, backup, usable) = room().ok_or_else(unfit)?;
        check(partitions, sector, usable)?;
        let list = encode_list(partitions, sector);
        let primary = Header {
            place: 1,
            other: backup,
            first_usable,
            last_usable,
            disk_guid,
            list: 2,
            count: ENTRIES,
            entry_length: ENTRY_LENGTH,
            list_sum: crc32(&list),
        };
        let backup = Header {
            place: primary.other,
            other: primary.place,
            list: backup_list,
            ..primary
        };
        let sector = usize::try_from(sector.0).map_err(|_| unfit())?;
        let filled = |mut bytes: Vec<u8>| {
            bytes.resize(sector, 0);
            bytes
        };
        let mbr = filled(mbr::protective(sectors).to_vec());
        Ok(Self {
            head: [mbr, filled(primary.encode()), list.clone()].concat(),
            tail: [list, filled(backup.encode())].concat(),
            tail_at: usable.end(),
            sector,
        })
    }

    /// Writes the table, flushing after each part: the backup, the primary's entries, the primary header, the first
    /// sector. The boot code stays.
    pub fn write(&self, device: &mut dyn BlockDevice) -> Result<(), GptError> {
        let backup_header = self.tail.len().saturating_sub(self.sector);
        let (list, header) = self.tail.split_at(backup_header);
        device.write_at(list, self.tail_at)?;
        device.write_at(header, self.tail_at.saturating_add(offset(backup_header)))?;
        device.flush()?;
        let (first, rest) = self.head.split_at(self.sector);
        let (header, list) = rest.split_at(self.sector);
        device.write_at(list, self.list_at())?;
        device.flush()?;
        device.write_at(header, offset(self.sector))?;
        device.flush()?;
        let mut sector = first.to_vec();
        let boot = sector.get_mut(..boot_code()).unwrap_or_default();
        device.read_at(boot, Bytes::ZERO)?;
        device.write_at(&sector, Bytes::ZERO)?;
        device.flush()?;
        Ok(())
    }

    /// Where the primary array of entries begins: behind the first sector and the primary header.
    fn list_at(&self) -> Bytes {
        offset(self.sector.saturating_mul(2))
    }

    /// Compares every byte of both copies and of the protective MBR with the device.
    pub fn compare(&self, device: &dyn BlockDevice) -> Result<(), GptError> {
        let (mbr, rest) = self.head.split_at(self.sector);
        let (header, list) = rest.split_at(self.sector);
        let (backup_list, backup_header) = self
            .tail
            .split_at(self.tail.len().saturating_sub(self.sector));
        let parts = [
            (
                "protective MBR",
                mbr.get(boot_code()..512).unwrap_or_default(),
                mbr::BOOT_CODE,
            ),
            ("primary header", header, offset(self.sector)),
            ("primary array of entries", list, self.list_at()),
            ("backup array of entries", backup_list, self.tail_at),
            (
                "backup header",
                backup_header,
                self.tail_at.saturating_add(offset(backup_list.len())),
            ),
        ];
        for (part, expected, at) in parts {
            let mut found = vec![0; expected.len()];
            device.read_at(&mut found, at)?;
            if found != expected {
                return Err(GptError::Differs { part, at });
            }
        }
        Ok(())
    }
}

fn boot_code() -> usize {
    usize::try_from(mbr::BOOT_CODE.0).unwrap_or(440)
}

fn offset(length: usize) -> Bytes {
    Bytes(u64::try_from(length).unwrap_or(u64::MAX))
}

fn check(partitions: &[GptPartition], sector: Bytes, usable: Extent) -> Result<(), GptError> {
    for (index, partition) in partitions.iter().enumerate() {
        let (number, extent) = (partition.number, partition.extent);
        let earlier = partitions.get(..index).unwrap_or_default();
        if !(1..=ENTRIES).contains(&number) || earlier.iter().any(|other| other.number == number) {
            return Err(GptError::Number(number));
        }
        let aligned = extent.start.is_aligned(sector) && extent.length.is_aligned(sector);
        if !aligned || extent.length == Bytes::ZERO || !usable.contains(extent) {
            return Err(GptError::Place {
                number,
                extent,
                usable,
            });
        }
        if let Some(other) = earlier.iter().find(|other| other.extent.overlaps(extent)) {
            return Err(GptError::Overlap(other.number, number));
        }
        if partition.name.encode_utf16().count() > NAME {
            return Err(GptError::Name(number));
        }
    }
    Ok(())
}

/// The list, with each partition at the position of its number.
fn encode_list(partitions: &[GptPartition], sector: Bytes) -> Vec<u8> {
    let sectors = |bytes: Bytes| bytes.0.checked_div(sector.0).unwrap_or_default();
    let entry = |number: u32| {
        let mut all = partitions.iter();
        let partition = all.find(|partition| partition.number == number);
        partition.map_or_else(
            || vec![0; 128],
            |partition| {
                let extent = partition.extent;
                let entry = Entry {
                    number,
                    type_guid: partition.type_guid,
                    guid: partition.guid,
                    first: sectors(extent.start),
                    last: sectors(extent.end()).saturating_sub(1),
                    attributes: partition.attributes,
                    name: partition.name.clone(),
                };
                entry.encode()
            },
        )
    };
    (1..=ENTRIES).flat_map(entry).collect()
}

#[cfg(test)]
mod tests;
