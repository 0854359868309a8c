//! A configdrive that was made elsewhere, of whatever format: its bytes onto the partition, read back and compared.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use host::blockdev::{Access, BlockDevice};
use host::units::Bytes;

use super::super::{Context, Outcome};
use crate::model::error::{Error, Kind};

/// How much is in memory at a time.
const CHUNK: usize = 1 << 20;

pub(super) fn write(
    context: &mut Context<'_>,
    node: &Path,
    source: &Path,
) -> Result<Outcome, Error> {
    let unreadable = |error: io::Error| {
        let what = format!("cannot read the configdrive {}", source.display());
        Error::new(Kind::Request, what)
            .because(error)
            .hint("upload it again")
    };
    let failed = |error: io::Error| {
        let what = format!("cannot write the configdrive to {}", node.display());
        Error::new(Kind::Disk, what)
            .device(node.display())
            .because(error)
    };
    let mut file = File::open(source).map_err(unreadable)?;
    let size = Bytes(file.metadata().map_err(unreadable)?.len());
    let mut device = context
        .host
        .devices
        .open(node, Access::Write)
        .map_err(failed)?;
    if size > device.size() {
        let what = format!(
            "the configdrive {} has {size}, and its partition {}",
            source.display(),
            device.size()
        );
        return Err(Error::new(Kind::Request, what).hint("make it smaller"));
    }
    copy(&mut file, device.as_mut()).map_err(failed)?;
    Ok(Outcome::Changed)
}

/// Copies all of it, the first chunk last: what is half there is not found by its label.
fn copy(source: &mut (impl Read + Seek), device: &mut dyn BlockDevice) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let head = fill(source, &mut chunk)?;
    let head = chunk[..head].to_vec();
    let mut at = length(head.len());
    loop {
        let filled = fill(source, &mut chunk)?;
        if filled == 0 {
            break;
        }
        device.write_at(&chunk[..filled], at)?;
        at = at.saturating_add(length(filled));
    }
    device.flush()?;
    device.write_at(&head, Bytes::ZERO)?;
    device.flush()?;
    source.rewind()?;
    compare(source, device)
}

fn compare(source: &mut impl Read, device: &dyn BlockDevice) -> io::Result<()> {
    let (mut wanted, mut found) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = Bytes::ZERO;
    loop {
        let filled = fill(source, &mut wanted)?;
        if filled == 0 {
            return Ok(());
        }
        device.read_at(&mut found[..filled], at)?;
        if wanted[..filled] != found[..filled] {
            return Err(io::Error::other(
                "what is read back is not what was written",
            ));
        }
        at = at.saturating_add(length(filled));
    }
}

fn length(count: usize) -> Bytes {
    Bytes(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::blockdev::Devices;
    use host::fake::{FakeDevices, Fault};
    use host::units::Extent;
    use std::io::Cursor;

    fn run(bytes: &[u8], disks: &FakeDevices) -> io::Result<()> {
        let mut device = disks.open("/dev/sda1".as_ref(), Access::Write).unwrap();
        copy(&mut Cursor::new(bytes), device.as_mut())
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length)
            .map(|index| u8::try_from(index % 251).unwrap() + 1)
            .collect()
    }

    #[test]
    fn every_byte_arrives_whatever_the_length() {
        for length in [0, 1, 512, CHUNK, CHUNK + 1, 3 * CHUNK + 700] {
            let bytes = sample(length);
            let disks = FakeDevices::new().with_sectors("/dev/sda1", Bytes(20 << 20), Bytes(512));
            run(&bytes, &disks).unwrap();
            let all = Extent {
                start: Bytes::ZERO,
                length: super::length(length),
            };
            assert!(
                disks.content("/dev/sda1", all).unwrap() == bytes,
                "{length}"
            );
        }
    }

    #[test]
    fn whatever_fails_is_told_and_leaves_no_beginning() {
        for fault in [
            Fault::Write(0),
            Fault::Write(1),
            Fault::Flush(0),
            Fault::Write(2),
        ] {
            let disks = FakeDevices::new()
                .with_sectors("/dev/sda1", Bytes(20 << 20), Bytes(512))
                .failing(fault);
            assert!(run(&sample(3 * CHUNK), &disks).is_err(), "{fault:?}");
            let head = Extent {
                start: Bytes::ZERO,
                length: Bytes(512),
            };
            let sector = disks.content("/dev/sda1", head).unwrap();
            assert!(sector.iter().all(|byte| *byte == 0), "{fault:?}");
        }
    }
}
