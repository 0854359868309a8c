//! A GPT as bytes: both ends of a disk with the table in them, by the gpt crate's parts, in numbers of ours.
//!
//! The crate's own `write` is not used: it renumbers partitions, and checks neither bounds nor overlaps.

use std::io::{self, Read, Seek, SeekFrom, Write};

use gpt::disk::LogicalBlockSize;
use gpt::header::HeaderBuilder;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use host::units::Bytes;
use uuid::Uuid;

use crate::plan::{PlannedDisk, PlannedPartition};

/// What each end keeps in memory: far more than a table takes, and less than the first partition's offset.
const END: u64 = 1 << 20;
/// Entries in the table: what every firmware expects.
const ENTRIES: u32 = 128;
/// Size of an entry.
const ENTRY: u32 = 128;
/// Type of a partition for which neither request nor role names one: Linux filesystem data.
const LINUX_DATA: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
/// Attribute bit 2: legacy BIOS bootable.
const LEGACY_BOOT: u64 = 1 << 2;

/// Both ends of a disk with its table.
#[derive(Debug)]
pub(super) struct GuidTable {
    size: u64,
    sector: u64,
    at: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// A stretch of the table, and where on the disk it belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Where it starts.
    pub(super) at: Bytes,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

impl GuidTable {
    /// The table of a planned disk.
    pub(super) fn of(disk: &PlannedDisk) -> io::Result<Self> {
        let sector = match disk.sector_size.0 {
            512 => LogicalBlockSize::Lb512,
            4096 => LogicalBlockSize::Lb4096,
            other => return Err(io::Error::other(format!("sectors of {other} bytes"))),
        };
        let mut table = Self::empty(disk.size, disk.sector_size)?;
        check(disk, &table)?;
        let last = disk.size.0 / disk.sector_size.0 - 1;
        let mut builder = HeaderBuilder::new();
        builder
            .disk_guid(disk.guid)
            .backup_lba(last)
            .num_parts(ENTRIES)
            .part_size(ENTRY);
        builder
            .first_usable(table.first_usable())
            .last_usable(table.last_usable());
        let mut primary = builder
            .clone()
            .primary(true)
            .build(sector)
            .map_err(io::Error::other)?;
        let mut backup = builder
            .primary(false)
            .build(sector)
            .map_err(io::Error::other)?;
        ProtectiveMBR::with_lb_size(u32::try_from(last).unwrap_or(u32::MAX))
            .overwrite_lba0(&mut table)
            .map_err(io::Error::other)?;
        for header in [&backup, &primary] {
            for partition in &disk.partitions {
                let entry = entry(partition, disk.sector_size)?;
                let index = u64::from(partition.number - 1);
                entry.write_to_device(&mut table, index, header.part_start, sector, ENTRY)?;
            }
        }
        backup
            .write_backup(&mut table, sector)
            .map_err(io::Error::other)?;
        primary
            .write_primary(&mut table, sector)
            .map_err(io::Error::other)?;
        Ok(table)
    }

    fn empty(size: Bytes, sector: Bytes) -> io::Result<Self> {
        if size.0 < 4 * END {
            return Err(io::Error::other(format!("a disk of {size} holds no table")));
        }
        let end = usize::try_from(END).map_err(io::Error::other)?;
        Ok(Self {
            size: size.align_down(sector).0,
            sector: sector.0,
            at: 0,
            head: vec![0; end],
            tail: vec![0; end],
        })
    }

    /// Sectors that the entries take.
    fn entry_sectors(&self) -> u64 {
        (u64::from(ENTRIES) * u64::from(ENTRY)).div_ceil(self.sector)
    }

    fn first_usable(&self) -> u64 {
        2 + self.entry_sectors()
    }

    fn last_usable(&self) -> u64 {
        self.size / self.sector - 2 - self.entry_sectors()
    }

    /// The table's pieces in the order they are written: backup first, then the primary entries, then what makes the
    /// primary valid. `boot_code` is what stands in the first 440 bytes of the disk, and stays.
    pub(super) fn pieces<'a>(&'a mut self, boot_code: &[u8; 440]) -> [Piece<'a>; 4] {
        self.head[..440].copy_from_slice(boot_code);
        let sector = usize::try_from(self.sector).unwrap_or(4096);
        let entries = usize::try_from(self.entry_sectors()).unwrap_or(32) * sector;
        let (head, tail) = (&self.head[..], &self.tail[..]);
        let tail_from = tail.len() - entries - sector;
        let tail_at = self.size - Bytes(0).0 - u64::try_from(entries + sector).unwrap_or(END);
        [
            Piece {
                at: Bytes(tail_at),
                bytes: &tail[tail_from..],
            },
            Piece {
                at: Bytes(2 * self.sector),
                bytes: &head[2 * sector..2 * sector + entries],
            },
            Piece {
                at: Bytes(self.sector),
                bytes: &head[sector..2 * sector],
            },
            Piece {
                at: Bytes(0),
                bytes: &head[..sector],
            },
        ]
    }

    /// The bytes at the cursor that lie in one of the ends, as an index range of it.
    fn place(&self, wanted: usize) -> io::Result<(bool, std::ops::Range<usize>)> {
        let length = u64::try_from(wanted).map_err(io::Error::other)?;
        let end = self
            .at
            .checked_add(length)
            .ok_or_else(|| io::Error::other("beyond the disk"))?;
        let tail_start = self.size - END;
        let (in_tail, from) = if end <= END {
            (false, self.at)
        } else if self.at >= tail_start && end <= self.size {
            (true, self.at - tail_start)
        } else {
            return Err(io::Error::other(format!(
                "the table does not reach byte {}",
                self.at
            )));
        };
        let from = usize::try_from(from).map_err(io::Error::other)?;
        Ok((in_tail, from..from + wanted))
    }
}

impl Read for GuidTable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (in_tail, range) = self.place(buffer.len())?;
        buffer.copy_from_slice(if in_tail {
            &self.tail[range]
        } else {
            &self.head[range]
        });
        self.at += u64::try_from(buffer.len()).map_err(io::Error::other)?;
        Ok(buffer.len())
    }
}

impl Write for GuidTable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (in_tail, range) = self.place(bytes.len())?;
        let end = if in_tail {
            &mut self.tail
        } else {
            &mut self.head
        };
        end[range].copy_from_slice(bytes);
        self.at += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for GuidTable {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("before the disk"))?;
        Ok(self.at)
    }
}

fn entry(partition: &PlannedPartition, sector: Bytes) -> io::Result<Partition> {
    let kind = partition.type_guid.as_deref().unwrap_or(LINUX_DATA);
    let guid = Uuid::parse_str(kind)
        .map_err(|_| io::Error::other(format!("`{kind}` is no partition type")))?;
    Ok(Partition {
        part_type_guid: Type {
            guid,
            os: OperatingSystem::None,
        },
        part_guid: partition.guid,
        first_lba: partition.extent.start.0 / sector.0,
        last_lba: partition.extent.end().0 / sector.0 - 1,
        flags: if partition.legacy_boot {
            LEGACY_BOOT
        } else {
            0
        },
        name: partition.name.clone(),
    })
}

/// What the gpt crate does not look at: numbers, bounds, alignment, overlaps, lengths of names.
fn check(disk: &PlannedDisk, table: &GuidTable) -> io::Result<()> {
    let sector = disk.sector_size;
    for (n, partition) in disk.partitions.iter().enumerate() {
        let (number, extent) = (partition.number, partition.extent);
        let wrong = |what: &str| Err(io::Error::other(format!("partition {number} {what}")));
        if number == 0 || number > ENTRIES {
            return wrong("has a number that no table has");
        }
        if !extent.start.is_aligned(sector)
            || !extent.length.is_aligned(sector)
            || extent.length == Bytes::ZERO
        {
            return wrong("does not begin and end with a sector");
        }
        if extent.start.0 / sector.0 < table.first_usable()
            || extent.end().0 / sector.0 - 1 > table.last_usable()
        {
            return wrong("lies where the table is, or beyond the disk");
        }
        if partition.name.encode_utf16().count() > 36 {
            return wrong("has a name of more than 36 characters");
        }
        let clashes =
            |other: &PlannedPartition| other.number == number || other.extent.overlaps(extent);
        if disk.partitions[..n].iter().any(clashes) {
            return wrong("clashes with another one");
        }
    }
    Ok(())
}
