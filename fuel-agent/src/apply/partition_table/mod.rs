//! Wiping signatures, writing partition tables, registering partitions with the kernel.

use std::io;
use std::time::Duration;

use host::blockdev::{Access, BlockDevice};
use host::partition_table::gpt::{Gpt, GptError};
use host::partition_table::mbr::BOOT_CODE;
use host::units::{Bytes, Extent};
use host::wait;

use super::context::{Context, NODE_PATIENCE, disk_error, is_not_there};
use super::gpt::{self, TableError};
use super::outcome::Outcome;
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::plan::PlannedDisk;
use crate::model::stage::Stage;
use crate::model::storage::Table;

/// How long udev may keep a disk open whose table is to be changed.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn wipe(
    context: &mut Context<'_>,
    disk: DiskIndex,
    extents: &[Extent],
) -> Result<Outcome, Error> {
    let path = context.disk(disk);
    let mut device = context.open(path, Access::Write, "open for wiping")?;
    let failed = |source| {
        let what = format!("cannot wipe old signatures from {}", path.display());
        disk_error(what, path)(source)
    };
    check_size(device.as_ref(), &context.plan[disk])?;
    context.state.touched = true;
    for extent in extents {
        if let Some(extent) = without_boot_code(*extent) {
            device.zero(extent).map_err(failed)?;
        }
    }
    device.flush().map_err(failed)?;
    drop(device);
    // Where partitions are kept, the next step needs them.
    if context.plan.keeps_partitions {
        await_partitions(context, disk)?;
    }
    Ok(Outcome::Changed)
}

/// The stub that disarming put there stays: firmware that boots a disk of zeros with a valid signature hangs.
fn without_boot_code(extent: Extent) -> Option<Extent> {
    let start = extent.start.max(BOOT_CODE);
    let length = extent.end().checked_sub(start)?;
    (length > Bytes::ZERO).then_some(Extent { start, length })
}

pub(super) fn write(context: &mut Context<'_>, disk: DiskIndex) -> Result<Outcome, Error> {
    let planned = &context.plan[disk];
    if planned.table == Table::Msdos {
        let what = format!(
            "{} is to get an msdos partition table, and only GPT is made",
            planned.device
        );
        return Err(Error::new(Kind::Request, what)
            .device(&planned.device)
            .hint("ask for `gpt`; BIOS nodes boot from it too"));
    }
    let path = context.disk(disk).to_owned();
    // Closing a disk that was open for writing makes udev have the kernel read the old table again: that must be over.
    udev_settles(context, disk)?;
    // Until it is dropped udev keeps away: it neither probes the disk nor has the kernel read a table half written.
    let lock = context.host.devices.lock(&path, LOCK_PATIENCE);
    let lock = lock.map_err(|source| {
        let what = format!("cannot lock {} to change its table", path.display());
        Error::new(Kind::Disk, what)
            .device(path.display())
            .because(source)
            .hint("`lsof` on it shows who holds it")
    })?;
    forget(context, disk)?;
    put(context, disk)?;
    tell(context, disk)?;
    drop(lock);
    await_partitions(context, disk)?;
    Ok(Outcome::Changed)
}

/// Makes the kernel forget the old partitions.
fn forget(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    let path = context.disk(disk).to_owned();
    let failed = |source: io::Error| {
        let what = format!("cannot take the old partitions of {} away", path.display());
        disk_error(what, &path)(source).hint("`lsblk` and `cat /proc/mdstat` show what holds them")
    };
    let devices = &mut context.host.devices;
    for (number, _) in devices.partitions(&path).map_err(failed)? {
        devices.remove_partition(&path, number).map_err(failed)?;
    }
    Ok(())
}

/// Writes the table and compares what is read back.
fn put(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    let planned = &context.plan[disk];
    let path = context.disk(disk);
    let mut device = context.open(path, Access::Write, "open for writing its partition table")?;
    let table = of_plan(planned, device.as_ref())?;
    context.state.touched = true;
    let written = table.write(device.as_mut());
    let written = written.and_then(|()| device.drop_cache().map_err(GptError::from));
    let written = written.and_then(|()| table.compare(device.as_ref()));
    written.map_err(|source| failed("write", planned, source.into()))
}

/// The table of the plan for the disk as it really is.
pub(super) fn of_plan(planned: &PlannedDisk, device: &dyn BlockDevice) -> Result<Gpt, Error> {
    check_size(device, planned)?;
    gpt::of(planned, device.size(), device.sector_size())
        .map_err(|source| failed("make", planned, source))
}

/// A disk that is not the one that was planned for is not written to.
fn check_size(device: &dyn BlockDevice, planned: &PlannedDisk) -> Result<(), Error> {
    let (size, sector) = (device.size(), device.sector_size());
    if size == planned.size && sector == planned.sector_size {
        return Ok(());
    }
    let what = format!(
        "{} is {size} with sectors of {sector} now; it was {} with sectors of {} when this was planned",
        planned.device, planned.size, planned.sector_size
    );
    Err(Error::new(Kind::Hardware, what)
        .device(&planned.device)
        .hint("see what became of the disk, then run again")
        .retryable())
}

pub(super) fn failed(doing: &str, planned: &PlannedDisk, source: TableError) -> Error {
    let kind = match source {
        TableError::Gpt(GptError::Io(_) | GptError::Differs { .. }) => Kind::Disk,
        TableError::Type { .. } | TableError::Gpt(GptError::Name(_)) => Kind::Request,
        // The plan's own checks let nothing else through.
        TableError::Gpt(_) => Kind::Internal,
    };
    let what = format!("cannot {doing} the partition table of {}", planned.device);
    Error::new(kind, what)
        .device(&planned.device)
        .because(source)
}

/// Registers each partition with the kernel: it may have no parser for GPT, and reading the table again would make it
/// drop partitions that are in use elsewhere on the disk.
fn tell(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    let path = context.disk(disk).to_owned();
    for partition in &context.plan[disk].partitions {
        let (number, extent) = (partition.number, partition.extent);
        let added = context.host.devices.add_partition(&path, number, extent);
        added.map_err(|source| {
            let what = format!(
                "cannot tell the kernel of partition {number} of {}",
                path.display()
            );
            disk_error(what, &path)(source)
        })?;
    }
    Ok(())
}

/// Has the kernel read the table that an image has brought. What was written is right all the same: where the kernel
/// does not, that is worth a warning.
pub(super) fn read(context: &mut Context<'_>, disk: DiskIndex) -> Outcome {
    let path = context.disk(disk);
    if let Err(error) = context.host.devices.read_table(path) {
        let node = path.display();
        let message = format!("the kernel did not read the new partition table of {node}: {error}");
        context.warn(Stage::Image, message);
    }
    Outcome::Changed
}

fn udev_settles(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    if context.is_file(disk) {
        return Ok(());
    }
    context.settle()
}

/// Once the lock is gone udev probes the disk, and may have the table read again, which removes all nodes for a moment.
/// The next step must find them.
fn await_partitions(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    udev_settles(context, disk)?;
    let path = context.disk(disk);
    for partition in &context.plan[disk].partitions {
        let (number, length) = (partition.number, partition.extent.length);
        let devices = &context.host.devices;
        let found = wait::until_or_cancelled(NODE_PATIENCE, &context.host.cancel, || {
            let opened = devices
                .partition(path, number)
                .and_then(|node| devices.open(&node, Access::Read));
            match opened {
                Ok(device) => Ok((device.size() == length).then_some(())),
                Err(error) if is_not_there(&error) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let what = format!("partition {number} of {} does not appear", path.display());
        found.map_err(disk_error(what, path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
