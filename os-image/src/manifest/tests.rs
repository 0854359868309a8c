//! Manifests written and read back, and every way in which one may lie.

use std::io::{self, Cursor, Read};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::codec::Packer;
use crate::error::ManifestError;
use crate::index::{CHUNK_SIZE_MIN, Chunk, IndexBuilder};

/// The index of `raw` at the smallest chunk size.
fn index_of(raw: &[u8]) -> Index {
    let mut zstd = Packer::new(1).unwrap();
    let mut builder =
        IndexBuilder::new(u64::try_from(raw.len()).unwrap(), CHUNK_SIZE_MIN, 1 << 20).unwrap();
    let (mut frame, mut raw_offset, mut packed_offset) = (Vec::new(), 0, 0);
    for piece in raw.chunks(usize::try_from(CHUNK_SIZE_MIN).unwrap()) {
        let packed = zstd.pack(piece, &mut frame).unwrap();
        let chunk = Chunk {
            raw_offset,
            raw_length: u32::try_from(piece.len()).unwrap(),
            packed_offset,
            packed_length: u32::try_from(frame.len()).unwrap(),
            raw_digest: packed.raw_digest,
            packed_digest: packed.packed_digest,
            zero: packed.zero,
        };
        builder.push(&chunk).unwrap();
        raw_offset += u64::from(chunk.raw_length);
        packed_offset += u64::from(chunk.packed_length);
    }
    builder.finish(packed_offset).unwrap()
}

/// 2.5 MiB: a chunk of data, a chunk of zeros, and half a chunk of data.
fn raw() -> Vec<u8> {
    let mut raw = vec![0_u8; 5 << 19];
    for (i, byte) in raw.iter_mut().enumerate() {
        if !((1 << 20)..(2 << 20)).contains(&i) {
            *byte = (i / 7).to_le_bytes()[0];
        }
    }
    raw
}

fn sample() -> Manifest {
    let index = index_of(&raw());
    Manifest {
        name: String::from("debian-12"),
        release: 7,
        os: System {
            family: String::from("debian"),
            name: String::from("Debian GNU/Linux"),
            version: String::from("12"),
            codename: String::from("bookworm"),
        },
        architecture: String::from("x86_64"),
        firmware: vec![String::from("bios"), String::from("uefi")],
        features: vec![String::from("lvm"), String::from("cloud-init")],
        images: vec![Image {
            file: String::from("debian-12.img.zst"),
            mount: Some(String::from("/")),
            whole_disk: false,
            filesystem: Some(Filesystem {
                kind: String::from("ext4"),
                uuid: String::from("7b5f5a7a-6c1e-4a40-9e9e-6a4c9a5f8a10"),
            }),
            sector_size: 512,
            raw_size: index.raw_size(),
            packed_size: index.packed_size(),
            raw_sha256: [1; 32],
            packed_sha256: [2; 32],
            raw_md5: Some([3; 16]),
            index,
        }],
    }
}

fn text(manifest: &Manifest) -> String {
    let mut bytes = Vec::new();
    manifest.write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn read(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::read(text.as_bytes(), &Limits::default())
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let manifest = sample();
    let text = text(&manifest);
    assert_eq!(read(&text).unwrap(), manifest);
    let image = &manifest.images[0];
    let chunks: Vec<Chunk> = image.index.iter().collect();
    assert_eq!(
        chunks.iter().map(|chunk| chunk.zero).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert_eq!(chunks[2].raw_length, 1 << 19);
    assert_eq!(manifest.image("debian-12.img.zst"), Some(image));
    assert_eq!(manifest.image("debian-12.img.gz"), None);
}

#[test]
fn what_is_written_looks_like_this() {
    let text = text(&sample());
    let (head, chunks) = text.split_once("\"packed_size\"").unwrap();
    insta::assert_snapshot!(head, @r#"
    {
      "version": 1,
      "name": "debian-12",
      "release": 7,
      "os": {"family":"debian","name":"Debian GNU/Linux","version":"12","codename":"bookworm"},
      "architecture": "x86_64",
      "firmware": ["bios","uefi"],
      "features": ["lvm","cloud-init"],
      "images": [
        {
          "file": "debian-12.img.zst",
          "mount": "/",
          "whole_disk": false,
          "filesystem": {"type":"ext4","uuid":"7b5f5a7a-6c1e-4a40-9e9e-6a4c9a5f8a10"},
          "sector_size": 512,
          "raw_size": 2621440,
    "#);
    assert_eq!(chunks.matches("{\"raw_offset\":").count(), 3);
}

#[test]
fn keys_that_nobody_knows_are_passed_over() {
    let text = text(&sample()).replacen('{', r#"{"licence": [{"deep": [1.5e3, null]}],"#, 1);
    let text = text.replacen(r#""file":"#, r#""colour": "green", "file":"#, 1);
    assert_eq!(read(&text).unwrap(), sample());
}

#[test]
fn a_disk_and_a_filesystem_without_identity_are_written_too() {
    let mut manifest = sample();
    let image = &mut manifest.images[0];
    (
        image.mount,
        image.whole_disk,
        image.filesystem,
        image.raw_md5,
    ) = (None, true, None, None);
    assert_eq!(read(&text(&manifest)).unwrap(), manifest);
    let image = &mut manifest.images[0];
    image.mount = Some(String::from("/srv/data"));
    image.whole_disk = false;
    image.filesystem = Some(Filesystem {
        kind: String::from("swap"),
        uuid: String::new(),
    });
    assert_eq!(read(&text(&manifest)).unwrap(), manifest);
}

/// The sample with the value at `pointer` replaced.
fn lying(pointer: &str, value: Value) -> String {
    let mut json: Value = serde_json::from_str(&text(&sample())).unwrap();
    *json
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer}")) = value;
    json.to_string()
}

/// (where, what it is made to say, what the error says).
const LIES: [(&str, &str, &str); 41] = [
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
    ("/images", "[]", "at images: there is no image in it"),
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
fn every_lie_is_refused_and_its_place_named() {
    for (pointer, value, says) in LIES {
        let text = lying(pointer, serde_json::from_str(value).unwrap());
        let error = read(&text).expect_err(pointer).to_string();
        assert!(error.contains(says), "{pointer} = {value}: {error}");
    }
}

#[test]
fn chunks_that_overlap_leave_holes_or_burst_are_refused() {
    let index = sample().images[0].index.clone();
    let first = index.chunk(0).unwrap().packed_length;
    let second = index.chunk(1).unwrap();
    for (pointer, value, says) in [
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
        let error = read(&lying(pointer, value.into()))
            .expect_err(pointer)
            .to_string();
        assert!(error.contains(says), "{pointer} = {value}: {error}");
    }
    // zeros that are none: what is said to be zero would never be fetched and never be checked
    let error = read(&lying("/images/0/chunks/0/zero", true.into())).unwrap_err();
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
    // two indexes share the memory that there is
    let small = Limits {
        index: 5 * 72,
        ..Limits::default()
    };
    let error = Manifest::read(text(&manifest).as_bytes(), &small).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("at images[1]: the index of 3 chunks needs 216 bytes, and 144 are allowed"),
        "{error}"
    );
}

#[test]
fn nothing_stands_twice_or_after_what_has_to_be_last() {
    let whole = text(&sample());
    for (old, new, says) in [
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
            "at the top: `images` has to be the last key",
        ),
        (
            "\n      ]\n    }",
            "\n      ], \"late\": 1}",
            "at images[0]: `chunks` has to be the last key",
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
        assert!(error.contains(says), "{new}: {error}");
    }
}

/// `head`, then `body` again and again; counts what is taken.
struct Endless<'a> {
    head: Cursor<&'a str>,
    body: &'a [u8],
    taken: &'a mut u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut n = self.head.read(buffer)?;
        while n == 0 || n + self.body.len() <= buffer.len() {
            let now = self.body.len().min(buffer.len() - n);
            buffer[n..n + now].copy_from_slice(&self.body[..now]);
            n += now;
        }
        *self.taken += u64::try_from(n).unwrap();
        Ok(n)
    }
}

/// What is read of an endless text, and why no more.
fn endless(head: &str, body: &str) -> (String, u64) {
    let mut taken = 0;
    let reader = Endless {
        head: Cursor::new(head),
        body: body.as_bytes(),
        taken: &mut taken,
    };
    let limits = Limits {
        text: 1 << 20,
        ..Limits::default()
    };
    let error = Manifest::read(reader, &limits).unwrap_err();
    (error.to_string(), taken)
}

#[test]
fn a_text_that_never_ends_is_given_up_early() {
    let whole = text(&sample());
    let (before, _) = whole.split_once("{\"raw_offset\"").unwrap();
    let chunk = whole
        .lines()
        .find(|line| line.contains("raw_offset\":0,"))
        .unwrap();
    for (head, body, says) in [
        (
            r#"{"name": ""#,
            "a",
            "a single value of more than 4096 bytes",
        ),
        (
            r#"{"name": ""#,
            r"\n",
            "a single value of more than 4096 bytes",
        ),
        (
            r#"{"release": 1"#,
            "0",
            "a single value of more than 4096 bytes",
        ),
        (r#"{"x": "#, "[", "values nested more than 32 deep"),
        (r#"{"x": "#, r#"{"a":"#, "values nested more than 32 deep"),
        (
            r#"{"features": ["lvm""#,
            r#","lvm""#,
            "a list of at most 64 words",
        ),
        (
            before,
            chunk,
            "at images[0].chunks[1]: `raw_offset` is 0, but",
        ),
    ] {
        let (error, taken) = endless(head, body);
        assert!(error.contains(says), "{head}: {error}");
        assert!(taken <= 256 << 10, "{head}: {taken} bytes were read");
    }
    for (head, body) in [
        (" ", " "),
        (r#"{"a":1"#, r#","a":1"#),
        (r#"{"x": [1"#, ",1"),
    ] {
        let (error, taken) = endless(head, body);
        assert!(error.contains("more than 1048576 bytes"), "{head}: {error}");
        assert!(taken <= 2 << 20, "{head}: {taken} bytes were read");
    }
}

#[test]
fn a_million_small_chunks_are_refused_before_memory_grows() {
    let (head, _) = text(&sample())
        .split_once("\"raw_size\"")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let tail = format!(
        "\"raw_size\": {}, \"packed_size\": 9, \"raw_sha256\": \"{z}\", \"packed_sha256\": \"{z}\", \"chunk_size\": 1048576, \"chunks\": [",
        1_u64 << 40,
        z = "00".repeat(32)
    );
    let (error, taken) = endless(&(head + &tail), "{}");
    assert!(
        error.contains("the index of 1048576 chunks needs 75497472 bytes, and 8388608 are allowed"),
        "{error}"
    );
    assert!(taken <= 128 << 10, "{taken} bytes were read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_image_is_read_as_it_was_written(sectors in 1_usize..6000, seed: u64, release: u64) {
        let mut raw = vec![0_u8; sectors * 512];
        // a few runs of data
        for k in 0..seed % 5 {
            let at = usize::try_from(seed.rotate_left(u32::try_from(k * 13).unwrap()) % 3_000_000).unwrap();
            if let Some(run) = raw.get_mut(at..) {
                let n = run.len().min(70_000);
                run[..n].fill(k.to_le_bytes()[0] + 1);
            }
        }
        let index = index_of(&raw);
        let mut manifest = sample();
        manifest.release = release;
        let image = &mut manifest.images[0];
        (image.raw_size, image.packed_size) = (index.raw_size(), index.packed_size());
        image.index = index;
        prop_assert_eq!(read(&text(&manifest)).unwrap(), manifest);
    }

    #[test]
    fn damage_anywhere_is_an_error_or_a_manifest_that_is_consistent(at in 0_usize..2200, byte: u8) {
        let mut bytes = text(&sample()).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(manifest) = Manifest::read(&bytes[..], &Limits::default()) {
            let image = &manifest.images[0];
            let raw: u64 = image.index.iter().map(|chunk| u64::from(chunk.raw_length)).sum();
            let packed: u64 = image.index.iter().map(|chunk| u64::from(chunk.packed_length)).sum();
            prop_assert_eq!((raw, packed), (image.raw_size, image.packed_size));
        }
        bytes.truncate(at);
        prop_assert!(Manifest::read(&bytes[..], &Limits::default()).is_err());
    }
}

#[test]
fn a_manifest_is_found_by_the_name_up_to_the_first_dot() {
    assert_eq!(
        manifest_file_name("debian-12.img.zst"),
        "debian-12.manifest.json"
    );
    assert_eq!(manifest_file_name("a.b.img.zst"), "a.manifest.json");
    assert_eq!(
        signature_file_name("a.manifest.json"),
        "a.manifest.json.minisig"
    );
}
