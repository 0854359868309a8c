//! Partition tables beside those that sgdisk makes: the same bytes.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::path::Path;
use std::process::Command;

use host::blockdev::{Access, BlockDevice, Devices, FileDevices, NodeDevices};
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::partition_table::gpt::{ESP, Gpt, GptPartition, LEGACY_BOOT};
use host::partition_table::{self, FoundTable};
use host::units::{Bytes, Extent};
use uuid::{Uuid, uuid};

const SIZE: Bytes = Bytes(64 << 20);
const DISK: Uuid = uuid!("8e1c0b5e-3f1b-4d2a-9a0c-5b7d8f6e4c21");
const BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
const LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// As an image of Ubuntu has them: the numbers do not follow each other.
fn partitions() -> Vec<GptPartition> {
    let partition =
        |number: u32, start: u64, size: u64, type_guid: Uuid, name: &str| GptPartition {
            number,
            extent: Extent::new(Bytes(start << 20), Bytes(size << 20)).unwrap(),
            type_guid,
            guid: Uuid::from_u128(0xe5d0_1000_0000_4000_8000_0000_0000_0000 + u128::from(number)),
            attributes: 0,
            name: name.to_owned(),
        };
    let mut all = vec![
        partition(14, 1, 4, BIOS_BOOT, ""),
        partition(15, 5, 8, ESP, "EFI system"),
        partition(1, 13, 40, LINUX, "böot und grün, 36 Zeichen lang, ja!!"),
    ];
    all[2].attributes = LEGACY_BOOT;
    all
}

/// Arguments with which sgdisk makes the same partitions.
fn arguments(sector: u64) -> Vec<String> {
    let mut arguments = vec!["--clear".to_owned(), format!("--disk-guid={DISK}")];
    for GptPartition {
        number,
        extent,
        type_guid,
        guid,
        attributes,
        name,
    } in partitions()
    {
        let (first, last) = (extent.start.0 / sector, extent.end().0 / sector - 1);
        arguments.extend([
            format!("--new={number}:{first}:{last}"),
            format!("--typecode={number}:{type_guid}"),
            format!("--partition-guid={number}:{guid}"),
            format!("--change-name={number}:{name}"),
        ]);
        if attributes == LEGACY_BOOT {
            arguments.push(format!("--attributes={number}:set:2"));
        }
    }
    arguments
}

/// Runs sgdisk on `disk`; `false`, after printing that the test is skipped, where it is not installed.
#[expect(
    clippy::disallowed_methods,
    reason = "a test compares with another program"
)]
fn sgdisk(disk: &Path, arguments: &[String]) -> bool {
    let path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";
    let mut command = Command::new("sgdisk");
    match command.args(arguments).arg(disk).env("PATH", path).output() {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            true
        }
        Err(error) => {
            host::fake::skipped(format_args!("no sgdisk: {error}"));
            false
        }
    }
}

/// Everything that a table consists of: both ends of the disk, without its boot code, and without the end of the
/// protective entry in cylinders, heads and sectors: sgdisk computes it for a small disk, `Gpt` writes the maximum.
fn ends(disk: &dyn BlockDevice) -> [Vec<u8>; 2] {
    let sector = disk.sector_size().0;
    let tail = 128 * 128 + sector;
    let read = |start: u64, end: u64| {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        disk.read_at(&mut bytes, Bytes(start)).unwrap();
        bytes
    };
    let size = disk.size().0;
    let mut head = read(440, sector + tail);
    head[451 - 440..454 - 440].fill(0);
    [head, read(size - tail, size)]
}

/// sgdisk's table is that of [`Gpt::new`], byte by byte, and is found; then `Gpt` writes its own, and sgdisk is
/// content.
fn compare(devices: &dyn Devices, disk: &Path, file: &Path, sector: u64) {
    if !sgdisk(file, &arguments(sector)) {
        return;
    }
    let table = Gpt::new(DISK, &partitions(), SIZE, Bytes(sector)).unwrap();
    let mut device = devices.open(disk, Access::Write).unwrap();
    let theirs = ends(device.as_ref());
    let found = partition_table::read(device.as_ref()).unwrap();
    device
        .zero(Extent::new(Bytes::ZERO, Bytes(1 << 20)).unwrap())
        .unwrap();
    table.write(device.as_mut()).unwrap();
    table.compare(device.as_ref()).unwrap();
    assert!(ends(device.as_ref()) == theirs, "sectors of {sector}");
    assert_eq!(partition_table::read(device.as_ref()).unwrap(), found);
    drop(device);
    sgdisk(file, &["--verify".to_owned()]);
    let numbers = |table: &FoundTable| {
        let partitions = table.partitions.iter();
        partitions
            .map(|partition| (partition.number, partition.extent))
            .collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = partitions()
        .iter()
        .map(|partition| (partition.number, partition.extent))
        .collect();
    expected.sort_by_key(|(number, _)| *number);
    assert_eq!(found.as_ref().map(numbers), Some(expected));
}

#[test]
fn our_tables_are_those_of_sgdisk_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.add("sda", &file, Some(SIZE)).unwrap();
    compare(&devices, Path::new("/dev/sda"), &file, 512);
}

#[test]
fn our_tables_are_those_of_sgdisk_whatever_the_sectors_of_the_disk() {
    for sector in [512, 4096] {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE.0).unwrap();
        let options = LoopOptions {
            sector_size: Bytes(sector),
            ..LoopOptions::default()
        };
        match LoopDevice::attach(&file, options) {
            Ok(device) => compare(&NodeDevices::new(), device.path(), device.path(), sector),
            Err(error) => host::fake::skipped(format_args!("no loop device: {error}")),
        }
    }
}
