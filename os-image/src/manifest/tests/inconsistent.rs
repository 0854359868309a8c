//! All inconsistencies of a manifest.

use serde_json::Value;

use super::*;

/// The sample with the value at `pointer` replaced.
fn with_value(pointer: &str, value: Value) -> String {
    let mut json: Value = serde_json::from_str(&text(&sample())).unwrap();
    *json
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer}")) = value;
    json.to_string()
}

/// (pointer, new value, text in the error).
const INCONSISTENT: [(&str, &str, &str); 41] = [
    ("/version", "2", "at the top: `version` is 2"),
    ("/version", "\"1\"", "malformed at the top: invalid type"),
    ("/name", "\"../x\"", "at the top: `../x` cannot be `name`"),
    ("/name", "\"\"", "cannot be `name`"),
    ("/name", "\"a\\u001b[2J\"", "`a\\u{1b}[2J` cannot be `name`"),
    ("/release", "-1", "malformed at the top"),
    ("/release", "1.5", "malformed at the top"),
    ("/os/name", "\"a\\u0007\"", "at os: text of more than"),
    ("/os", "{\"family\": \"x\"}", "missing field `name`"),
    ("/architecture", "\"x86 64\"", "cannot be `architecture`"),
    (
        "/firmware",
        "[\"bios\", \"bios\"]",
        "at firmware: `bios` is listed twice",
    ),
    (
        "/features",
        "[\"a/b\"]",
        "at features: `a/b` cannot be `features`",
    ),
    ("/features", "\"lvm\"", "a list of at most 64 words"),
    ("/images", "[]", "at images: the list is empty"),
    (
        "/images/0/file",
        "\"../../etc/x.img.zst\"",
        "at images[0]: `../../etc/x.img.zst` cannot be `file`",
    ),
    ("/images/0/file", "\"a/b.img.zst\"", "cannot be `file`"),
    ("/images/0/file", "\"..\"", "cannot be `file`"),
    (
        "/images/0/mount",
        "\"usr\"",
        "at images[0]: `usr` is not an absolute path",
    ),
    ("/images/0/mount", "\"/a/../b\"", "is not an absolute path"),
    ("/images/0/mount", "\"//\"", "is not an absolute path"),
    ("/images/0/mount", "null", "contradict each other"),
    ("/images/0/whole_disk", "true", "contradict each other"),
    (
        "/images/0/filesystem",
        "{\"type\": \"a b\"}",
        "cannot be `type`",
    ),
    ("/images/0/sector_size", "520", "`sector_size` is 520"),
    ("/images/0/sector_size", "0", "`sector_size` is 0"),
    ("/images/0/raw_size", "0", "`raw_size` is 0"),
    (
        "/images/0/raw_size",
        "2621441",
        "`raw_size` is 2621441, which is not a positive number of 512-byte sectors",
    ),
    (
        "/images/0/raw_size",
        "2620928",
        "at images[0].chunks[2]: `raw_length` is 524288, but this chunk has 523776",
    ),
    (
        "/images/0/raw_size",
        "2097152",
        "at images[0].chunks[2]: there are 3 chunks, but the image has 2",
    ),
    (
        "/images/0/raw_size",
        "3670016",
        "at images[0].chunks[2]: `raw_length` is 524288, but this chunk has 1048576",
    ),
    (
        "/images/0/raw_size",
        "18446744073709551104",
        "at images[0]: the index of 17592186044416 chunks needs",
    ),
    (
        "/images/0/packed_size",
        "1",
        "at images[0]: the chunks add up to",
    ),
    ("/images/0/raw_sha256", "\"00\"", "32 bytes in hexadecimal"),
    ("/images/0/chunk_size", "3145728", "`chunk_size` is 3145728"),
    ("/images/0/chunk_size", "524288", "`chunk_size` is 524288"),
    (
        "/images/0/chunk_size",
        "33554432",
        "`chunk_size` is 33554432",
    ),
    (
        "/images/0/chunk_size",
        "2097152",
        "at images[0].chunks[0]: `raw_length` is 1048576",
    ),
    (
        "/images/0/chunks",
        "[]",
        "at images[0]: there are 0 chunks, but the image has 3",
    ),
    (
        "/images/0/chunks/1/raw_offset",
        "1048575",
        "at images[0].chunks[1]: `raw_offset` is 1048575, but the chunk before it ends at 1048576",
    ),
    (
        "/images/0/chunks/1/raw_blake3",
        "\"zz\"",
        "malformed at images[0].chunks[1]: invalid value",
    ),
    (
        "/images/0/chunks/1/zero",
        "false",
        "at images[0].chunks[1]: `zero` is false",
    ),
];

#[test]
fn every_inconsistency_is_refused_and_its_place_named() {
    for (pointer, value, expected) in INCONSISTENT {
        let text = with_value(pointer, serde_json::from_str(value).unwrap());
        let error = read(&text).expect_err(pointer).to_string();
        assert!(error.contains(expected), "{pointer} = {value}: {error}");
    }
}

#[test]
fn chunks_that_overlap_leave_holes_or_burst_are_refused() {
    let index = sample().images[0].index.clone();
    let first = index.chunk(0).unwrap().packed_length;
    let second = index.chunk(1).unwrap();
    for (pointer, value, expected) in [
        (
            "/images/0/chunks/1/packed_offset",
            u64::from(first) - 1,
            "`packed_offset` is",
        ),
        (
            "/images/0/chunks/1/packed_offset",
            u64::from(first) + 1,
            "`packed_offset` is",
        ),
        (
            "/images/0/chunks/1/packed_offset",
            1 << 63,
            "`packed_offset` is",
        ),
        (
            "/images/0/chunks/1/packed_length",
            0,
            "a frame of this chunk has 9 to 1052672 bytes",
        ),
        (
            "/images/0/chunks/1/packed_length",
            1_052_673,
            "a frame of this chunk has 9 to 1052672 bytes",
        ),
        (
            "/images/0/chunks/1/packed_length",
            u64::from(second.packed_length) + 1,
            "at images[0].chunks[2]: `packed_offset`",
        ),
        (
            "/images/0/chunks/1/packed_length",
            1 << 32,
            "malformed at images[0].chunks[1]: invalid value",
        ),
        (
            "/images/0/chunks/0/raw_length",
            1 << 19,
            "`raw_length` is 524288, but",
        ),
        (
            "/images/0/chunks/2/packed_length",
            9,
            "at images[0]: the chunks add up to",
        ),
    ] {
        let error = read(&with_value(pointer, value.into()))
            .expect_err(pointer)
            .to_string();
        assert!(error.contains(expected), "{pointer} = {value}: {error}");
    }
    // a chunk marked as zero is neither fetched nor checked
    let error = read(&with_value("/images/0/chunks/0/zero", true.into())).unwrap_err();
    assert!(error.to_string().contains("`zero` is true"), "{error}");
}

#[test]
fn keys_out_of_order_missing_or_twice_are_refused() {
    let whole = text(&sample());
    let without = |key: &str| {
        let kept = whole
            .lines()
            .filter(|line| !line.trim().starts_with(&format!("\"{key}\"")));
        kept.collect::<Vec<_>>().join("\n")
    };
    for key in [
        "version",
        "name",
        "release",
        "os",
        "architecture",
        "firmware",
        "features",
    ] {
        let error = read(&without(key)).expect_err(key).to_string();
        assert!(
            error.contains(&format!("`{key}` is missing, or comes after `images`")),
            "{error}"
        );
    }
    for key in [
        "file",
        "mount",
        "whole_disk",
        "sector_size",
        "raw_size",
        "packed_size",
        "raw_sha256",
        "packed_sha256",
        "chunk_size",
    ] {
        let error = read(&without(key)).expect_err(key).to_string();
        assert!(
            error.contains(&format!(
                "at images[0]: `{key}` is missing, or comes after `chunks`"
            )),
            "{error}"
        );
    }
    let nothing = read(r#"{"version": 1}"#).unwrap_err().to_string();
    assert!(nothing.contains("`images` is missing"), "{nothing}");
}

#[test]
fn files_and_mount_points_are_listed_once() {
    let mut manifest = sample();
    manifest.images.push(manifest.images[0].clone());
    let error = manifest.write(&mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "images[1]: `debian-12.img.zst` is listed twice");
    manifest.images[1].file = String::from("other.img.zst");
    let error = manifest.write(&mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "images[1]: `/` is listed twice");
    manifest.images[1].mount = Some(String::from("/boot"));
    assert_eq!(read(&text(&manifest)).unwrap(), manifest);
    let one = Limits {
        images: 1,
        ..Limits::default()
    };
    let error = Manifest::read(text(&manifest).as_bytes(), &one).unwrap_err();
    assert!(error.to_string().contains("more than 1 entries"), "{error}");
    // two indexes share the allowed memory
    let small = Limits {
        index: 5 * 72,
        ..Limits::default()
    };
    let error = Manifest::read(text(&manifest).as_bytes(), &small).unwrap_err();
    assert!(
        error.to_string().contains(
            "at images[1]: the index of 3 chunks needs 216 bytes, but only 144 are allowed"
        ),
        "{error}"
    );
}

#[test]
fn nothing_stands_twice_or_after_what_has_to_be_last() {
    let whole = text(&sample());
    for (old, new, expected) in [
        (
            "\"release\": 7,",
            "\"release\": 7, \"release\": 8,",
            "`release` is given twice",
        ),
        (
            "\"raw_size\"",
            "\"raw_size\": 512, \"raw_size\"",
            "at images[0]: `raw_size` is given twice",
        ),
        (
            "\n  ]\n}",
            "\n  ], \"late\": 1}",
            "at the top: `images` must be the last key",
        ),
        (
            "\n      ]\n    }",
            "\n      ], \"late\": 1}",
            "at images[0]: `chunks` must be the last key",
        ),
        ("\n  ]\n}\n", "\n  ]\n}\nx", "trailing characters"),
        (
            "\"zero\":false}",
            "\"zero\":false,\"more\":1}",
            "unknown field `more`",
        ),
    ] {
        assert!(whole.contains(old), "{old}");
        let error = read(&whole.replacen(old, new, 1))
            .expect_err(new)
            .to_string();
        assert!(error.contains(expected), "{new}: {error}");
    }
}
