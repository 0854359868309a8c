//! GRUB on a UEFI node: a FAT filesystem with `\EFI\BOOT\BOOTX64.EFI`, the path that firmware tries on any disk.
//!
//! Its first sector is written last: until then there is no filesystem for the firmware to find. No entry is added to
//! the firmware's own list; entries of ours that may be there are removed when the node is disarmed.

use std::io;
use std::path::Path;

use configdrive::File;
use configdrive::fat::{self, Format, Purpose};
use host::blockdev::{Access, BlockDevice};
use host::units::Extent;

use super::{core, esp, volume_id};
use crate::apply::Context;
use crate::apply::medium::{Medium, write_and_check};
use crate::error::{Error, Kind};
use crate::plan::PlannedPartition;

/// Where firmware looks when nobody told it where to look.
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// Label of the filesystem.
const LABEL: &str = "EFI";
/// What our own entries in the firmware's list are called.
const ENTRY: &str = "provision";

pub(crate) fn install(context: &mut Context<'_>, disk: usize) -> Result<(), Error> {
    let loader = core::image(context, core::Platform::Efi)?;
    let planned = &context.plan.disks[disk];
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        let what = format!(
            "cannot write the EFI system partition of {}",
            planned.device
        );
        Error::new(Kind::Disk, what)
            .device(&planned.device)
            .because(source)
    };
    let Some(esp) = esp(planned) else {
        let what = format!("{} has no EFI system partition", planned.device);
        return Err(Error::new(Kind::Request, what).device(&planned.device));
    };
    let opened = context
        .host
        .devices
        .open(planned.device.as_ref(), Access::Write);
    let mut device = opened.map_err(|e| failed(e.into()))?;
    let files = [File::new(LOADER, loader)];
    if esp.keep_data {
        add(device.as_mut(), esp.extent, &files).map_err(failed)
    } else {
        make(device.as_mut(), esp, &files).map_err(failed)
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes the filesystem, checks it, and only then writes its first sector.
pub(crate) fn make(
    device: &mut dyn BlockDevice,
    esp: &PlannedPartition,
    files: &[File],
) -> Result<(), Failure> {
    let sector_size = u32::try_from(device.sector_size().0)?;
    let format = Format {
        size: esp.extent.length.0,
        sector_size,
        label: LABEL,
        volume_id: volume_id(esp),
        purpose: Purpose::EfiSystem,
    };
    let mut medium = Medium::holding_back(device, esp.extent);
    fat::write(&mut medium, &format, files)?;
    medium.flush_disk()?;
    fat::check(&mut medium, files)?;
    medium.release()?;
    Ok(())
}

/// Adds our files to a filesystem that is kept.
fn add(device: &mut dyn BlockDevice, extent: Extent, files: &[File]) -> Result<(), Failure> {
    fat::update(Medium::new(device, extent), files)?;
    device.flush()?;
    let found = fat::read(Medium::new(device, extent))?;
    match files.iter().find(|file| !found.contains(file)) {
        Some(file) => Err(format!("`{}` reads back differently", file.path).into()),
        None => Ok(()),
    }
}

/// Takes from a disk what [`install`] gave it.
pub(super) fn take_back(device: &mut dyn BlockDevice, esp: &PlannedPartition) -> io::Result<()> {
    if !esp.keep_data {
        let sector = usize::try_from(device.sector_size().0).map_err(io::Error::other)?;
        return write_and_check(device, &vec![0; sector], esp.extent.start);
    }
    if is_fat(device, esp.extent)? {
        let medium = Medium::new(device, esp.extent);
        fat::set_aside(medium, ".off", |path| path == LOADER).map_err(io::Error::other)?;
    }
    device.flush()
}

/// Whether a FAT filesystem begins there.
pub(crate) fn is_fat(device: &dyn BlockDevice, extent: Extent) -> io::Result<bool> {
    let mut sector = [0; 512];
    device.read_at(&mut sector, extent.start)?;
    let named = [(54, "FAT12   "), (54, "FAT16   "), (82, "FAT32   ")];
    Ok(sector.ends_with(&[0x55, 0xaa])
        && named
            .iter()
            .any(|(at, name)| sector.get(*at..*at + 8) == Some(name.as_bytes())))
}

/// Whether firmware would find something to start.
pub(crate) fn is_armed(device: &mut dyn BlockDevice, extent: Extent) -> io::Result<bool> {
    if !is_fat(device, extent)? {
        return Ok(false);
    }
    let files = fat::read(Medium::new(device, extent)).map_err(io::Error::other)?;
    Ok(files
        .iter()
        .any(|file| file.path == LOADER && !file.content.is_empty()))
}

/// Removes entries of ours from the firmware's list, by their name.
pub(crate) fn forget_entries(variables: &Path) -> io::Result<usize> {
    let entries = match std::fs::read_dir(variables) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_boot_entry(&name)
            && description(&std::fs::read(entry.path())?).as_deref() == Some(ENTRY)
        {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// `Boot0001-8be4df61-93ca-11d2-aa0d-00e098032b8c` and its like.
fn is_boot_entry(name: &str) -> bool {
    let number = name
        .strip_prefix("Boot")
        .and_then(|rest| rest.split_once('-'));
    number.is_some_and(|(number, vendor)| {
        number.len() == 4
            && number.chars().all(|c| c.is_ascii_hexdigit())
            && vendor == "8be4df61-93ca-11d2-aa0d-00e098032b8c"
    })
}

/// The name of an entry: behind the variable's attributes, the entry's, and a length, in UTF-16 up to a zero.
fn description(variable: &[u8]) -> Option<String> {
    let text = variable.get(4 + 4 + 2..)?;
    let units: Vec<u16> = text
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

    fn entry(name: &str) -> Vec<u8> {
        let mut bytes = vec![7, 0, 0, 0, 1, 0, 0, 0, 4, 0];
        bytes.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes.extend([0x7f, 0xff, 4, 0]);
        bytes
    }

    #[test]
    fn only_our_own_entries_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, label: &str| {
            std::fs::write(folder.path().join(name), entry(label)).unwrap();
        };
        put(&format!("Boot0001-{VENDOR}"), "provision");
        put(&format!("Boot000A-{VENDOR}"), "debian");
        put(&format!("BootOrder-{VENDOR}"), "provision");
        put("Boot0002-00000000-0000-0000-0000-000000000000", "provision");
        assert_eq!(forget_entries(folder.path()).unwrap(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(!folder.path().join(format!("Boot0001-{VENDOR}")).exists());
    }

    #[test]
    fn a_node_without_variables_has_no_entries() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(forget_entries(&folder.path().join("none")).unwrap(), 0);
    }

    #[test]
    fn a_short_variable_has_no_name() {
        assert_eq!(description(&[7, 0, 0]), None);
    }
}
