//! Devices really opened: files that stand for disks, and loop devices, which need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod files;
mod nodes;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use host::blockdev::{Access, Devices, DirectWriter, DiskChanged, FileDevices, NodeDevices};
use host::ioctl::block;
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::units::{Bytes, Extent};

fn extent(start_mib: u64, length_mib: u64) -> Extent {
    Extent {
        start: Bytes::mib(start_mib).unwrap(),
        length: Bytes::mib(length_mib).unwrap(),
    }
}

/// A loop device of 64 MiB; `None`, after printing that the test is skipped, where there are no loop devices.
fn loop_device(options: LoopOptions) -> Option<LoopDevice> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(64 << 20).unwrap();
    match LoopDevice::attach(&file, options) {
        Ok(device) => Some(device),
        Err(error) => {
            host::fake::skipped(format_args!("no loop device: {error}"));
            None
        }
    }
}

#[test]
fn a_link_means_the_disk_that_it_points_to() {
    let Some(device) = loop_device(LoopOptions::default()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("by-id");
    std::os::unix::fs::symlink(device.path(), &link).unwrap();
    let mut devices = NodeDevices::new();
    devices.add_partition(&link, 2, extent(1, 1)).unwrap();
    let expected = devices.partition(device.path(), 2).unwrap();
    assert_eq!(devices.partition(&link, 2).unwrap(), expected);
}

/// Two disks of one number, size and count, as a firmware of a controller may present them: the kernel shows another serial
/// number in a sysfs of the test's own.
#[test]
fn a_disk_whose_serial_number_is_another_one_now_is_refused() {
    let Some(chosen) = loop_device(LoopOptions::default()) else {
        return;
    };
    let mut real = NodeDevices::new();
    real.add_partition(chosen.path(), 1, extent(1, 8)).unwrap();
    let partition = real.partition(chosen.path(), 1).unwrap();
    let root = tempfile::tempdir().unwrap();
    let (sys, block) = (root.path().join("sys"), root.path().join("sys/dev/block"));
    let disk = root.path().join("sys/devices/sda");
    fs::create_dir_all(disk.join("device")).unwrap();
    fs::create_dir_all(disk.join("sda1")).unwrap();
    fs::create_dir_all(&block).unwrap();
    let number = |path: &Path| {
        let device = fs::metadata(path).unwrap().rdev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        format!("{major}:{minor}")
    };
    let (whole, part) = (number(chosen.path()), number(&partition));
    std::os::unix::fs::symlink(&disk, block.join(&whole)).unwrap();
    std::os::unix::fs::symlink(disk.join("sda1"), block.join(part)).unwrap();
    fs::write(disk.join("dev"), format!("{whole}\n")).unwrap();
    fs::write(disk.join("sda1/partition"), "1\n").unwrap();

    let changed = |result: io::Result<()>| result.is_err_and(|error| DiskChanged::is(&error));
    for file in [
        "serial",
        "device/serial",
        "device/vpd_pg80",
        "wwid",
        "device/wwid",
    ] {
        let mut devices = NodeDevices::below(&sys, "/dev");
        let opened = |devices: &NodeDevices, access| {
            let paths = [chosen.path(), partition.as_path()];
            paths.map(|path| devices.open(path, access).map(drop))
        };
        for (held, now, is_same) in [
            (None, None, true),
            (Some("A"), Some("A"), true),
            (Some("A"), Some("B"), false),
            (Some("A"), None, false),
            (None, Some("B"), false),
        ] {
            let show = |serial: Option<&str>| match serial {
                Some(serial) => fs::write(disk.join(file), serial).unwrap(),
                None => drop(fs::remove_file(disk.join(file))),
            };
            show(held);
            devices.hold(chosen.path()).unwrap();
            show(now);
            for access in [Access::Write, Access::Exclusive] {
                let found = opened(&devices, access).map(|it| it.map_err(|e| e.to_string()));
                let refused = opened(&devices, access).map(changed);
                assert_eq!(refused, [!is_same; 2], "{file} {held:?} {now:?} {found:?}");
            }
            show(None);
        }
    }
}

/// A folder of device paths of our own, in which a name can be given to another disk.
#[test]
fn a_name_that_was_given_to_another_disk_is_refused_and_so_is_a_disk_that_is_not_held() {
    let pair = [LoopOptions::default(), LoopOptions::default()].map(loop_device);
    let [Some(chosen), Some(other)] = pair else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sdb");
    let rename = |device: &LoopDevice| {
        let new = folder.path().join("new");
        std::os::unix::fs::symlink(device.path(), &new).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let changed = |result: io::Result<()>| result.is_err_and(|error| DiskChanged::is(&error));
    let mut devices = NodeDevices::new();
    rename(&chosen);
    devices.add_partition(&path, 1, extent(1, 8)).unwrap();
    // Nothing is held: any disk will do.
    devices.open(other.path(), Access::Write).unwrap();
    devices.hold(&path).unwrap();
    devices.hold(&path).unwrap();

    for access in [Access::Read, Access::Write, Access::Exclusive] {
        devices.open(&path, access).unwrap();
    }
    let partition = devices.partition(&path, 1).unwrap();
    devices.open(&partition, Access::Exclusive).unwrap();
    devices.open(chosen.path(), Access::Write).unwrap();
    devices.open(other.path(), Access::Read).unwrap();
    let written = devices.open(other.path(), Access::Write).map(drop);
    assert!(changed(written), "a disk that is not held");

    rename(&other);
    for access in [Access::Read, Access::Write, Access::Exclusive] {
        assert!(changed(devices.open(&path, access).map(drop)), "{access:?}");
    }
    assert!(changed(devices.partition(&path, 1).map(drop)));
    assert!(changed(devices.add_partition(&path, 2, extent(10, 8))));
    assert!(changed(devices.remove_partition(&path, 1)));
    assert!(changed(devices.read_table(&path)));
    assert!(devices.partitions(other.path()).unwrap().is_empty());

    rename(&chosen);
    devices.open(&path, Access::Exclusive).unwrap();
    devices.remove_partition(&path, 1).unwrap();
}
