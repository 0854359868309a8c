//! A GUID partition table as the bytes at both ends of a disk: made from the plan, written, compared.
//!
//! The gpt crate gives the structures; its own `write` is not used, for it numbers partitions anew. Here a number is the
//! place in the array. The whole table is put together in memory first, so that writing it is a few writes in an order
//! of our choosing, and reading it back is a comparison of bytes: headers, arrays and both checksums at once.

use std::io::{self, Read, Seek, SeekFrom, Write};

use ::gpt::disk::LogicalBlockSize;
use ::gpt::header::{HeaderBuilder, HeaderError};
use ::gpt::mbr::{MBRError, ProtectiveMBR};
use ::gpt::partition::{Partition, PartitionAttributes};
use ::gpt::partition_types::{OperatingSystem, Type};
use host::blockdev::BlockDevice;
use host::units::{Bytes, Extent};
use uuid::{Uuid, uuid};

use crate::model::plan::{PlannedDisk, PlannedPartition};

/// What the boot stub has of the first sector: the table leaves it as it is.
pub(super) const BOOT_CODE: Bytes = Bytes(440);

/// A GPT has room for this many entries, and we ask for no more.
const ENTRIES: u32 = 128;
const ENTRY_SIZE: u64 = 128;

/// Characters of a partition's name, in units of UTF-16.
const NAME: usize = 36;

/// What parted and everyone else gives a partition that is nothing in particular.
const LINUX_DATA: Uuid = uuid!("0FC63DAF-8483-4772-8E79-3D69D8477DE4");

/// Why a table cannot be made, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// A number beyond the array, or given twice.
    #[error("partition number {0} is not between 1 and {ENTRIES}, or is there twice")]
    Number(u32),
    /// Not on sectors, or where the table itself lies.
    #[error("partition {number} ({} at {}) does not lie on whole sectors between {} and {}", extent.length, extent.start, usable.start, usable.end())]
    Place {
        /// Whose.
        number: u32,
        /// Where it lies.
        extent: Extent,
        /// Where partitions may lie.
        usable: Extent,
    },
    /// Two partitions share bytes.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
    /// A name that would be cut.
    #[error("the name of partition {0} is longer than {NAME} characters")]
    Name(u32),
    /// A type that is no GUID.
    #[error("the type of partition {number} is `{given}`, which is no GUID")]
    Type {
        /// Whose.
        number: u32,
        /// What it is.
        given: String,
    },
    /// Sectors of another size than 512 or 4096, or too few of them.
    #[error("a disk of {size} with sectors of {sector} cannot hold a GUID partition table")]
    Disk {
        /// Its size.
        size: Bytes,
        /// Its sectors.
        sector: Bytes,
    },
    /// What was read is not what was written.
    #[error("the {part} at {at} is not what was written")]
    Differs {
        /// Which part of the table.
        part: &'static str,
        /// Where it lies.
        at: Bytes,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The crate found something wrong.
    #[error("cannot put the table together: {0}")]
    Header(#[from] HeaderError),
    /// The crate found something wrong.
    #[error("cannot put the protective MBR together: {0}")]
    Mbr(#[from] MBRError),
}

/// Both ends of a disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GuidTable {
    /// The first sector, the primary header and its array.
    head: Vec<u8>,
    /// The backup array and its header.
    tail: Vec<u8>,
    tail_at: Bytes,
    sector: usize,
}

impl GuidTable {
    /// The table of `disk`, which really is `size` long and has sectors of `sector`.
    pub(super) fn of(disk: &PlannedDisk, size: Bytes, sector: Bytes) -> Result<Self, TableError> {
        let unfit = || TableError::Disk { size, sector };
        let lb = LogicalBlockSize::try_from(sector.0).map_err(|_| unfit())?;
        let sectors = size.0 / sector.0;
        let array = u64::from(ENTRIES) * ENTRY_SIZE / sector.0;
        // Both copies, the first sector, and at least one sector to use.
        if sectors < 2 * (array + 1) + 2 {
            return Err(unfit());
        }
        let mut ends = Ends::new(sectors, sector, array);
        let mut builder = HeaderBuilder::new();
        builder.disk_guid(disk.guid).backup_lba(sectors - 1);
        let mut primary = builder.clone().primary(true).build(lb)?;
        let mut backup = builder.primary(false).build(lb)?;
        let usable = Extent {
            start: Bytes(primary.first_usable * sector.0),
            length: Bytes((primary.last_usable + 1 - primary.first_usable) * sector.0),
        };
        check(&disk.partitions, sector, usable)?;
        let protected = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
        ProtectiveMBR::with_lb_size(protected).overwrite_lba0(&mut ends)?;
        for partition in &disk.partitions {
            let (index, entry) = (u64::from(partition.number) - 1, entry(partition, sector)?);
            for at in [primary.part_start, backup.part_start] {
                entry.write_to_device(&mut ends, index, at, lb, primary.part_size)?;
            }
        }
        backup.write_backup(&mut ends, lb)?;
        primary.write_primary(&mut ends, lb)?;
        Ok(Self {
            sector: lb.as_usize(),
            tail_at: Bytes(ends.tail_at),
            head: ends.head,
            tail: ends.tail,
        })
    }

    /// Writes it, each part on the medium before the next: the backup, the primary's entries, the header that vouches for
    /// them, the first sector. The boot code stays.
    pub(super) fn write(&self, device: &mut dyn BlockDevice) -> Result<(), TableError> {
        let backup_header = self.tail.len().saturating_sub(self.sector);
        let (array, header) = self.tail.split_at(backup_header);
        device.write_at(array, self.tail_at)?;
        device.write_at(header, self.tail_at.saturating_add(offset(backup_header)))?;
        device.flush()?;
        let (first, rest) = self.head.split_at(self.sector);
        let (header, array) = rest.split_at(self.sector);
        device.write_at(array, offset(2 * self.sector))?;
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

    /// Whether it is on the device as it should be: every byte of both copies, and of the protective MBR.
    pub(super) fn compare(&self, device: &dyn BlockDevice) -> Result<(), TableError> {
        let (mbr, rest) = self.head.split_at(self.sector);
        let (header, array) = rest.split_at(self.sector);
        let (backup_array, backup_header) = self.tail.split_at(self.tail.len() - self.sector);
        let parts = [
            (
                "protective MBR",
                mbr.get(boot_code()..512).unwrap_or_default(),
                BOOT_CODE,
            ),
            ("primary header", header, offset(self.sector)),
            ("primary array of entries", array, offset(2 * self.sector)),
            ("backup array of entries", backup_array, self.tail_at),
            (
                "backup header",
                backup_header,
                self.tail_at.saturating_add(offset(backup_array.len())),
            ),
        ];
        for (part, expected, at) in parts {
            let mut found = vec![0; expected.len()];
            device.read_at(&mut found, at)?;
            if found != expected {
                return Err(TableError::Differs { part, at });
            }
        }
        Ok(())
    }
}

fn boot_code() -> usize {
    usize::try_from(BOOT_CODE.0).unwrap_or(440)
}

fn offset(length: usize) -> Bytes {
    Bytes(u64::try_from(length).unwrap_or(u64::MAX))
}

/// The crate takes whatever it is given; what must hold of partitions is held here.
fn check(partitions: &[PlannedPartition], sector: Bytes, usable: Extent) -> Result<(), TableError> {
    for (index, partition) in partitions.iter().enumerate() {
        let (number, extent) = (partition.number, partition.extent);
        let earlier = partitions.get(..index).unwrap_or_default();
        if !(1..=ENTRIES).contains(&number) || earlier.iter().any(|other| other.number == number) {
            return Err(TableError::Number(number));
        }
        let aligned = extent.start.is_aligned(sector) && extent.length.is_aligned(sector);
        if !aligned || extent.length == Bytes::ZERO || !usable.contains(extent) {
            return Err(TableError::Place {
                number,
                extent,
                usable,
            });
        }
        if let Some(other) = earlier.iter().find(|other| other.extent.overlaps(extent)) {
            return Err(TableError::Overlap(other.number, number));
        }
        if partition.name.encode_utf16().count() > NAME {
            return Err(TableError::Name(number));
        }
    }
    Ok(())
}

fn entry(partition: &PlannedPartition, sector: Bytes) -> Result<Partition, TableError> {
    let guid = match &partition.type_guid {
        None => LINUX_DATA,
        Some(given) => Uuid::parse_str(given).map_err(|_| TableError::Type {
            number: partition.number,
            given: given.clone(),
        })?,
    };
    let mut flags = PartitionAttributes::empty();
    flags.set(PartitionAttributes::BOOTABLE, partition.legacy_boot);
    Ok(Partition {
        part_type_guid: Type {
            guid,
            os: OperatingSystem::None,
        },
        part_guid: partition.guid,
        first_lba: partition.extent.start.0 / sector.0,
        last_lba: partition.extent.end().0 / sector.0 - 1,
        flags: flags.bits(),
        name: partition.name.clone(),
    })
}

/// Both ends of a disk in memory, for a crate that wants a device: between them is nothing, and going there is an error.
#[derive(Debug)]
struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_at: u64,
    size: u64,
    at: u64,
}

impl Ends {
    fn new(sectors: u64, sector: Bytes, array: u64) -> Self {
        let zeros = |count: u64| vec![0; usize::try_from(count * sector.0).unwrap_or(0)];
        Self {
            head: zeros(array + 2),
            tail: zeros(array + 1),
            tail_at: (sectors - array - 1) * sector.0,
            size: sectors * sector.0,
            at: 0,
        }
    }

    /// The run of `length` bytes here.
    fn run(&mut self, length: usize) -> io::Result<&mut [u8]> {
        let (end, start) = if self.at >= self.tail_at {
            (&mut self.tail, self.at - self.tail_at)
        } else {
            (&mut self.head, self.at)
        };
        let start = usize::try_from(start).map_err(io::Error::other)?;
        let run = end.get_mut(start..).and_then(|end| end.get_mut(..length));
        let run = run.ok_or_else(|| io::Error::other("outside of the table"))?;
        self.at += u64::try_from(length).map_err(io::Error::other)?;
        Ok(run)
    }
}

impl Read for Ends {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.copy_from_slice(self.run(buffer.len())?);
        Ok(buffer.len())
    }
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.run(bytes.len())?.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests;
