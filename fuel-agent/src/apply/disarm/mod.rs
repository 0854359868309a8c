//! Taking from a disk everything that could boot: its first write, with kept data and on reinstall too.
//!
//! After it the firmware finds nothing here and goes on to its next boot device, whatever happens to the run.

use std::path::Path;

use configdrive::fat;
use host::blockdev::{Access, BlockDevice};
use host::units::Extent;

use super::bootcode::{efi_boot_entry, stub, uefi};
use super::context::Context;
use super::disk_region::DiskRegion;
use super::outcome::Outcome;
use super::stamp;
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::node::Firmware;
use crate::model::partition_type::{ESP, PartitionType};
use crate::model::plan::PlannedDisk;
use crate::model::stage::Stage;
use crate::model::storage::Role;

pub(in crate::apply) fn disarm(
    context: &mut Context<'_>,
    disk: DiskIndex,
    areas: &[Extent],
) -> Result<Outcome, Error> {
    let planned = &context.plan[disk];
    let path = Path::new(&planned.device);
    let opened = context.host.devices.open(path, Access::Exclusive);
    let mut device = opened.map_err(|source| {
        let held = source.kind() == std::io::ErrorKind::ResourceBusy;
        let mut error = failed(planned, "open")(source);
        if held {
            error.kind = Kind::Refused;
            error = error.hint("something holds it: see `lsblk`, `cat /proc/mdstat`, `swapon`");
        }
        error
    })?;
    context.state.touched = true;
    take_boot_code(device.as_mut(), planned, areas)?;
    if context.plan.firmware == Firmware::Uefi {
        for extent in kept_esps(planned) {
            hide_boot_files(device.as_mut(), planned, extent)?;
        }
        if !context.host.devices.is_file(path) {
            forget_entries(context);
        }
    }
    Ok(Outcome::Changed)
}

fn failed(disk: &PlannedDisk, doing: &str) -> impl Fn(std::io::Error) -> Error {
    let what = format!("cannot {doing} {} to disarm it", disk.device);
    let device = disk.device.clone();
    move |source| {
        Error::new(Kind::Disk, what.clone())
            .device(&device)
            .because(source)
    }
}

/// The stub first, on the medium before anything else happens: from here on a power cut ends in the next boot device.
fn take_boot_code(
    device: &mut dyn BlockDevice,
    disk: &PlannedDisk,
    areas: &[Extent],
) -> Result<(), Error> {
    stub::write(device).map_err(failed(disk, "write to"))?;
    for area in areas {
        device.zero(*area).map_err(failed(disk, "zero a part of"))?;
    }
    stamp::clear(device).map_err(failed(disk, "clear the identity stamp of"))?;
    device.flush().map_err(failed(disk, "flush"))
}

/// ESPs whose content stays: they are not zeroed, so what firmware would start in them is hidden from it.
fn kept_esps(disk: &PlannedDisk) -> Vec<Extent> {
    let kept = disk.partitions.iter().filter(|partition| {
        let guid = partition.partition_type.as_ref();
        let guid = guid.and_then(PartitionType::guid);
        partition.keep_data && (partition.role == Role::Esp || guid == Some(ESP))
    });
    kept.map(|partition| partition.extent).collect()
}

/// Renames every EFI program in a filesystem that is kept: not only the fallback, because the firmware's own entries
/// may name any. What is no FAT has nothing that firmware could start.
fn hide_boot_files(
    device: &mut dyn BlockDevice,
    disk: &PlannedDisk,
    extent: Extent,
) -> Result<(), Error> {
    if !uefi::is_fat(device, extent).map_err(failed(disk, "read"))? {
        return Ok(());
    }
    let hidden = fat::set_aside(DiskRegion::new(device, extent), ".off", |path| {
        let path = path.to_ascii_lowercase();
        path.starts_with("efi/") && Path::new(&path).extension().is_some_and(|end| end == "efi")
    });
    hidden.map_err(|source| {
        let what = format!(
            "cannot hide the boot files of the kept EFI system partition of {}",
            disk.device
        );
        Error::new(Kind::Disk, what)
            .device(&disk.device)
            .because(source)
            .hint("check it with `fsck.vfat`, or do not keep it")
    })?;
    device.flush().map_err(failed(disk, "flush"))
}

/// The firmware's own list must not lead to what was here. An entry that leads nowhere is skipped by firmware, so
/// failing to remove it is worth a warning only.
fn forget_entries(context: &Context<'_>) {
    if let Err(source) = efi_boot_entry::forget(&context.host.variables) {
        let message =
            format!("cannot remove our old entry from the firmware's boot list: {source}");
        context.warn(Stage::Release, message);
    }
}

#[cfg(test)]
mod tests;
