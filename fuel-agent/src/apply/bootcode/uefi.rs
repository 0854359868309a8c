//! GRUB on a UEFI node: a FAT filesystem with `\EFI\BOOT\BOOTX64.EFI`, the path that firmware tries on any disk.
//!
//! Its first sector is written last: until then there is no filesystem for the firmware to find. Then the disk gets an
//! entry in the firmware's own boot list.

use std::io;

use configdrive::File;
use configdrive::fat::{self, Format, Purpose};
use host::blockdev::{Access, BlockDevice};
use host::partition_table;
use host::units::Extent;

use super::efi_boot_entry::{self, Entry};
use super::{core, esp, volume_id};
use crate::apply::context::Context;
use crate::apply::disk_region::{DiskRegion, write_and_check};
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::plan::PlannedPartition;
use crate::model::stage::Stage;

/// The path that firmware starts without a boot entry.
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// Label of the filesystem.
const LABEL: &str = "EFI";

pub(crate) fn install(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    let loader = core::image(context, crate::model::grub::Platform::Efi)?;
    let planned = &context.plan[disk];
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
        add(device.as_mut(), esp.extent, &files).map_err(failed)?;
    } else {
        make(device.as_mut(), esp, &files).map_err(failed)?;
    }
    if !context.is_file(disk)
        && let Err(source) = enlist(context, disk, device.as_ref())
    {
        let message = format!(
            "{} gets no entry in the firmware's boot list: {source}; the firmware has to find \\{} by itself",
            planned.device,
            LOADER.replace('/', "\\")
        );
        context.warn(Stage::Bootloader, message);
    }
    Ok(())
}

/// Adds the disk to the firmware's boot list. A firmware whose variables cannot be written is no error: the path is the
/// one that it tries by itself.
fn enlist(context: &Context<'_>, disk: DiskIndex, device: &dyn BlockDevice) -> io::Result<u16> {
    let plan = context.plan;
    let number = esp(&plan[disk]).map(|esp| esp.number);
    // As it is on the disk: the plan has no identifiers of a table that is kept.
    let table = partition_table::read(device)?;
    let listed = table.iter().flat_map(|table| &table.partitions);
    let partition = listed
        .into_iter()
        .find(|partition| Some(partition.number) == number)
        .ok_or_else(|| io::Error::other("its partition is not in the table"))?;
    let mut marked = plan.disks().filter(|(_, disk)| disk.bootloader);
    let several = plan.disks.iter().filter(|disk| disk.bootloader).count() > 1;
    let ordinal = marked.position(|(marked, _)| marked == disk);
    let entry = Entry {
        ordinal: ordinal.filter(|_| several).map(|index| index + 1),
        partition,
        sector_size: device.sector_size(),
        program: LOADER,
    };
    efi_boot_entry::add(&context.host.variables, &entry)
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
    let mut region = DiskRegion::holding_back(device, esp.extent);
    fat::write(&mut region, &format, files)?;
    region.flush_disk()?;
    fat::check(&mut region, files)?;
    region.release()?;
    Ok(())
}

/// Adds the agent's files to a filesystem that is kept.
fn add(device: &mut dyn BlockDevice, extent: Extent, files: &[File]) -> Result<(), Failure> {
    fat::update(DiskRegion::new(device, extent), files)?;
    device.flush()?;
    let found = fat::read(DiskRegion::new(device, extent))?;
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
        let region = DiskRegion::new(device, esp.extent);
        fat::set_aside(region, ".off", |path| path == LOADER).map_err(io::Error::other)?;
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
    let files = fat::read(DiskRegion::new(device, extent)).map_err(io::Error::other)?;
    Ok(files
        .iter()
        .any(|file| file.path == LOADER && !file.content.is_empty()))
}
