//! Images that are refused.

use std::path::Path;

use host::blockdev::{Access, Devices};
use host::units::Bytes;

use super::{
    DISK, MIB, PACKED, Pack, Plan, RecordedEvents, SKIPPABLE, bzip2, client, content, digest_only,
    dirty, expected, frames, gzip, image, job, md5, on_file, sha256, size, stated, wrapped,
    write_file, write_to, wrote, xz, zstandard,
};
use crate::model::digest::Algorithm;
use crate::model::error::{Error, Kind, render};
use crate::model::request::Container;
use crate::stream::{Expected, Job, StreamError, write_image};

#[test]
fn what_is_not_what_the_request_says_is_not_written() {
    let raw = image(3000);
    let page = b"<!DOCTYPE html><title>log in</title>";
    for (bytes, container, reason) in [
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
            "is a web page, which cannot be written",
        ),
    ] {
        let devices = dirty(MIB);
        let error = write_file(&devices, container, &bytes, digest_only(&raw)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.kind(), Kind::Image);
        assert!(!wrote(&devices));
    }
}

/// A frame with a window of 2^28 bytes and one raw block.
const WIDE: &[u8] = b"\x28\xb5\x2f\xfd\x00\x90\x09\0\0x";

#[test]
fn a_window_beyond_the_memory_limit_is_refused() {
    let (wide, wide_xz) = (WIDE.to_vec(), widened(xz(b"x")));
    for (container, bytes, needed) in [
        (Container::Zstd, &wide, "256 MiB"),
        (Container::Xz, &wide_xz, "192 MiB"),
    ] {
        let devices = dirty(MIB);
        let error = write_file(&devices, container, bytes, digest_only(b"x")).unwrap_err();
        let reason = format!("needs {needed} of memory to be unpacked, more than 128 MiB");
        assert!(error.to_string().contains(&reason), "{error}");
        assert!(!wrote(&devices));
    }
    // also if the frame comes later, or behind a skippable frame
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

/// `xz` with a dictionary of 192 MiB in the header of its first block.
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
            // without a digest the cut of a raw image cannot be noticed
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
            // complete members and frames are images of their own: only a digest shows that more are missing
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
fn zeros_behind_the_end_are_taken_where_the_tools_take_them() {
    let raw = image(5000);
    let forms: [(Container, Pack, &[usize]); 3] = [
        (Container::Gzip, gzip, &[1, 511, 10_240, 3 * MIB]),
        (Container::Bzip2, bzip2, &[1, 511, 10_240, 3 * MIB]),
        // padding is a multiple of four
        (Container::Xz, xz, &[4, 512, 10_240]),
    ];
    for (container, pack, zeros) in forms {
        for zeros in zeros {
            let padded = [pack(&raw), vec![0; *zeros]].concat();
            let written = write_file(&dirty(MIB), container, &padded, expected(&raw));
            let outcome = written.unwrap_or_else(|error| panic!("{container:?} {zeros}: {error}"));
            assert_eq!(outcome.raw_bytes, size(raw.len()));
        }
    }
    let padded = [xz(&raw), vec![0; 511]].concat();
    let error = write_file(&dirty(MIB), Container::Xz, &padded, expected(&raw)).unwrap_err();
    assert!(
        error.to_string().contains("511 zeros follow after its end"),
        "{error}"
    );
}

#[test]
fn what_follows_after_the_end_is_an_error_that_says_so() {
    let raw = image(5000);
    for (container, pack) in PACKED {
        let member = pack(&raw);
        for (garbage, reason) in [
            (&b"x"[..], "other data follows after its end"),
            (
                b"garbage and more of it",
                "other data follows after its end",
            ),
            (&[&[0; 512][..], b"more"].concat(), "follow"),
            (&[&[0; 512][..], &member].concat(), "follow"),
        ] {
            let is_padded = garbage.first() == Some(&0);
            if container == Container::Xz && is_padded && garbage.len() > 600 {
                // streams with padding between them
                continue;
            }
            let bytes = [&member[..], garbage].concat();
            let error = write_file(&dirty(MIB), container, &bytes, digest_only(&raw)).unwrap_err();
            assert!(
                matches!(error, StreamError::Trailing { .. }),
                "{container:?} {garbage:?}: {error}"
            );
            assert!(error.to_string().contains(reason), "{container:?}: {error}");
            assert_eq!(error.kind(), Kind::Image);
        }
    }
}

/// Endless input that never unpacks to anything: its beginning, and what is repeated.
fn endless_input() -> Vec<(&'static str, Container, Vec<u8>, Vec<u8>)> {
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 4, 0, 0][..], &[7; 1024]].concat();
    let stored = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    vec![
        ("gzip, empty members", Container::Gzip, vec![], gzip(b"")),
        (
            "gzip, empty blocks",
            Container::Gzip,
            stored,
            b"\0\0\0\xff\xff".repeat(4096),
        ),
        ("gzip, zeros", Container::Gzip, gzip(b"x"), vec![0; 1 << 16]),
        ("bzip2, empty streams", Container::Bzip2, vec![], bzip2(b"")),
        (
            "bzip2, zeros",
            Container::Bzip2,
            bzip2(b"x"),
            vec![0; 1 << 16],
        ),
        ("xz, empty streams", Container::Xz, vec![], xz(b"")),
        ("xz, padding", Container::Xz, xz(b"x"), vec![0; 1 << 16]),
        (
            "zstd, skippable frames",
            Container::Zstd,
            vec![],
            skippable.clone(),
        ),
        (
            "zstd, skippable frames after data",
            Container::Zstd,
            zstandard(&image(5000)),
            skippable,
        ),
    ]
}

#[test]
fn input_that_never_unpacks_to_anything_is_stopped() {
    for (name, container, start, again) in endless_input() {
        // far more than the limit; the bytes fetched show that it was not read to its end
        let count = (96 << 20) / again.len();
        let bytes = [start, again.repeat(count)].concat();
        let devices = dirty(MIB);
        let error = write_file(&devices, container, &bytes, digest_only(b"")).unwrap_err();
        assert!(
            matches!(
                error,
                StreamError::NoOutput { .. } | StreamError::Corrupt { .. }
            ),
            "{name}: {error}"
        );
        let text = error.to_string();
        let is_expected =
            text.contains("unpacks to almost nothing") || text.contains("in a row are empty");
        assert!(is_expected, "{name}: {text}");
        assert_eq!(error.kind(), Kind::Image);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of them are the table")]
fn another_image_than_its_metadata_says_leaves_no_filesystem() {
    let raw = image(3 * MIB);
    let blake3 = |bytes: &[u8]| blake3::hash(bytes).to_string();
    let one = |algorithm, digest: String| Expected {
        digests: vec![stated(algorithm, &digest)],
        ..Expected::default()
    };
    // every stated digest is computed, also beside one that matches
    let with = |algorithm, digest: String| {
        let mut known = digest_only(&raw);
        known.digests.push(stated(algorithm, &digest));
        known
    };
    for (known, reason) in [
        (
            one(Algorithm::Sha256, sha256(b"other")),
            "the sha256 digest of",
        ),
        (one(Algorithm::Md5, md5(b"other")), "the md5 digest of"),
        (
            one(Algorithm::Blake3, blake3(b"other")),
            "the blake3 digest of",
        ),
        (with(Algorithm::Md5, md5(b"other")), "the md5 digest of"),
        (
            with(Algorithm::Blake3, blake3(b"other")),
            "the blake3 digest of",
        ),
        (with(Algorithm::Sha256, sha256(b"other")), "x.yaml says"),
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
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.kind(), Kind::Image);
        let head = content(&devices, 0, MIB);
        assert!(
            !wrote(&devices) || head.iter().all(|byte| *byte == 0),
            "{reason}"
        );
    }
    let right = Expected {
        digests: vec![
            stated(Algorithm::Md5, &md5(&raw)),
            stated(Algorithm::Blake3, &blake3(&raw).to_uppercase()),
            stated(Algorithm::Sha256, &sha256(&raw).to_uppercase()),
        ],
        ..expected(&raw)
    };
    let outcome = write_file(&dirty(4 * MIB), Container::Raw, &raw, right).unwrap();
    assert!(outcome.verified && outcome.raw_sha256_computed);
    let checked = outcome.digests_checked.iter().map(|it| it.algorithm.name());
    assert_eq!(checked.collect::<Vec<_>>(), ["md5", "blake3", "sha256"]);
    assert_eq!(outcome.raw_blake3, Some(blake3(&raw)));
}

#[test]
fn nothing_is_fetched_for_an_image_that_cannot_be_taken() {
    let known = |md5: Option<&str>, raw_size| Expected {
        digests: md5
            .map(|md5| stated(Algorithm::Md5, md5))
            .into_iter()
            .collect(),
        raw_size,
        ..Expected::default()
    };
    let zeros = "0".repeat(32);
    for (known, kind, reason) in [
        (
            known(None, None),
            Kind::Refused,
            "no digest is known for http://h/x",
        ),
        (
            known(Some("fakeroot"), None),
            Kind::Image,
            "is not a valid md5 digest",
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
        assert!(error.to_string().contains(reason), "{error}");
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
        let reason = "does not fit on /dev/sda, which holds 3146240 B";
        assert!(text.contains(reason), "{text}");
    }
}
