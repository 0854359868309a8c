//! Disks that an earlier owner may have written: partition tables, FAT, our own stamp, and what tools say of them.

use std::io::{self, Cursor};

use fuel_agent::apply::stamp;
use host::blockdev::BlockDevice;
use host::partition_table;
use host::units::{Bytes, Extent};
use sha2::{Digest, Sha256};

use crate::{choice, length};

/// A disk in memory, for reading.
struct Memory {
    bytes: Vec<u8>,
    sector: u64,
}

impl BlockDevice for Memory {
    fn size(&self) -> Bytes {
        Bytes(length(&self.bytes))
    }

    fn sector_size(&self) -> Bytes {
        Bytes(self.sector)
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read_at(&self, buffer: &mut [u8], at: Bytes) -> io::Result<()> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let from = usize::try_from(at.0).map_err(|_| end())?;
        let to = from.checked_add(buffer.len()).ok_or_else(end)?;
        buffer.copy_from_slice(self.bytes.get(from..to).ok_or_else(end)?);
        Ok(())
    }

    fn write_at(&mut self, _: &[u8], _: Bytes) -> io::Result<()> {
        panic!("reading a table writes")
    }

    fn zero(&mut self, _: Extent) -> io::Result<()> {
        panic!("reading a table writes")
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("reading a table writes")
    }
}

/// The first byte chooses the size of sectors; the rest is the disk.
pub(crate) fn table(input: &[u8]) {
    let Some((first, bytes)) = choice(input) else {
        return;
    };
    let sector: u64 = if first % 2 == 0 { 512 } else { 4096 };
    let mut bytes = bytes.to_vec();
    let step = usize::try_from(sector).unwrap_or(512);
    bytes.resize(bytes.len().next_multiple_of(step), 0);
    let disk = Memory { bytes, sector };
    let Ok(Some(found)) = partition_table::read(&disk) else {
        return;
    };
    for partition in &found.partitions {
        assert!(partition.number > 0, "partitions count from 1");
        assert!(partition.extent.end() <= disk.size(), "{partition:?}");
        assert!(partition.extent.length.0 > 0, "{partition:?}");
    }
}

/// Reads a filesystem, puts boot files aside as disarming does, and writes files as arming does.
pub(crate) fn fat(input: &[u8]) {
    let mut bytes = input.to_vec();
    if let Err(error) = configdrive::fat::read(Cursor::new(bytes.as_slice())) {
        let _ = host::error::one_line(&error);
    }
    let boots = |path: &str| path.to_ascii_lowercase().ends_with(".efi");
    if let Err(error) =
        configdrive::fat::set_aside(Cursor::new(bytes.as_mut_slice()), ".old", boots)
    {
        let _ = host::error::one_line(&error);
    }
    let files = [configdrive::File::new(
        "EFI/BOOT/BOOTX64.EFI",
        b"boot".to_vec(),
    )];
    let _ = configdrive::fat::update(Cursor::new(bytes.as_mut_slice()), &files);
}

/// As it is, and as the text of a stamp whose digest is right: no fuzzer finds that.
pub(crate) fn stamp(input: &[u8]) {
    let _ = stamp::parse(input);
    let mut whole = b"provision stamp\x01".to_vec();
    whole.extend(u32::try_from(input.len()).unwrap_or(u32::MAX).to_le_bytes());
    whole.extend(input);
    whole.extend(Sha256::digest(input));
    let found = stamp::parse(&whole);
    if let Some(last) = whole.last_mut() {
        *last ^= 1;
    }
    assert_eq!(stamp::parse(&whole), None, "a wrong digest");
    if let Some(found) = found {
        let again = serde_json::to_vec(&found).map(|json| serde_json::from_slice(&json));
        assert!(again.is_ok_and(|again| again.is_ok_and(|again: stamp::Stamp| again == found)));
    }
}

/// The first byte is the tool's exit status.
pub(crate) fn answers(input: &[u8]) {
    let Some((status, output)) = choice(input) else {
        return;
    };
    fuel_agent::inventory::fuzzing::answers(i32::from(status), output);
    let _ = host::procfs::parse_mountinfo(output);
    let _ = host::procfs::parse_swaps(output);
    let _ = fuel_agent::inventory::from_json(&String::from_utf8_lossy(output));
}
