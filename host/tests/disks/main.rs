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
