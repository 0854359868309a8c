//! GUID partition tables.

use std::io;

use super::{FoundPartition, bytes, number, run_of};
use crate::blockdev::BlockDevice;
use crate::units::Bytes;

/// The longest list of GPT entries that is believed; the usual one is 16 KiB.
const LONGEST_LIST: u64 = 1 << 20;

/// The partitions of the primary table, or of the backup where that is broken; `None` where both are.
pub(super) fn read(device: &dyn BlockDevice) -> io::Result<Option<Vec<FoundPartition>>> {
    let last = (device.size().0 / device.sector_size().0).saturating_sub(1);
    for place in [1, last] {
        if let Some(partitions) = read_at_sector(device, place)? {
            return Ok(Some(partitions));
        }
    }
    Ok(None)
}

/// The GPT whose header is in sector `place`, if its sums are right.
fn read_at_sector(device: &dyn BlockDevice, place: u64) -> io::Result<Option<Vec<FoundPartition>>> {
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
            .filter_map(|(number, entry)| partition(device, number, entry))
            .collect(),
    ))
}

fn partition(device: &dyn BlockDevice, count: u32, entry: &[u8]) -> Option<FoundPartition> {
    let kind = bytes(entry, 0, 16);
    if kind.iter().all(|byte| *byte == 0) {
        return None;
    }
    let (first, last) = (number(entry, 32, 8), number(entry, 40, 8));
    let length = last.checked_sub(first)?.checked_add(1)?;
    Some(FoundPartition {
        number: count,
        extent: run_of(device, first, length)?,
        type_id: guid(kind),
        guid: bytes(entry, 16, 16).try_into().ok(),
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

/// The CRC that GPT uses, bit by bit: tables are short.
pub(super) fn crc32(data: &[u8]) -> u32 {
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
