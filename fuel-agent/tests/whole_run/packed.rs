//! Packed images in whole runs: planned with their cost, written by chunks, written again for what differs, and refused
//! where a signature is required.

use std::fs;

use os_image::codec::Packer;
use os_image::index::{Chunk, IndexBuilder};
use os_image::manifest::{Filesystem, Image, Manifest, System};
use serde_json::{Value, json};
use sha2::Digest;

use super::file_disk::{DISK, REQUEST};
use super::lab::{IMAGE, Lab, equipped};

const CHUNK: u32 = 1 << 20;

/// The lab's image in chunks: the data file and the manifest.
pub(crate) fn packed() -> (Vec<u8>, Manifest) {
    pack("sys", &IMAGE.raw, "ext4", "/")
}

/// An image in chunks, with a filesystem of this type for that mount point.
pub(crate) fn pack(name: &str, raw: &[u8], kind: &str, mount: &str) -> (Vec<u8>, Manifest) {
    let mut packer = Packer::new(1).unwrap();
    let (mut data, mut frame) = (Vec::new(), Vec::new());
    let raw_size = u64::try_from(raw.len()).unwrap();
    let mut index = IndexBuilder::new(raw_size, CHUNK, 1 << 20).unwrap();
    let mut raw_offset = 0;
    for piece in raw.chunks(usize::try_from(CHUNK).unwrap()) {
        let found = packer.pack(piece, &mut frame).unwrap();
        let chunk = Chunk {
            raw_offset,
            raw_length: u32::try_from(piece.len()).unwrap(),
            packed_offset: u64::try_from(data.len()).unwrap(),
            packed_length: u32::try_from(frame.len()).unwrap(),
            raw_digest: found.raw_digest,
            packed_digest: found.packed_digest,
            zero: found.zero,
        };
        index.push(&chunk).unwrap();
        raw_offset += u64::from(chunk.raw_length);
        data.extend_from_slice(&frame);
    }
    let packed_size = u64::try_from(data.len()).unwrap();
    let manifest = Manifest {
        name: name.to_owned(),
        release: 3,
        os: System::default(),
        architecture: std::env::consts::ARCH.to_owned(),
        firmware: vec!["bios".to_owned(), "uefi".to_owned()],
        features: vec!["cloud-init".to_owned()],
        images: vec![Image {
            file: format!("{name}.img.zst"),
            mount: Some(mount.to_owned()),
            whole_disk: false,
            filesystem: Some(Filesystem {
                kind: kind.to_owned(),
                uuid: String::new(),
            }),
            sector_size: 512,
            raw_size,
            packed_size,
            raw_sha256: sha2::Sha256::digest(raw).into(),
            packed_sha256: sha2::Sha256::digest(&data).into(),
            raw_md5: None,
            index: index.finish(packed_size).unwrap(),
        }],
    };
    (data, manifest)
}

/// A lab whose request asks for the packed image, in the lab's own folder.
pub(crate) fn lab() -> Lab {
    let lab = Lab::new();
    let (data, manifest) = packed();
    let mut text = Vec::new();
    manifest.write(&mut text).unwrap();
    fs::write(lab.path("sys.img.zst"), data).unwrap();
    fs::write(lab.path("sys.manifest.json"), text).unwrap();
    let mut request = lab.request("/root.img.gz");
    let uri = format!("file://{}", lab.path("sys.img.zst").display());
    request["ks_meta"]["image_data"]["/"] =
        json!({"uri": uri, "format": "ext4", "container": "zstd"});
    lab.put("request.json", &request.to_string());
    lab
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn a_plan_names_the_release_and_what_it_costs() {
    if !equipped() {
        return;
    }
    let left = lab().call(&["plan", DISK, REQUEST, "--format=json"]);
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
    let plan: Value = serde_json::from_str(&left.out).unwrap();
    let packed = &plan["images"][0]["packed"];
    assert_eq!(
        (&packed["name"], &packed["release"]),
        (&json!("sys"), &json!(3))
    );
    assert!(bytes(&packed["full"]["write_bytes"]) < bytes(&packed["delta"]["read_bytes"]));
}

#[test]
fn a_second_run_fetches_what_differs_and_nothing_else() {
    if !equipped() {
        return;
    }
    let lab = lab();
    let image = |more: &str| {
        let left = lab.call(&["run", DISK, REQUEST, more]);
        assert_eq!(left.status, 10, "{}{}", left.out, left.error);
        lab.report()["images"][0].clone()
    };
    let first = image("--set=delta=auto");
    assert_eq!(
        (&first["verified"], &first["packed"]["way"]),
        (&json!(true), &json!("full"))
    );
    assert_eq!(first["packed"]["why"], "the target is blank");
    let second = image("--set=delta=always");
    assert_eq!(second["raw_sha256"], first["raw_sha256"]);
    assert!(
        bytes(&second["fetched_bytes"]) < bytes(&first["fetched_bytes"]),
        "{second}"
    );
    assert!(bytes(&second["packed"]["kept_bytes"]) > 0, "{second}");
}

#[test]
fn where_keys_are_trusted_an_unsigned_image_is_refused_and_nothing_is_touched() {
    if !equipped() {
        return;
    }
    let lab = lab();
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    for (setting, why) in [
        (format!("trusted_key={key}\n"), "is not signed"),
        (
            "require_signature=yes\n".to_owned(),
            "no trusted key has signed",
        ),
        (
            "min_release=4\n".to_owned(),
            "is release 3 of `sys`, and 4 is the oldest",
        ),
    ] {
        lab.put("provision.conf", &setting);
        let left = lab.call(&["run", DISK, REQUEST]);
        assert_eq!(left.status, 6, "{setting}{}{}", left.out, left.error);
        let report = lab.report();
        assert!(report["error"].to_string().contains(why), "{report}");
        assert_eq!(report["touched"], false);
    }
}

#[test]
fn write_writes_by_chunks_too() {
    if !equipped() {
        return;
    }
    let lab = lab();
    fs::write(lab.path("target"), vec![0xaa; IMAGE.raw.len()]).unwrap();
    let image = format!("--image=file://{}", lab.path("sys.img.zst").display());
    let left = lab.call(&["write", &image, "--target=target", "--format=json"]);
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
    let printed: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(printed["packed"]["release"], 3);
    assert!(fs::read(lab.path("target")).unwrap() == IMAGE.raw);
    let left = lab.call(&["write", &image, "--check", "--format=json"]);
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
}
