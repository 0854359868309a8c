//! Manifests written and read back.

mod bounds;
mod inconsistent;

use proptest::prelude::*;

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
fn unknown_keys_are_ignored() {
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
