//! What `provision write` writes to: a disk, a partition, another block device, or a regular file; or nothing at all.
//!
//! Found by the name that was given and by no other, and only read here.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use host::blockdev::BlockDevice;
use host::cancel::Cancel;
use host::units::{Bytes, Extent};

use crate::inventory::{self, Reader};
use crate::model::error::{Error, Kind};
use crate::model::inventory::{Disk, Inventory};
use crate::plan::write::{Target, TargetKind};

/// The device or file that `path` means, with links followed.
pub(super) fn find(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|error| not_found(path, error))
}

fn not_found(path: &Path, error: io::Error) -> Error {
    let what = format!("cannot find the target {}", path.display());
    Error::new(Kind::Usage, what)
        .because(error)
        .hint("`provision inventory` lists the disks; a file is made with `truncate -s SIZE`")
}

/// Reads the facts of a device or a file, whose path is without links.
pub(super) fn probe(path: &Path, cancel: &Cancel) -> Result<Target, Error> {
    let meta = fs::metadata(path).map_err(|error| not_found(path, error))?;
    if meta.file_type().is_block_device() {
        return probe_device(path, cancel);
    }
    if !meta.is_file() {
        let what = format!(
            "{} is neither a block device nor a regular file",
            path.display()
        );
        return Err(Error::new(Kind::Usage, what).hint("name a disk, a partition or a file"));
    }
    let disk = Disk {
        path: path.display().to_string(),
        size_bytes: Bytes(meta.len()),
        logical_sector_size: 512,
        ..Disk::default()
    };
    Ok(Target {
        kind: TargetKind::File,
        disk,
        node: Inventory::default(),
    })
}

fn probe_device(path: &Path, cancel: &Cancel) -> Result<Target, Error> {
    let mut reader = Reader::real(cancel);
    let node = inventory::probe(&mut reader)?;
    let kind = if is_partition(path) {
        TargetKind::Partition
    } else {
        TargetKind::Device
    };
    let shown = path.display().to_string();
    let disk = if let Some(disk) = node.disks.iter().find(|disk| disk.path == shown) {
        disk.clone()
    } else {
        let found = inventory::device(&reader, path, kind == TargetKind::Device);
        found.map_err(|error| {
            let what = format!("cannot read {shown}");
            Error::new(Kind::Disk, what).device(&shown).because(error)
        })?
    };
    Ok(Target { kind, disk, node })
}

fn is_partition(node: &Path) -> bool {
    let name = node.file_name().unwrap_or_default();
    Path::new("/sys/class/block")
        .join(name)
        .join("partition")
        .exists()
}

/// Takes everything and keeps nothing: an image is fetched, unpacked and checked, and no disk is there.
#[derive(Debug)]
pub(super) struct NullDevice;

impl BlockDevice for NullDevice {
    fn size(&self) -> Bytes {
        Bytes(1 << 62)
    }

    fn sector_size(&self) -> Bytes {
        Bytes(512)
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buffer: &mut [u8], _at: Bytes) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn write_at(&mut self, _bytes: &[u8], _at: Bytes) -> io::Result<()> {
        Ok(())
    }

    fn zero(&mut self, _extent: Extent) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::render;

    #[test]
    fn what_is_neither_device_nor_file_is_no_target() {
        let find = |path: &str| {
            let found = find(Path::new(path));
            let probed = found.and_then(|path| probe(&path, &Cancel::new()));
            render(&probed.unwrap_err())
        };
        insta::assert_snapshot!(find("/dev/null"), @r"
        error: /dev/null is neither a block device nor a regular file
          hint: name a disk, a partition or a file
        ");
        insta::assert_snapshot!(find("/nowhere/disk"), @r"
        error: cannot find the target /nowhere/disk
          cause: No such file or directory (os error 2)
          hint: `provision inventory` lists the disks; a file is made with `truncate -s SIZE`
        ");
    }
}
