//! Device nodes: loop devices, which need root.

use super::*;

#[test]
fn a_node_is_opened_with_its_size_and_sectors() {
    for sector in [512, 4096] {
        let options = LoopOptions {
            sector_size: Bytes(sector),
            ..LoopOptions::default()
        };
        let Some(device) = loop_device(options) else {
            return;
        };
        let devices = NodeDevices::new();
        let mut disk = devices.open(device.path(), Access::Exclusive).unwrap();
        assert_eq!(
            (disk.size(), disk.sector_size(), disk.read_only()),
            (Bytes(64 << 20), Bytes(sector), false)
        );
        disk.write_at(b"somewhere", Bytes(1_000_001)).unwrap();
        disk.zero(Extent {
            start: Bytes(1_000_003),
            length: Bytes(2_000_000),
        })
        .unwrap();
        disk.flush().unwrap();
        let mut found = [0xaa; 9];
        disk.read_at(&mut found, Bytes(1_000_001)).unwrap();
        assert_eq!(&found, b"so\0\0\0\0\0\0\0");
        assert!(disk.direct().unwrap().is_some());
        let error = devices
            .open(device.path(), Access::Exclusive)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EBUSY));
    }
}

#[test]
fn a_node_that_is_read_only_says_so() {
    let options = LoopOptions {
        read_only: true,
        ..LoopOptions::default()
    };
    let Some(device) = loop_device(options) else {
        return;
    };
    let devices = NodeDevices::new();
    assert!(
        devices
            .open(device.path(), Access::Read)
            .unwrap()
            .read_only()
    );
    devices
        .open(device.path(), Access::Write)
        .map(|_| ())
        .unwrap_err();
}

#[test]
fn what_is_no_block_device_is_not_opened() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = NodeDevices::new()
        .open(file.path(), Access::Write)
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.to_string().ends_with("is not a block device"),
        "{error}"
    );
}

#[test]
fn the_kernel_is_told_of_partitions_one_by_one() {
    let Some(device) = loop_device(LoopOptions::default()) else {
        return;
    };
    let mut devices = NodeDevices::new();
    let disk = device.path();
    devices.add_partition(disk, 1, extent(1, 9)).unwrap();
    devices.add_partition(disk, 5, extent(10, 5)).unwrap();
    devices.add_partition(disk, 5, extent(10, 5)).unwrap();
    let other = devices.add_partition(disk, 5, extent(20, 5)).unwrap_err();
    assert_eq!(other.kind(), io::ErrorKind::AlreadyExists);
    let overlap = devices.add_partition(disk, 6, extent(12, 5)).unwrap_err();
    assert_eq!(overlap.raw_os_error(), Some(nix::libc::EBUSY));
    assert_eq!(
        devices.partitions(disk).unwrap(),
        [(1, extent(1, 9)), (5, extent(10, 5))]
    );

    let node = devices.partition(disk, 5).unwrap();
    let mut partition = devices.open(&node, Access::Exclusive).unwrap();
    assert_eq!(partition.size(), Bytes(5 << 20));
    partition.write_at(b"here", Bytes(0)).unwrap();
    partition.flush().unwrap();
    drop(partition);
    let whole = devices.open(disk, Access::Read).unwrap();
    let mut found = [0; 4];
    whole.read_at(&mut found, Bytes(10 << 20)).unwrap();
    assert_eq!(&found, b"here");

    devices.remove_partition(disk, 5).unwrap();
    devices.remove_partition(disk, 5).unwrap();
    let gone = devices.partition(disk, 5).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    assert!(!node.exists());
}

#[test]
fn a_partition_grows_and_the_cache_is_dropped() {
    let Some(device) = loop_device(LoopOptions::default()) else {
        return;
    };
    let mut devices = NodeDevices::new();
    devices
        .add_partition(device.path(), 1, extent(1, 9))
        .unwrap();
    let disk = File::open(device.path()).unwrap();
    block::resize_partition(&disk, 1, extent(1, 20)).unwrap();
    block::flush_buffers(&disk).unwrap();
    assert_eq!(
        devices.partitions(device.path()).unwrap(),
        [(1, extent(1, 20))]
    );
    assert!(block::physical_sector_size(&disk).unwrap() >= block::sector_size(&disk).unwrap());
}

#[test]
fn partitions_are_read_from_sysfs_whatever_their_nodes_are_called() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("sys/class/block/cciss!c0d0");
    for (name, number, start, size) in [
        ("cciss!c0d0p2", 2, 4096, 8),
        ("cciss!c0d0p1", 1, 2048, 2048),
    ] {
        let partition = folder.join(name);
        fs::create_dir_all(&partition).unwrap();
        for (file, value) in [("partition", number), ("start", start), ("size", size)] {
            fs::write(partition.join(file), format!("{value}\n")).unwrap();
        }
        fs::write(
            partition.join("uevent"),
            format!("MAJOR=104\nDEVNAME=cciss/c0d0p{number}\n"),
        )
        .unwrap();
    }
    fs::create_dir(folder.join("queue")).unwrap();
    let dev = root.path().join("dev");
    let devices = NodeDevices::below(root.path().join("sys"), &dev);
    let disk = dev.join("cciss/c0d0");
    let found = devices.partitions(&disk).unwrap();
    assert_eq!(
        found,
        [
            (
                1,
                Extent {
                    start: Bytes(1 << 20),
                    length: Bytes(1 << 20)
                }
            ),
            (
                2,
                Extent {
                    start: Bytes(2 << 20),
                    length: Bytes(4096)
                }
            ),
        ]
    );
    assert_eq!(
        devices.partition(&disk, 2).unwrap(),
        dev.join("cciss/c0d0p2")
    );
    devices.partitions(&dev.join("sdz")).unwrap_err();
}

#[test]
fn what_a_node_is_put_together_of_is_read_from_sysfs() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("sys/class/block");
    for (member, name) in [("sda4", "sda4"), ("cciss!c0d0p4", "cciss/c0d0p4")] {
        let slave = folder.join("md0/slaves").join(member);
        fs::create_dir_all(&slave).unwrap();
        fs::write(slave.join("uevent"), format!("DEVNAME={name}\n")).unwrap();
    }
    fs::create_dir_all(folder.join("sda4")).unwrap();
    let dev = root.path().join("dev");
    let devices = NodeDevices::below(root.path().join("sys"), &dev);
    assert_eq!(
        devices.slaves(&dev.join("md0")).unwrap(),
        [dev.join("cciss/c0d0p4"), dev.join("sda4")]
    );
    assert!(devices.slaves(&dev.join("sda4")).unwrap().is_empty());
    devices.slaves(&dev.join("md1")).unwrap_err();
}
