//! Devices really opened: files that stand for disks, and loop devices, which need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

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
fn a_file_is_made_sparse_and_opened_by_the_name_of_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.add("sda", &path, Some(Bytes(100 << 30))).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.len(), meta.blocks()), (100 << 30, 0));
    for name in ["/dev/sda", "/dev/sdb", "sda"] {
        let opened = devices.open(Path::new(name), Access::Write);
        assert_eq!(opened.is_ok(), name == "/dev/sda", "{name}");
    }
    assert!(devices.is_file(Path::new("/dev/sda")));
}

#[test]
fn what_cannot_stand_for_a_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    let mut add = |name: &str, file: &Path, size: Option<u64>| {
        let added = devices.add(name, file, size.map(Bytes));
        added
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default()
    };
    assert!(add("sda", &path, None).contains("No such file"));
    assert!(add("sda", &path, Some(1000)).contains("whole number of 512 B sectors"));
    assert!(add("sda", &path, Some(0)).contains("whole number of 512 B sectors"));
    assert!(add("sda", folder.path(), None).contains("directory"));
    assert!(add("sda", Path::new("/dev/null"), None).contains("not a regular file"));
    assert_eq!(add("sda", &path, Some(1 << 20)), "");
    assert!(add("sdb", &path, Some(512)).contains("1 MiB long and would be truncated to 512 B"));
    assert!(add("/dev/sda", &path, None).contains("two disks `/dev/sda`"));
    assert!(add("sdb", &path, None).contains("already stands for `/dev/sda`"));
    // by other paths to the same file
    let (hard, soft) = (folder.path().join("hard"), folder.path().join("soft"));
    fs::hard_link(&path, &hard).unwrap();
    std::os::unix::fs::symlink(&path, &soft).unwrap();
    for other in [
        hard,
        soft,
        folder
            .path()
            .join("./../")
            .join(folder.path().file_name().unwrap())
            .join("disk"),
    ] {
        let error = add("sdb", &other, None);
        assert!(
            error.contains("already stands for `/dev/sda`"),
            "{} {error}",
            other.display()
        );
    }
}

#[test]
fn a_file_that_is_still_to_be_made_stands_for_one_disk_only() {
    let folder = tempfile::tempdir().unwrap();
    let size = Some(Bytes::MIB);
    let mut devices = FileDevices::new();
    devices
        .look_at("sda", &folder.path().join("new"), size)
        .unwrap();
    let error = devices
        .look_at("sdb", &folder.path().join("./new"), size)
        .unwrap_err();
    assert!(
        error.to_string().contains("already stands for `/dev/sda`"),
        "{error}"
    );
    devices
        .look_at("sdb", &folder.path().join("newer"), size)
        .unwrap();
}

#[test]
fn partitions_of_a_file_are_windows_onto_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices
        .add("nvme0n1", &path, Some(Bytes(64 << 20)))
        .unwrap();
    let disk = Path::new("/dev/nvme0n1");
    devices.add_partition(disk, 3, extent(10, 5)).unwrap();
    devices.add_partition(disk, 1, extent(1, 9)).unwrap();
    assert_eq!(
        devices.partitions(disk).unwrap(),
        [(1, extent(1, 9)), (3, extent(10, 5))]
    );

    let node = devices.partition(disk, 3).unwrap();
    assert_eq!(node, Path::new("/dev/nvme0n1p3"));
    let mut partition = devices.open(&node, Access::Exclusive).unwrap();
    assert_eq!(partition.size(), Bytes(5 << 20));
    partition.write_at(b"here", Bytes(100)).unwrap();
    partition.write_at(b"x", Bytes(5 << 20)).unwrap_err();
    partition.flush().unwrap();
    let mut found = [0; 4];
    File::open(&path)
        .unwrap()
        .read_exact_at(&mut found, (10 << 20) + 100)
        .unwrap();
    assert_eq!(&found, b"here");

    for (number, wrong) in [
        (3, extent(20, 1)),
        (4, extent(12, 1)),
        (4, extent(64, 1)),
        (4, extent(20, 0)),
        (0, extent(20, 1)),
    ] {
        devices.add_partition(disk, number, wrong).unwrap_err();
    }
    devices.add_partition(disk, 3, extent(10, 5)).unwrap();
    devices.remove_partition(disk, 3).unwrap();
    devices.remove_partition(disk, 3).unwrap();
    let error = devices.partition(disk, 3).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    devices.open(&node, Access::Read).map(|_| ()).unwrap_err();
}

#[test]
fn a_file_opened_past_the_page_cache_begins_at_the_partition() {
    // The target folder, because /tmp may be a tmpfs, which has no O_DIRECT on older kernels.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.add("sda", &path, Some(Bytes(64 << 20))).unwrap();
    let disk = Path::new("/dev/sda");
    devices.add_partition(disk, 1, extent(1, 9)).unwrap();
    let partition = devices.open(Path::new("/dev/sda1"), Access::Write).unwrap();
    match partition.direct().unwrap() {
        Some(direct) => {
            let buffer = [7; 2 * DirectWriter::ALIGNMENT];
            let aligned = &buffer[buffer.as_ptr().align_offset(DirectWriter::ALIGNMENT)..];
            let unit = &aligned[..DirectWriter::ALIGNMENT];
            direct.write_at(unit, Bytes::ZERO).unwrap();
            let mut written = [0; DirectWriter::ALIGNMENT];
            let file = File::open(&path).unwrap();
            file.read_exact_at(&mut written, 1 << 20).unwrap();
            assert_eq!(written, unit);
            // Bytes that lie anywhere are refused: it really is past the page cache.
            direct.write_at(b"x", Bytes::ZERO).unwrap_err();
            // The file goes on behind the partition.
            direct.write_at(unit, Bytes(9 << 20)).unwrap_err();
        }
        None => host::fake::skipped("no O_DIRECT here"),
    }
    let looked_at = devices.open(disk, Access::Read).unwrap();
    looked_at.direct().unwrap_err();
}

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

#[test]
fn a_file_has_the_partitions_of_its_table_and_looking_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.look_at("sda", &path, Some(Bytes(1 << 20))).unwrap();
    assert_eq!(devices.disks()[0].size, Bytes(1 << 20));
    assert!(!path.exists());
    devices.look_at("sdb", &path, None).unwrap_err();

    let mut sector = [0_u8; 512];
    sector[450] = 0x83;
    sector[454] = 8;
    sector[458] = 16;
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&path, [&sector[..], &vec![0; 1 << 20]].concat()).unwrap();
    let expected = Extent {
        start: Bytes(8 * 512),
        length: Bytes(16 * 512),
    };
    let sda = Path::new("/dev/sda");
    for look in [true, false] {
        let mut devices = FileDevices::new();
        if look {
            devices.look_at("sda", &path, None).unwrap();
        } else {
            devices.add("sda", &path, None).unwrap();
        }
        assert_eq!(devices.partitions(sda).unwrap(), [(1, expected)]);
        assert_eq!(
            devices.open(sda, Access::Read).unwrap().size().0,
            (1 << 20) + 512
        );
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
