use super::*;
use crate::blockdev::{Access, BlockDevice, Devices};
use crate::fake::{FakeDevices, Fault, What};
use crate::partition_table::gpt::{ESP, LEGACY_BOOT};
use proptest::prelude::*;
use uuid::uuid;

const SIZE: Bytes = Bytes(2 << 30);
const DISK: Uuid = Uuid::from_u128(1);
const BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
const LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// As an image of Ubuntu has them: the numbers do not follow each other, nor the places.
fn planned() -> Vec<GptPartition> {
    let partition = |number: u32, start: u64, size: u64, type_guid: Uuid| GptPartition {
        number,
        extent: Extent::new(Bytes(start << 20), Bytes(size << 20)).unwrap(),
        type_guid,
        guid: Uuid::from_u128((0xe5d0_1000 + u128::from(number)) << 96),
        attributes: 0,
        name: String::new(),
    };
    let mut partitions = vec![
        partition(14, 1, 24, BIOS_BOOT),
        partition(15, 25, 200, ESP),
        partition(1, 225, 200, LINUX),
        partition(2, 425, 1500, LINUX),
        partition(5, 1925, 20, LINUX),
    ];
    partitions[2].name = "böot".to_owned();
    partitions[2].attributes = LEGACY_BOOT;
    partitions
}

fn table(sector: u64) -> Gpt {
    Gpt::new(DISK, &planned(), SIZE, Bytes(sector)).unwrap()
}

fn open(disks: &FakeDevices) -> Box<dyn BlockDevice> {
    disks.open("/dev/sda".as_ref(), Access::Write).unwrap()
}

fn disks(sector: u64) -> FakeDevices {
    FakeDevices::new().with_sectors("/dev/sda", SIZE, Bytes(sector))
}

#[test]
fn what_is_written_compares_and_boot_code_stays() {
    for sector in [512, 4096] {
        let disks = disks(sector);
        disks.put("/dev/sda", Bytes::ZERO, &[0xeb; 512]).unwrap();
        let table = table(sector);
        assert!(table.compare(open(&disks).as_ref()).is_err());
        table.write(open(&disks).as_mut()).unwrap();
        table.compare(open(&disks).as_ref()).unwrap();
        let first = Extent::new(Bytes::ZERO, Bytes(512)).unwrap();
        let first = disks.content("/dev/sda", first).unwrap();
        assert_eq!(first[..440], [0xeb; 440]);
        assert_eq!((first[450], &first[510..]), (0xee, &[0x55, 0xaa][..]));
    }
}

#[test]
fn the_backup_is_on_the_medium_before_the_primary_is_touched() {
    let disks = disks(512);
    let table = table(512);
    table.write(open(&disks).as_mut()).unwrap();
    insta::assert_snapshot!(disks.transcript(), @"
    open /dev/sda Write
    write /dev/sda 16 KiB at 2147466752 B
    write /dev/sda 512 B at 2147483136 B
    flush /dev/sda
    write /dev/sda 16 KiB at 1 KiB
    flush /dev/sda
    write /dev/sda 512 B at 512 B
    flush /dev/sda
    write /dev/sda 512 B at 0 B
    flush /dev/sda
    ");
}

#[test]
fn every_damaged_byte_is_seen() {
    let table = table(512);
    let end = SIZE.0;
    for (at, part) in [
        (450, "protective MBR"),
        (512 + 20, "primary header"),
        (1024 + 13 * 128, "primary array of entries"),
        (1024 + 127 * 128, "primary array of entries"),
        (end - 33 * 512, "backup array of entries"),
        (end - 512 + 16, "backup header"),
    ] {
        let disks = disks(512);
        table.write(open(&disks).as_mut()).unwrap();
        let place = Extent::new(Bytes(at), Bytes(1)).unwrap();
        let byte = disks.content("/dev/sda", place).unwrap()[0];
        disks.put("/dev/sda", Bytes(at), &[byte ^ 1]).unwrap();
        let error = table.compare(open(&disks).as_ref()).unwrap_err();
        assert!(error.to_string().contains(part), "{at}: {error}");
    }
}

#[test]
fn every_failure_is_an_error() {
    let table = table(512);
    let clean = disks(512);
    table.write(open(&clean).as_mut()).unwrap();
    let log = clean.log();
    let count = |sort: fn(&What) -> bool| log.iter().filter(|done| sort(&done.what)).count();
    let writes = count(|what| matches!(what, What::Write(_)));
    let flushes = count(|what| matches!(what, What::Flush));
    assert_eq!((writes, flushes), (5, 4));
    let faults = (0..writes)
        .flat_map(|n| [Fault::Write(n), Fault::HalfWrite(n)])
        .chain((0..flushes).map(Fault::Flush))
        .chain([Fault::ReadAt(Bytes::ZERO)]);
    for fault in faults {
        let disks = disks(512).failing(fault);
        assert!(table.write(open(&disks).as_mut()).is_err(), "{fault:?}");
    }
}

fn refused(change: impl FnOnce(&mut Vec<GptPartition>)) -> String {
    let mut partitions = planned();
    change(&mut partitions);
    Gpt::new(DISK, &partitions, SIZE, Bytes(512))
        .unwrap_err()
        .to_string()
}

#[test]
fn partitions_that_cannot_be_in_a_table_are_refused() {
    let twice = refused(|all| all[1].number = 14);
    assert!(twice.contains("partition number 14"), "{twice}");
    assert!(refused(|all| all[1].number = 0).contains("number 0"));
    assert!(refused(|all| all[1].number = 129).contains("number 129"));
    let place = |start: u64, length: u64| {
        refused(|all| {
            all.truncate(1);
            all[0].extent = Extent::new(Bytes(start), Bytes(length)).unwrap();
        })
    };
    insta::assert_snapshot!(
        place(1024, 1 << 20),
        @"partition 14 (1 MiB at 1 KiB) does not consist of whole sectors between 17 KiB and 2147466752 B"
    );
    for (start, length) in [
        (1 << 20, 0),
        ((1 << 20) + 1, 512),
        (1 << 20, 513),
        (SIZE.0 - 33 * 512, 512),
        (SIZE.0, 512),
        (1 << 40, 512),
    ] {
        assert!(
            place(start, length).contains("does not consist of whole sectors"),
            "{start} {length}"
        );
    }
    assert!(refused(|all| all[3].extent = all[1].extent).contains("overlap"));
    assert!(refused(|all| all[0].name = "x".repeat(37)).contains("longer than 36"));
}

#[test]
fn the_last_usable_sector_can_be_used() {
    for sector in [512, 4096] {
        let mut partitions = planned();
        partitions.truncate(1);
        let list = 128 * 128 / sector;
        let end = SIZE.0 - (list + 1) * sector;
        let start = (list + 2) * sector;
        partitions[0].extent = Extent::new(Bytes(start), Bytes(end - start)).unwrap();
        Gpt::new(DISK, &partitions, SIZE, Bytes(sector)).unwrap();
        partitions[0].extent.length = Bytes(end - start + sector);
        Gpt::new(DISK, &partitions, SIZE, Bytes(sector)).unwrap_err();
    }
}

#[test]
fn what_is_written_is_found_again_in_either_copy() {
    for (sector, broken) in [
        (512, None),
        (4096, None),
        (512, Some(512)),
        (4096, Some(2 * 4096)),
    ] {
        let disks = disks(sector);
        table(sector).write(open(&disks).as_mut()).unwrap();
        if let Some(at) = broken {
            disks.put("/dev/sda", Bytes(at), &[0xff]).unwrap();
        }
        let found = crate::partition_table::read(open(&disks).as_ref()).unwrap();
        let found: Vec<_> = found.unwrap().partitions;
        let mut expected = planned();
        expected.sort_by_key(|partition| partition.number);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(
                (found.number, found.extent),
                (expected.number, expected.extent)
            );
            assert_eq!(found.type_id, expected.type_guid.to_string());
            assert_eq!(found.guid, Some(expected.guid.to_bytes_le()));
        }
    }
}

#[test]
fn headers_and_entries_read_back_as_they_were() {
    let table = table(512);
    let last = SIZE.0 / 512 - 1;
    let primary = Header::parse(&table.head[512..1024], 1).unwrap();
    let backup = Header::parse(&table.tail[table.tail.len() - 512..], last).unwrap();
    assert_eq!((primary.other, backup.other), (last, 1));
    assert_eq!((primary.first_usable, primary.last_usable), (34, last - 33));
    assert_eq!((primary.disk_guid, backup.disk_guid), (DISK, DISK));
    let entries = primary.entries(&table.head[1024..]).unwrap();
    assert_eq!(entries, backup.entries(&table.tail[..16384]).unwrap());
    let first = &entries[0];
    assert_eq!((first.number, first.name.as_str()), (1, "böot"));
    assert_eq!((first.first, first.last), (225 << 11, (425 << 11) - 1));
    assert_eq!((first.attributes, first.type_guid), (LEGACY_BOOT, LINUX));
    // a header of another sector, and a list with another checksum
    assert_eq!(Header::parse(&table.head[512..1024], 2), None);
    assert_eq!(primary.entries(&table.head[1024..1024 + 127 * 128]), None);
}

proptest! {
    #[test]
    fn any_disk_is_refused_or_gets_a_table(
        size in 0_u64..200_000,
        sector in prop::sample::select(vec![0_u64, 1, 512, 520, 2048, 4096]),
    ) {
        let made = Gpt::new(DISK, &[], Bytes(size), Bytes(sector));
        let fits = (sector == 512 && size / 512 >= 68) || (sector == 4096 && size / 4096 >= 12);
        prop_assert_eq!(made.is_ok(), fits, "{:?}", made);
    }
}
