//! A configdrive that was made elsewhere: its filesystem onto the partition, read back and compared.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use configdrive::ready;
use host::blockdev::{Access, BlockDevice};
use host::units::Bytes;

use super::super::context::Context;
use super::super::outcome::Outcome;
use crate::model::error::{Error, Kind};

/// How much is written at a time.
const CHUNK: usize = 1 << 20;

pub(super) fn write(
    context: &mut Context<'_>,
    node: &Path,
    source: &Path,
) -> Result<Outcome, Error> {
    let failed = |error: io::Error| {
        let what = format!("cannot write the configdrive to {}", node.display());
        Error::new(Kind::Disk, what)
            .device(node.display())
            .because(error)
    };
    let opened = context.host.devices.open(node, Access::Write);
    let mut device = opened.map_err(failed)?;
    let found = read(source, device.as_ref())?;
    copy(&mut Cursor::new(found), device.as_mut()).map_err(failed)?;
    Ok(Outcome::Changed)
}

/// The filesystem in the file, if the partition can hold it. The request was read with the same check; the file may
/// have changed.
fn read(source: &Path, device: &dyn BlockDevice) -> Result<Vec<u8>, Error> {
    let refused = |what: String| {
        let what = format!("the configdrive {} {what}", source.display());
        Error::new(Kind::Request, what)
            .hint("upload a FAT or ISO 9660 filesystem labelled `config-2`")
    };
    let room = usize::try_from(device.size().0).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    // base64 takes a third more than what it holds
    let most = device.size().0.saturating_mul(2);
    File::open(source)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| refused("cannot be read".to_owned()).because(error))?;
    let found = ready::unwrap(bytes, room).map_err(|error| refused(error.to_string()))?;
    if length(found.block) < device.sector_size() {
        return Err(refused(format!(
            "has blocks of {} bytes, which no system can mount from a disk with sectors of {}",
            found.block,
            device.sector_size()
        )));
    }
    Ok(found.bytes)
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
    fn only_a_filesystem_for_cloud_init_that_the_disk_can_mount_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config-drive.img");
        let format = configdrive::fat::Format {
            size: 2 << 20,
            sector_size: 512,
            label: configdrive::LABEL_CONFIG_DRIVE,
            volume_id: 1,
            purpose: configdrive::fat::Purpose::Data,
        };
        let image = configdrive::fat::image(&format, &[]).unwrap();
        let look = |bytes: &[u8], sector: u64| {
            std::fs::write(&path, bytes).unwrap();
            let disks =
                FakeDevices::new().with_sectors("/dev/sda1", Bytes(20 << 20), Bytes(sector));
            let device = disks.open("/dev/sda1".as_ref(), Access::Write).unwrap();
            let found = read(&path, device.as_ref());
            found.map_err(|error| (error.kind, error.what))
        };
        assert!(look(&image, 512).unwrap() == image);
        for (bytes, sector, says) in [
            (&image[..], 4096, "blocks of 512 bytes"),
            (&b"#cloud-config"[..], 512, "is neither FAT"),
        ] {
            let (kind, what) = look(bytes, sector).unwrap_err();
            assert_eq!(kind, Kind::Request);
            assert!(what.contains(says), "{what}");
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
