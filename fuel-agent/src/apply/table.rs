//! Wiping signatures, writing partition tables, telling the kernel.

use std::path::{Path, PathBuf};

use host::blockdev::{Access, BlockDevice};
use host::settle;
use host::units::{Bytes, Extent};

use super::guid_table::GuidTable;
use super::{Context, Outcome};
use crate::error::{Error, Kind};
use crate::plan::PlannedPartition;
use crate::request::spec::Table;

/// How long another program may hold the lock that udev heeds.
const LOCK_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// How long a new partition's node may take to come, and to come again.
const NODE_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Zeroes extents of a disk, so that no old signature is found in them.
pub(super) fn wipe(
    context: &mut Context<'_>,
    disk: usize,
    extents: &[Extent],
) -> Result<Outcome, Error> {
    let name = PathBuf::from(&context.plan.disks[disk].device);
    let failed = |source| failed("wipe old signatures on", &name, source);
    let mut device = context
        .host
        .devices
        .open(&name, Access::Write)
        .map_err(failed)?;
    context.state.touched = true;
    for extent in extents {
        device.zero(*extent).map_err(failed)?;
    }
    device.flush().map_err(failed)?;
    Ok(Outcome::Changed)
}

/// Writes a disk's table, reads it back, and makes its partitions known one by one.
pub(super) fn write(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    let planned = &context.plan.disks[disk];
    let name = PathBuf::from(&planned.device);
    if planned.table == Table::Msdos {
        return Err(Error::new(
            Kind::Refused,
            format!("cannot write a DOS partition table on {}", name.display()),
        )
        .device(name.display())
        .hint("ask for `gpt`"));
    }
    // What was written to the disk before made udev have the old table read again: that must be over.
    udev_settles(context, disk)?;
    let locked = lock(context, disk, &name)?;
    replace(context, disk, &name)?;
    drop(locked);
    // Now udev may look, and have the kernel read the new table once more: the nodes go and come again meanwhile.
    udev_settles(context, disk)?;
    for partition in &context.plan.disks[disk].partitions {
        there(context, &name, partition)?;
    }
    Ok(Outcome::Changed)
}

/// The change itself: nobody else looks at the disk while it goes on.
fn replace(context: &mut Context<'_>, disk: usize, name: &Path) -> Result<(), Error> {
    let planned = &context.plan.disks[disk];
    let failed = |source| failed("write the partition table of", name, source);
    let devices = &mut context.host.devices;
    for (number, _) in devices.partitions(name).map_err(failed)? {
        devices.remove_partition(name, number).map_err(failed)?;
    }
    let mut table = GuidTable::of(planned).map_err(failed)?;
    let mut device = devices.open(name, Access::Write).map_err(failed)?;
    context.state.touched = true;
    put(device.as_mut(), &mut table).map_err(failed)?;
    drop(device);
    for partition in &planned.partitions {
        devices
            .add_partition(name, partition.number, partition.extent)
            .map_err(|source| {
                let what = format!(
                    "cannot make partition {} of {} known to the kernel",
                    partition.number,
                    name.display()
                );
                Error::new(Kind::Disk, what)
                    .device(name.display())
                    .because(source)
            })?;
    }
    Ok(())
}

/// Waits until a partition's node is there and as long as planned.
fn there(context: &Context<'_>, name: &Path, partition: &PlannedPartition) -> Result<(), Error> {
    let found = settle::until(NODE_LIMIT, || {
        let node = context.host.devices.partition(name, partition.number);
        let device = node.and_then(|node| context.host.devices.open(&node, Access::Read));
        Ok(device
            .ok()
            .filter(|device| device.size() == partition.extent.length)
            .map(drop))
    });
    found.map_err(|source| {
        let what = format!(
            "partition {} of {} did not appear",
            partition.number,
            name.display()
        );
        Error::new(Kind::Disk, what)
            .device(name.display())
            .because(source)
    })
}

/// The lock that keeps udev from looking at a table that is being written. A file needs none.
fn lock(
    context: &Context<'_>,
    disk: usize,
    name: &Path,
) -> Result<Option<host::lock::DiskLock>, Error> {
    if context.is_file(disk) {
        return Ok(None);
    }
    host::lock::disk_lock(name, LOCK_LIMIT)
        .map(Some)
        .map_err(|source| {
            let what = format!("cannot lock {} for a change of its table", name.display());
            Error::new(Kind::Refused, what)
                .device(name.display())
                .because(source)
                .retryable()
        })
}

/// Writes the pieces in their order, each on the medium before the next, and compares what can be read then.
fn put(device: &mut dyn BlockDevice, table: &mut GuidTable) -> std::io::Result<()> {
    let mut boot_code = [0; 440];
    device.read_at(&mut boot_code, Bytes::ZERO)?;
    let pieces = table.pieces(&boot_code);
    for piece in &pieces {
        device.write_at(piece.bytes, piece.at)?;
        device.flush()?;
    }
    for piece in &pieces {
        let mut found = vec![0; piece.bytes.len()];
        device.read_at(&mut found, piece.at)?;
        if found != piece.bytes {
            return Err(std::io::Error::other(format!(
                "what was written at byte {} is not there",
                piece.at.0
            )));
        }
    }
    Ok(())
}

/// Waits until udev has seen the new partitions: their links and LVM's view of them come from it.
pub(super) fn udev_settles(context: &mut Context<'_>, disk: usize) -> Result<(), Error> {
    if context.is_file(disk) {
        return Ok(());
    }
    settle::udev_settle(context.host.exec.as_mut())
        .map_err(|source| Error::new(Kind::Tool, "cannot wait for udev").because(source))
}

/// An error about a disk.
pub(super) fn failed(doing: &str, name: &Path, source: std::io::Error) -> Error {
    Error::new(Kind::Disk, format!("cannot {doing} {}", name.display()))
        .device(name.display())
        .because(source)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use host::blockdev::Devices;
    use host::fake::{FakeDevices, Fault};

    fn written(devices: &FakeDevices) -> std::io::Result<()> {
        let plan = sample::plan();
        let mut device = devices.open(Path::new("/dev/sda"), Access::Write)?;
        put(device.as_mut(), &mut GuidTable::of(&plan.disks[0])?)
    }

    fn devices() -> FakeDevices {
        FakeDevices::new().with("/dev/sda", sample::plan().disks[0].size)
    }

    #[test]
    fn the_boot_code_that_is_there_stays() {
        let devices = devices();
        devices.put("/dev/sda", Bytes::ZERO, &[0xcd, 0x18]).unwrap();
        written(&devices).unwrap();
        let sector = devices
            .content(
                "/dev/sda",
                Extent {
                    start: Bytes::ZERO,
                    length: Bytes(512),
                },
            )
            .unwrap();
        assert_eq!(sector[..3], [0xcd, 0x18, 0]);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(sector[450], 0xee, "the protective entry");
    }

    #[test]
    fn what_is_written_is_what_the_kernel_reads() {
        let (devices, plan) = (devices(), sample::plan());
        written(&devices).unwrap();
        let device = devices.open(Path::new("/dev/sda"), Access::Read).unwrap();
        let found = host::table::read(device.as_ref()).unwrap().unwrap();
        let found: Vec<(u32, Extent)> = found
            .partitions
            .iter()
            .map(|p| (p.number, p.extent))
            .collect();
        let planned: Vec<(u32, Extent)> = plan.disks[0]
            .partitions
            .iter()
            .map(|p| (p.number, p.extent))
            .collect();
        assert_eq!(found, planned);
    }

    #[test]
    fn no_write_or_flush_may_fail_unnoticed() {
        for n in 0..4 {
            assert!(
                written(&devices().failing(Fault::Write(n))).is_err(),
                "write {n}"
            );
            assert!(
                written(&devices().failing(Fault::Flush(n))).is_err(),
                "flush {n}"
            );
        }
    }

    #[test]
    fn a_partition_that_no_table_can_hold_is_refused() {
        let plan = sample::plan();
        let mut beyond = plan.disks[0].clone();
        beyond.partitions[0].extent.length = beyond.size;
        let mut twice = plan.disks[0].clone();
        twice.partitions[1].number = twice.partitions[0].number;
        let mut early = plan.disks[0].clone();
        early.partitions[0].extent.start = Bytes(512);
        for disk in [beyond, twice, early] {
            assert!(GuidTable::of(&disk).is_err());
        }
    }
}
