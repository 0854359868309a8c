//! Tables made by hand, sound and broken.

use super::gpt::crc32;
use super::*;
use crate::blockdev::{Access, Devices};
use crate::fake::FakeDevices;
use proptest::prelude::*;
use std::path::Path;

const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
const LINUX_RAW: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];

fn disk(sector: u64) -> FakeDevices {
    FakeDevices::new().with_sectors("/dev/sda", Bytes(64 << 20), Bytes(sector))
}

fn found(devices: &FakeDevices) -> Option<FoundTable> {
    let device = devices.open(Path::new("/dev/sda"), Access::Read).unwrap();
    read(device.as_ref()).unwrap()
}

fn put(devices: &FakeDevices, at: u64, bytes: &[u8]) {
    devices.put("/dev/sda", Bytes(at), bytes).unwrap();
}

/// An MBR sector with these entries: (kind, start, length).
fn mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    for (index, (kind, start, length)) in entries.iter().enumerate() {
        let at = 446 + 16 * index;
        sector[at + 4] = *kind;
        sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The identifier of a partition.
fn own_guid(number: usize) -> [u8; 16] {
    [u8::try_from(number).unwrap(); 16]
}

/// A list of 128 entries: (number, first, last).
fn list(entries: &[(usize, u64, u64)]) -> Vec<u8> {
    let mut list = vec![0; 128 * 128];
    for (number, first, last) in entries {
        let at = 128 * (number - 1);
        list[at..at + 16].copy_from_slice(&LINUX_RAW);
        list[at + 16..at + 32].copy_from_slice(&own_guid(*number));
        list[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
        list[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
    }
    list
}

fn header(place: u64, list_at: u64, list: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&place.to_le_bytes());
    header[72..80].copy_from_slice(&list_at.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32(list).to_le_bytes());
    let sum = crc32(&header).to_le_bytes();
    header[16..20].copy_from_slice(&sum);
    header
}

fn put_gpt(devices: &FakeDevices, sector: u64, entries: &[(usize, u64, u64)]) {
    let end = (64 << 20) / sector - 1;
    let names = list(entries);
    put(devices, 0, &mbr(&[(0xee, 1, u32::MAX)]));
    put(devices, sector, &header(1, 2, &names));
    put(devices, 2 * sector, &names);
    let backup = end - 16384 / sector;
    put(devices, end * sector, &header(end, backup, &names));
    put(devices, backup * sector, &names);
}

#[test]
fn the_checksum_is_the_usual_crc32() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn an_empty_disk_has_no_table_and_a_wiped_mbr_has_no_partitions() {
    assert_eq!(found(&disk(512)), None);
    let devices = disk(512);
    put(&devices, 0, &mbr(&[]));
    let table = found(&devices).unwrap();
    assert_eq!((table.kind, table.partitions.len()), (TableKind::Dos, 0));
}

#[test]
fn a_gpt_is_read_on_both_kinds_of_sectors() {
    for sector in [512, 4096] {
        let devices = disk(sector);
        put_gpt(&devices, sector, &[(1, 2048, 4095), (7, 40, 40)]);
        let table = found(&devices).unwrap();
        assert_eq!(table.kind, TableKind::Gpt);
        let extent = |first: u64, count: u64| {
            Extent::new(Bytes(first * sector), Bytes(count * sector)).unwrap()
        };
        let expected =
            [(1, extent(2048, 2048)), (7, extent(40, 1))].map(|(number, extent)| FoundPartition {
                number,
                extent,
                type_id: LINUX.to_owned(),
                guid: Some(own_guid(usize::try_from(number).unwrap())),
            });
        assert_eq!(table.partitions, expected, "{sector}");
    }
}

#[test]
fn the_backup_stands_in_for_a_broken_primary() {
    for broken in [512 + 40, 1024 + 5] {
        let devices = disk(512);
        put_gpt(&devices, 512, &[(1, 2048, 4095)]);
        put(&devices, broken, &[0x77]);
        assert_eq!(found(&devices).unwrap().partitions.len(), 1, "{broken}");
        put(&devices, (64 << 20) - 512 + 40, &[0x77]);
        let table = found(&devices).unwrap();
        assert_eq!(table.kind, TableKind::Dos, "{broken}");
    }
}

#[test]
fn a_gpt_without_its_mbr_is_none() {
    let devices = disk(512);
    put_gpt(&devices, 512, &[(1, 2048, 4095)]);
    put(&devices, 0, &[0; 512]);
    assert_eq!(found(&devices), None);
}

#[test]
fn entries_beyond_the_end_or_backwards_are_passed_over() {
    let devices = disk(512);
    put_gpt(
        &devices,
        512,
        &[
            (1, 2048, 1 << 40),
            (2, 5000, 4000),
            (3, 0, u64::MAX),
            (4, 99, 100),
        ],
    );
    let numbers: Vec<u32> = found(&devices)
        .unwrap()
        .partitions
        .iter()
        .map(|p| p.number)
        .collect();
    assert_eq!(numbers, [4]);
}

#[test]
fn an_mbr_is_read_with_its_logical_partitions() {
    let devices = disk(512);
    put(
        &devices,
        0,
        &mbr(&[(0x83, 2048, 2048), (0, 0, 0), (0x0f, 8192, 32768)]),
    );
    put(
        &devices,
        8192 * 512,
        &mbr(&[(0x82, 2048, 100), (0x05, 4096, 8192)]),
    );
    put(&devices, (8192 + 4096) * 512, &mbr(&[(0x8e, 2048, 200)]));
    let table = found(&devices).unwrap();
    assert_eq!(table.kind, TableKind::Dos);
    let lines: Vec<String> = table
        .partitions
        .iter()
        .map(|p| {
            let (start, length) = (p.extent.start.0 / 512, p.extent.length.0 / 512);
            format!("{} {start}+{length} {}", p.number, p.type_id)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "1 2048+2048 0x83",
            "3 8192+2 0xf",
            "5 10240+100 0x82",
            "6 14336+200 0x8e"
        ]
    );
}

#[test]
fn a_ring_of_logical_partitions_has_an_end() {
    let devices = disk(512);
    put(&devices, 0, &mbr(&[(0x05, 8192, 32768)]));
    put(&devices, 8192 * 512, &mbr(&[(0x83, 1, 1), (0x05, 0, 8192)]));
    assert!(found(&devices).unwrap().partitions.len() <= 130);
}

#[test]
fn the_boot_sector_of_a_filesystem_is_no_table() {
    for (at, name) in [(0x36, "FAT16"), (0x52, "FAT32"), (3, "NTFS")] {
        let devices = disk(512);
        let mut sector = mbr(&[(0x83, 2048, 2048)]);
        sector[at..at + name.len()].copy_from_slice(name.as_bytes());
        put(&devices, 0, &sector);
        assert_eq!(found(&devices), None, "{name}");
    }
}

proptest! {
    #[test]
    fn no_content_makes_it_fail_or_leave_the_disk(
        mut sector in prop::collection::vec(any::<u8>(), 512),
        kinds in prop::collection::vec(prop::sample::select(vec![0_u8, 5, 0x83, 0xee]), 4),
        header in prop::collection::vec(any::<u8>(), 92),
    ) {
        let devices = disk(512);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        for (index, kind) in kinds.iter().enumerate() {
            sector[446 + 16 * index] = 0;
            sector[446 + 16 * index + 4] = *kind;
        }
        put(&devices, 0, &sector);
        put(&devices, 512, b"EFI PART");
        put(&devices, 520, &header);
        for partition in found(&devices).map(|table| table.partitions).unwrap_or_default() {
            prop_assert!(partition.extent.end() <= Bytes(64 << 20));
        }
    }
}
