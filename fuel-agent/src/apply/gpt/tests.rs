use super::*;
use crate::apply::sample;
use host::blockdev::{Access, BlockDevice, Devices};
use host::fake::{FakeDevices, Fault, What};
use proptest::prelude::*;

const SIZE: Bytes = Bytes(2 << 30);

fn planned() -> PlannedDisk {
    let mut disk = sample::plan().disks.remove(0);
    // As an image of Ubuntu has them: the numbers do not follow each other, nor the places.
    for (partition, number) in disk.partitions.iter_mut().zip([14, 15, 1, 2, 5]) {
        partition.number = number;
    }
    disk.partitions[0].type_guid = Some("21686148-6449-6E6F-744E-656564454649".to_owned());
    disk.partitions[2].name = "böot".to_owned();
    disk.partitions[2].legacy_boot = true;
    disk
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
        let table = GuidTable::of(&planned(), SIZE, Bytes(sector)).unwrap();
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
    let table = GuidTable::of(&planned(), SIZE, Bytes(512)).unwrap();
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
    let table = GuidTable::of(&planned(), SIZE, Bytes(512)).unwrap();
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
fn whatever_fails_is_told() {
    let table = GuidTable::of(&planned(), SIZE, Bytes(512)).unwrap();
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

fn refused(change: impl FnOnce(&mut PlannedDisk)) -> String {
    let mut disk = planned();
    change(&mut disk);
    GuidTable::of(&disk, SIZE, Bytes(512))
        .unwrap_err()
        .to_string()
}

#[test]
fn what_the_crate_would_accept_is_refused() {
    let twice = refused(|disk| disk.partitions[1].number = 14);
    assert!(twice.contains("partition number 14"), "{twice}");
    assert!(refused(|disk| disk.partitions[1].number = 0).contains("number 0"));
    assert!(refused(|disk| disk.partitions[1].number = 129).contains("number 129"));
    let place = |start: u64, length: u64| {
        refused(|disk| {
            disk.partitions.truncate(1);
            disk.partitions[0].extent = Extent::new(Bytes(start), Bytes(length)).unwrap();
        })
    };
    insta::assert_snapshot!(place(1024, 1 << 20), @"partition 14 (1 MiB at 1 KiB) does not lie on whole sectors between 17 KiB and 2147466752 B");
    for (start, length) in [
        (1 << 20, 0),
        ((1 << 20) + 1, 512),
        (1 << 20, 513),
        (SIZE.0 - 33 * 512, 512),
        (SIZE.0, 512),
        (1 << 40, 512),
    ] {
        assert!(
            place(start, length).contains("does not lie on"),
            "{start} {length}"
        );
    }
    assert!(
        refused(|disk| disk.partitions[3].extent = disk.partitions[1].extent).contains("overlap")
    );
    assert!(refused(|disk| disk.partitions[0].name = "x".repeat(37)).contains("longer than 36"));
    assert!(
        refused(|disk| disk.partitions[0].type_guid = Some("linux".to_owned()))
            .contains("`linux`, which is no GUID")
    );
}

#[test]
fn the_last_usable_sector_can_be_used() {
    for sector in [512, 4096] {
        let mut disk = planned();
        disk.partitions.truncate(1);
        let array = 128 * 128 / sector;
        let end = SIZE.0 - (array + 1) * sector;
        let start = (array + 2) * sector;
        disk.partitions[0].extent = Extent::new(Bytes(start), Bytes(end - start)).unwrap();
        GuidTable::of(&disk, SIZE, Bytes(sector)).unwrap();
        disk.partitions[0].extent.length = Bytes(end - start + sector);
        GuidTable::of(&disk, SIZE, Bytes(sector)).unwrap_err();
    }
}

proptest! {
    #[test]
    fn any_disk_is_refused_or_gets_a_table(size in 0_u64..200_000, sector in prop::sample::select(vec![0_u64, 1, 512, 520, 2048, 4096])) {
        let mut disk = planned();
        disk.partitions.clear();
        let made = GuidTable::of(&disk, Bytes(size), Bytes(sector));
        let fits = (sector == 512 && size / 512 >= 68) || (sector == 4096 && size / 4096 >= 12);
        prop_assert_eq!(made.is_ok(), fits, "{:?}", made);
    }
}
