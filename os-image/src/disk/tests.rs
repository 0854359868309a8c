//! Images made by QEMU are read back; inconsistent images are refused.

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Program, System};
use proptest::prelude::*;

use super::*;

/// 5 MiB and a sector: data that packs, data that does not, zeros, and an end within a cluster.
fn disk() -> Vec<u8> {
    let mut disk = vec![0_u8; (5 << 20) + 512];
    let mut state = 1_u64;
    for (i, byte) in disk.iter_mut().enumerate() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = match i >> 18 {
            0 | 2 | 20 => (i / 100).to_le_bytes()[0],
            5 | 6 => state.to_le_bytes()[7],
            // single sectors in otherwise empty clusters
            9 if (i >> 9) % 64 == 3 => 7,
            _ => 0,
        };
    }
    disk
}

/// `disk`, converted by QEMU to this format with these options.
fn made_by_qemu(format: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (raw, image) = (folder.path().join("raw"), folder.path().join("image"));
    std::fs::write(&raw, disk()).unwrap();
    let convert = Cmd::new(Program::new("qemu-img", "qemu-utils"))
        .args(["convert", "-f", "raw", "-O", format])
        .args(options)
        .args([&raw, &image]);
    System::new(Cancel::new()).run(&convert).unwrap();
    std::fs::read(&image).unwrap()
}

fn read_all(image: &mut dyn DiskImage) -> Result<Vec<u8>, DiskImageError> {
    let mut all = Vec::new();
    for number in 0..image.pieces() {
        let mut piece = vec![0xaa; image.piece_length(number)];
        if !image.piece(number, &mut piece)? {
            piece.fill(0);
        }
        all.extend(piece);
    }
    Ok(all)
}

fn read_qcow2(bytes: Vec<u8>) -> Result<Vec<u8>, DiskImageError> {
    read_all(&mut Qcow2::open(bytes)?)
}

fn read_vmdk(bytes: Vec<u8>) -> Result<Vec<u8>, DiskImageError> {
    read_all(&mut Vmdk::open(bytes)?)
}

#[test]
fn every_kind_of_qcow2_gives_the_disk_back() {
    for options in [
        &[][..],
        &["-o", "compat=0.10"],
        &["-c"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "extended_l2=on"],
        &["-c", "-o", "extended_l2=on,compression_type=zstd"],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M,lazy_refcounts=on"],
        &["-c", "-o", "cluster_size=2M"],
        &["-o", "preallocation=metadata"],
        &["-S", "0"],
    ] {
        let read = read_qcow2(made_by_qemu("qcow2", options)).unwrap();
        assert!(read == disk(), "{options:?}");
    }
}

#[test]
fn every_kind_of_vmdk_in_one_file_gives_the_disk_back() {
    for options in [
        &["-o", "subformat=monolithicSparse"][..],
        &["-o", "subformat=streamOptimized"],
        &["-o", "subformat=monolithicSparse,zeroed_grain=on"],
    ] {
        let read = read_vmdk(made_by_qemu("vmdk", options)).unwrap();
        assert!(read[..disk().len()] == disk(), "{options:?}");
        assert!(
            read[disk().len()..].iter().all(|byte| *byte == 0),
            "{options:?}"
        );
    }
}

#[test]
fn a_vmdk_whose_directory_is_named_at_its_end_is_read_and_must_have_that_end() {
    let good = made_by_qemu("vmdk", &["-o", "subformat=streamOptimized"]);
    let footer = good[..512].to_vec();
    let mut streamed = patched(&good, 56, &[0xff; 8]);
    streamed.resize(streamed.len().next_multiple_of(512), 0);
    streamed.extend([&[0; 512][..], &footer, &[0; 512]].concat());
    let read = read_vmdk(streamed.clone()).unwrap();
    assert!(read[..disk().len()] == disk());
    for cut in [512, 1024, 1536] {
        let error = read_vmdk(streamed[..streamed.len() - cut].to_vec()).unwrap_err();
        assert!(error.to_string().contains("it is truncated"), "{error}");
    }
}

/// `bytes` with `with` at `at`.
fn patched(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn a_qcow2_that_needs_other_files_or_is_inconsistent_is_refused() {
    let good = made_by_qemu("qcow2", &[]);
    for (at, with, expected) in [
        (0, &b"QFI\xfc"[..], "magic number is wrong"),
        (4, &[0, 0, 0, 9], "is of an unknown version"),
        (
            8,
            &[0, 0, 0, 0, 0, 0, 1, 0],
            "is only the difference to a backing file",
        ),
        (20, &[0, 0, 0, 40], "cluster size is invalid"),
        (
            24,
            &[0, 0x10, 0, 0, 0, 0, 0, 0],
            "but at most 2199023255552 are supported",
        ),
        (24, &[0, 0, 0x01, 0, 0, 0, 0, 0], "first table is too short"),
        (
            24,
            &[0, 0, 0, 0, 0, 0, 0, 1],
            "not a whole number of sectors",
        ),
        (24, &[0; 8], "not a whole number of sectors"),
        (32, &[0, 0, 0, 2], "is encrypted"),
        (36, &[0, 0, 0, 0], "first table is too short"),
        (40, &[0xff; 8], "first table lies outside of the file"),
        (79, &[1 << 1], "marked as corrupt"),
        (79, &[1 << 2], "keeps its data in another file"),
        (79, &[1 << 5], "unknown features"),
    ] {
        let error = read_qcow2(patched(&good, at, with))
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
}

#[test]
fn a_qcow2_with_invalid_tables_is_refused() {
    let good = made_by_qemu("qcow2", &[]);
    let l1 = usize::try_from(be::<8>(&good, 40).unwrap()).unwrap();
    let l2 = usize::try_from(be::<8>(&good, l1).unwrap() & 0xff_ffff).unwrap();
    for (at, with, expected) in [
        (l1, [0, 0, 0, 0x10, 0, 0, 0, 0], "it is truncated"),
        (l1, [0, 0, 0, 0, 0, 0, 0x02, 0], "not aligned"),
        (l2, [0x80, 0, 0, 0x10, 0, 0, 0, 0], "it is truncated"),
        (l2, [0x80, 0, 0, 0, 0, 0, 0x02, 0], "not aligned"),
        (l2, [0x40, 0, 0, 0, 0, 0, 0, 0], "cannot be unpacked"),
        (
            l2,
            [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            "cannot be unpacked",
        ),
    ] {
        let result = read_qcow2(patched(&good, at, &with));
        let error = result.expect_err(expected).to_string();
        assert!(
            error.contains(expected) || error.contains("cannot read"),
            "{at} {with:x?}: {error}"
        );
    }
    assert!(
        read_qcow2(good[..good.len() - (64 << 10)].to_vec()).is_err(),
        "truncated"
    );
    assert!(
        read_qcow2(good[..100].to_vec()).is_err(),
        "truncated in its header"
    );
    assert!(read_qcow2(Vec::new()).is_err(), "empty");
}

#[test]
fn a_vmdk_that_needs_other_files_or_is_inconsistent_is_refused() {
    let good = made_by_qemu("vmdk", &["-o", "subformat=streamOptimized"]);
    let text = good
        .windows(9)
        .position(|text| text == b"parentCID")
        .unwrap();
    let kind = good
        .windows(10)
        .position(|text| text == b"createType")
        .unwrap();
    for (at, with, expected) in [
        (0, &b"KDMW"[..], "magic number is wrong"),
        (
            0,
            b"# Disk DescriptorFile",
            "is only a descriptor of other files",
        ),
        (4, &[9], "is of an unknown version"),
        (12, &[0; 8], "its disk is empty"),
        (12, &[0xff; 8], "are supported"),
        (20, &[3], "grain size is invalid"),
        (28, &[0; 16], "is one of several files"),
        (28, &[0xff; 8], "descriptor lies outside"),
        (44, &[0; 4], "tables have the wrong size"),
        (73, b"\n\r\n\n", "changed its line ends"),
        (77, &[9], "compressed in an unknown way"),
        (text + 10, b"0000000a", "is only the difference to a parent"),
        (kind + 12, b"monolithicFl", "is neither streamOptimized"),
    ] {
        let error = read_vmdk(patched(&good, at, with))
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
    assert!(
        read_vmdk(good[..good.len() / 2].to_vec()).is_err(),
        "truncated"
    );
    assert!(read_vmdk(Vec::new()).is_err(), "empty");
}

#[test]
fn damage_ends_in_an_error_or_in_other_bytes_and_never_in_more_of_them() {
    let images = [
        made_by_qemu("qcow2", &["-c"]),
        made_by_qemu("qcow2", &["-o", "extended_l2=on"]),
        made_by_qemu("vmdk", &["-o", "subformat=streamOptimized"]),
    ];
    proptest!(ProptestConfig::with_cases(24), |(which in 0..3_usize, at: usize, with: [u8; 8])| {
        let good = &images[which];
        // most tables are in this range
        let at = if at % 4 == 0 { at % 512 } else { at % (good.len() - 8) };
        let bytes = patched(good, at, &with);
        let size = if which < 2 {
            Qcow2::open(bytes.clone()).map(|image| image.size())
        } else {
            Vmdk::open(bytes.clone()).map(|image| image.size())
        };
        // a changed size may be valid and huge: its holes need not be read here
        if size.is_ok_and(|size| size <= 64 << 20) {
            let read = if which < 2 { read_qcow2(bytes) } else { read_vmdk(bytes) };
            prop_assert!(read.map_or(0, |read| read.len()) <= 64 << 20);
        }
    });
}
