//! Images made by hand, by their first bytes.

use host::partition_table::gpt;

use super::*;

/// A boot sector with these partitions: type, first sector, sectors.
fn dos(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut head = vec![0; HEAD_LENGTH];
    for (n, (kind, start, sectors)) in entries.iter().enumerate() {
        let at = 446 + n * 16;
        head[at + 4] = *kind;
        head[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        head[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    }
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    head
}

const SIZE: u64 = 64 << 20;

/// A GPT with these partitions: first and last sector.
fn guid(sector_size: u64, entries: &[(u64, u64)]) -> Vec<u8> {
    let list = entries.iter().flat_map(|(first, last)| {
        let mut entry = [0; 128];
        entry[..16].fill(7);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        entry
    });
    let list: Vec<u8> = list.collect();
    let end = SIZE / sector_size - 1;
    let header = gpt::Header {
        place: 1,
        other: end,
        first_usable: 34,
        last_usable: end - 33,
        disk_guid: uuid::Uuid::from_u128(1),
        list: 2,
        count: entries.len().try_into().unwrap(),
        entry_length: 128,
        list_sum: gpt::crc32(&list),
    };
    let mut head = vec![0; HEAD_LENGTH];
    let mut put = |sector: u64, bytes: &[u8]| {
        let at = usize::try_from(sector * sector_size).unwrap();
        head[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(1, &header.encode());
    put(2, &list);
    head
}

#[test]
fn a_gpt_with_a_wrong_checksum_is_one_but_its_partitions_are_not_known() {
    for broken in [512 + 40, 1024 + 40] {
        let mut head = guid(512, &[(2048, 4095)]);
        head[broken] ^= 1;
        let Content::Disk(disk) = look(&head, SIZE) else {
            panic!("not a disk")
        };
        assert_eq!((disk.table, disk.partitions), ("gpt", vec![]), "{broken}");
    }
}

/// Zeros with some bytes in them.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0; HEAD_LENGTH];
    head[at..at + bytes.len()].copy_from_slice(bytes);
    head
}

#[test]
fn content_is_recognised_by_the_first_bytes() {
    let kind = |head: &[u8]| match Content::of(head) {
        Content::File(found) => found.to_string(),
        Content::Disk(disk) => format!("{} {}", disk.table, disk.sector_size),
        Content::Filesystem(filesystem) => filesystem.kind.to_owned(),
        Content::Unknown => "unknown".to_owned(),
    };
    let mut cd = with(32769, b"CD001");
    let mut ntfs = dos(&[(7, 2048, 2048)]);
    ntfs[3..11].copy_from_slice(b"NTFS    ");
    for (head, expected) in [
        (with(0, b"QFI\xfb"), "qcow2"),
        (with(0, b"vhdxfile"), "VHDX"),
        (guid(4096, &[(6, 7)]), "gpt 4096"),
        (guid(512, &[(2048, 4095)]), "gpt 512"),
        (dos(&[(0x83, 2048, 4096)]), "dos 512"),
        (ntfs, "ntfs"),
        (cd.clone(), "iso9660"),
        (with(0, b"XFSB"), "xfs"),
        (with(536, b"LVM2 001"), "LVM2_member"),
        (with(4096, &[0xfc, 0x4e, 0x2b, 0xa9]), "linux_raid_member"),
        (vec![0; HEAD_LENGTH], "unknown"),
        (Vec::new(), "unknown"),
    ] {
        assert_eq!(kind(&head), expected);
    }
    // a hybrid, as installers of Linux are
    cd[..512].copy_from_slice(&dos(&[(0x17, 64, 1 << 20)])[..512]);
    assert_eq!(kind(&cd), "dos 512");
}

#[test]
fn partitions_are_those_that_lie_within_the_image_and_hold_no_others() {
    let mib = |range: Range<u64>| range.start << 20..range.end << 20;
    for (head, expected) in [
        (
            dos(&[(0x83, 2048, 4096), (0x05, 8192, 8192)]),
            vec![mib(1..3)],
        ),
        (
            guid(512, &[(2048, 4095), (4096, 6143)]),
            vec![mib(1..2), mib(2..3)],
        ),
        (guid(4096, &[(256, 511)]), vec![mib(1..2)]),
        // beyond the end, the wrong way round, without an end
        (
            guid(512, &[(2048, 1 << 30), (4096, 2048), (2048, u64::MAX)]),
            vec![],
        ),
        (guid(4096, &[(u64::MAX, u64::MAX)]), vec![]),
    ] {
        let Content::Disk(disk) = look(&head, SIZE) else {
            panic!("no disk")
        };
        assert_eq!(disk.partitions, expected);
    }
}
