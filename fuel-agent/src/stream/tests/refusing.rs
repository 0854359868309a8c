//! Images that are not what they should be.

use std::path::Path;

use host::blockdev::{Access, Devices};
use host::units::Bytes;
use sha2::Digest;

use super::{
    DISK, MIB, PACKED, Plan, RecordedEvents, SKIPPABLE, bzip2, client, content, digest_only, dirty,
    expected, frames, gzip, hex, image, job, on_file, sha256, size, wrapped, write_file, write_to,
    wrote, xz, zstandard,
};
use crate::model::error::{Error, Kind, render};
use crate::model::request::Container;
use crate::stream::{Expected, Job, StreamError, write_image};

#[test]
fn what_is_not_what_the_request_says_is_not_written() {
    let raw = image(3000);
    let page = b"<!DOCTYPE html><title>log in</title>";
    for (bytes, container, said) in [
        (gzip(&raw), Container::Raw, "is gzip, the request says raw"),
        (
            raw.clone(),
            Container::Gzip,
            "is raw, the request says gzip",
        ),
        (
            zstandard(&raw),
            Container::Gzip,
            "is zstd, the request says gzip",
        ),
        (xz(&raw), Container::Raw, "is xz, the request says raw"),
        (bzip2(&raw), Container::Xz, "is bzip2, the request says xz"),
        (
            b"KDMV\x01\0\0\0".to_vec(),
            Container::Bzip2,
            "is vmdk, which cannot be written",
        ),
        (
            page.to_vec(),
            Container::Gzip,
            "is web page, which cannot be written",
        ),
    ] {
        let devices = dirty(MIB);
        let error = write_file(&devices, container, &bytes, digest_only(&raw)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.kind(), Kind::Image);
        assert!(!wrote(&devices));
    }
}

/// A frame that asks for a window of 2^28 bytes, and has one raw block.
const WIDE: &[u8] = b"\x28\xb5\x2f\xfd\x00\x90\x09\0\0x";

#[test]
fn more_memory_than_we_give_is_refused() {
    let (wide, wide_xz) = (WIDE.to_vec(), widened(xz(b"x")));
    for (container, bytes, needed) in [
        (Container::Zstd, &wide, "256 MiB"),
        (Container::Xz, &wide_xz, "192 MiB"),
    ] {
        let devices = dirty(MIB);
        let error = write_file(&devices, container, bytes, digest_only(b"x")).unwrap_err();
        let said = format!("needs {needed} of memory to be unpacked, more than 128 MiB");
        assert!(error.to_string().contains(&said), "{error}");
        assert!(!wrote(&devices));
    }
    // also where it is asked for later, or behind a frame that is skipped
    for (container, start, wide) in [
        (Container::Zstd, SKIPPABLE.to_vec(), &wide),
        (Container::Zstd, zstandard(&image(5000)), &wide),
        (Container::Zstd, frames(&image(MIB), MIB), &wide),
        (Container::Xz, xz(&image(5000)), &wide_xz),
    ] {
        let bytes = [&start[..], wide].concat();
        let error = write_file(&dirty(3 * MIB), container, &bytes, digest_only(b"x")).unwrap_err();
        assert!(matches!(error, StreamError::Window { .. }), "{error}");
    }
}

/// The same with a dictionary of 192 MiB in the header of its first block.
fn widened(mut xz: Vec<u8>) -> Vec<u8> {
    let header = &mut xz[12..24];
    assert_eq!(
        header[..4],
        [2, 0, 0x21, 1],
        "a header as `xz -0` writes it"
    );
    header[4] = 31;
    let mut checksum = flate2::Crc::new();
    checksum.update(&header[..8]);
    header[8..].copy_from_slice(&checksum.sum().to_le_bytes());
    xz
}

#[test]
fn an_image_that_was_cut_anywhere_is_an_error() {
    let raw = image(300_000);
    for (name, container, bytes) in wrapped(&raw) {
        for part in 0..64 {
            let cut = &bytes[..bytes.len() * part / 64];
            let devices = dirty(MIB);
            // without its digests the cut of a raw image could not be seen
            let known = if container == Container::Raw {
                expected(&raw)
            } else {
                Expected::default()
            };
            let file = on_file(cut);
            let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
            let plan = Plan {
                url: &file.1,
                container,
                expected: known,
            };
            let result = write_image(Job {
                allow_unverified: true,
                ..job(plan, &mut *target, &client(), &RecordedEvents::default())
            });
            // whole members and frames are images of their own: there only a digest can tell
            let whole = name.contains(',') && result.is_ok();
            assert!(result.is_err() || whole, "{name} {part}/64: {result:?}");
            let error = write_file(&devices, container, cut, digest_only(&raw)).unwrap_err();
            assert_eq!(error.kind(), Kind::Image, "{name} {part}/64: {error}");
        }
    }
}

#[test]
fn a_cut_in_the_header_of_a_second_member_is_an_error() {
    let raw = image(5000);
    for (container, pack) in PACKED {
        let member = pack(&raw);
        for length in 1..member.len().min(20) {
            let bytes = [&member[..], &member[..length]].concat();
            let error = write_file(&dirty(MIB), container, &bytes, digest_only(&raw)).unwrap_err();
            assert!(
                matches!(
                    error,
                    StreamError::Truncated { .. } | StreamError::Corrupt { .. }
                ),
                "{container:?} {length}: {error}"
            );
        }
    }
}

#[test]
fn what_follows_after_the_end_is_an_error() {
    let raw = image(5000);
    // zeros by fours are no garbage behind xz
    let padded = [xz(&raw), vec![0; 512]].concat();
    write_file(&dirty(MIB), Container::Xz, &padded, expected(&raw)).unwrap();
    for (container, pack) in PACKED {
        let member = pack(&raw);
        for garbage in [&b"x"[..], b"garbage and more of it", &[0; 511]] {
            let bytes = [&member[..], garbage].concat();
            let error = write_file(&dirty(MIB), container, &bytes, digest_only(&raw)).unwrap_err();
            assert_eq!(
                error.kind(),
                Kind::Image,
                "{container:?} {garbage:?}: {error}"
            );
        }
    }
}

#[test]
fn another_image_than_its_metadata_says_leaves_no_filesystem() {
    let raw = image(3 * MIB);
    let other = sha256(b"other");
    let md5 = hex(&md5::Md5::digest(b"other"));
    for (known, said) in [
        (
            Expected {
                raw_sha256: Some(other),
                ..Expected::default()
            },
            "the sha256 digest of",
        ),
        (
            Expected {
                raw_md5: Some(md5),
                ..Expected::default()
            },
            "the md5 digest of",
        ),
        (
            Expected {
                raw_size: Some(Bytes(2)),
                ..expected(&raw)
            },
            "holds more than 2 B, its metadata says 2 B",
        ),
        (
            Expected {
                raw_size: Some(Bytes(4 << 20)),
                ..expected(&raw)
            },
            "holds 3 MiB, its metadata says 4 MiB",
        ),
    ] {
        let devices = dirty(4 * MIB);
        let error = write_file(&devices, Container::Gzip, &gzip(&raw), known).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.kind(), Kind::Image);
        let head = content(&devices, 0, MIB);
        assert!(
            !wrote(&devices) || head.iter().all(|byte| *byte == 0),
            "{said}"
        );
    }
    // of two digests the stronger one tells
    let both = Expected {
        raw_md5: Some(hex(&md5::Md5::digest(b"other"))),
        ..expected(&raw)
    };
    write_file(&dirty(4 * MIB), Container::Raw, &raw, both).unwrap();
    let upper = Expected {
        raw_sha256: Some(sha256(&raw).to_uppercase()),
        ..Expected::default()
    };
    write_file(&dirty(4 * MIB), Container::Raw, &raw, upper).unwrap();
}

#[test]
fn nothing_is_fetched_for_an_image_that_cannot_be_taken() {
    let known = |raw_md5: Option<&str>, raw_size| Expected {
        raw_md5: raw_md5.map(str::to_owned),
        raw_size,
        ..Expected::default()
    };
    let zeros = "0".repeat(32);
    for (known, kind, said) in [
        (
            known(None, None),
            Kind::Refused,
            "no digest is known of http://h/x",
        ),
        (
            known(Some("fakeroot"), None),
            Kind::Image,
            "`fakeroot` is no md5 digest",
        ),
        (
            known(Some(&zeros), Some(size(MIB + 1))),
            Kind::Image,
            "does not fit on /dev/sda, which holds 1 MiB; it needs 1048577 B",
        ),
    ] {
        let devices = dirty(MIB);
        let plan = Plan {
            url: "http://h/x",
            container: Container::Raw,
            expected: known,
        };
        let error = write_to(&devices, plan).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.kind(), kind);
        assert!(!wrote(&devices));
    }
}

#[test]
fn an_image_that_is_larger_than_its_volume_stops_at_its_end() {
    let sevens = vec![7; 64 * MIB];
    let mut bombs = vec![(Container::Zstd, frames(&sevens, 4 * MIB))];
    bombs.extend(PACKED.map(|(container, pack)| (container, pack(&sevens))));
    for (container, bomb) in bombs {
        let devices = dirty(3 * MIB + 512);
        let error = write_file(&devices, container, &bomb, digest_only(b"")).unwrap_err();
        let StreamError::TooLarge { needed: None, .. } = &error else {
            panic!("{container:?}: {error}")
        };
        let text = render(&Error::from(error));
        let said = "does not fit on /dev/sda, which holds 3146240 B";
        assert!(text.contains(said), "{text}");
    }
}
