//! Our own inputs (`testdata/requests`): each with the layout, or the problems, that it must yield.
//!
//! `UPDATE_GOLDEN=1 cargo test -p fuel-agent --test requests` writes the `.expect.txt` files anew; read their diff.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fuel_agent::model::digest::DocumentedDigests;
use fuel_agent::model::inventory::{Disk, Inventory};
use fuel_agent::model::operating_system::OperatingSystem;
use fuel_agent::model::request::{Container, Problem, Request};
use fuel_agent::model::sources::{SourceFacts, Sources};
use fuel_agent::plan;
use fuel_agent::request::{self, Context, Driver};
use host::units::Bytes;
use support::render;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/requests")
}

fn inputs() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("testdata is part of the repository")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "json" || end == "yaml")
        })
        .collect();
    found.sort();
    found
}

fn load(path: &Path) -> Result<Request, Vec<Problem>> {
    let text = std::fs::read_to_string(path).expect("readable");
    request::load(&text, Driver::Auto)
}

fn problems(list: &[Problem]) -> String {
    list.iter().fold(String::new(), |mut text, problem| {
        writeln!(text, "{problem}\n  hint: {}", problem.hint).expect("a string grows");
        text
    })
}

/// What the reader makes of `word` as the container of the image for `/`.
fn container(request: &str, word: &str) -> Result<Container, String> {
    let text = std::fs::read_to_string(folder().join(request)).expect("readable");
    let mut document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    document["ks_meta"]["image_data"]["/"]["container"] = word.into();
    match request::load(&document.to_string(), Driver::Auto) {
        Ok(request) => Ok(request.images[0].container),
        Err(found) => Err(problems(&found)),
    }
}

/// The messages about an archive for `/` in each of the dialects, its volume changed before.
fn archive(request: &str, change: impl FnOnce(&mut serde_json::Value)) -> Result<String, String> {
    let text = std::fs::read_to_string(folder().join(request)).expect("readable");
    let mut document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    document["ks_meta"]["image_data"]["/"]["format"] = "tar".into();
    change(&mut document);
    match request::load(&document.to_string(), Driver::Auto) {
        Ok(request) => {
            let image = &request.images[0];
            Ok(request.storage[image.filesystem].kind.to_string())
        }
        Err(found) => Err(problems(&found)),
    }
}

#[test]
fn an_archive_goes_into_the_filesystem_that_the_layout_names_in_every_dialect() {
    let format_of = |request: &str| archive(request, |_| {});
    assert_eq!(format_of("lvm-three-disks.json").as_deref(), Ok("ext4"));
    assert_eq!(format_of("ironic.json").as_deref(), Ok("ext4"));
    assert_eq!(format_of("simple.json").as_deref(), Ok("ext4"));
    let unnamed = archive("simple.json", |document| {
        let list = document["partitioning"]["fss"]
            .as_array_mut()
            .expect("a list");
        for filesystem in list {
            let filesystem = filesystem.as_object_mut().expect("an object");
            filesystem.remove("fs_type");
            filesystem.remove("fs_options");
        }
    });
    let why = unnamed.expect_err("nothing is guessed");
    let disk = archive("simple.json", |document| {
        document["ks_meta"]["image_data"]["/"]["container"] = "qcow2".into();
    });
    let why_not = disk.expect_err("a disk is no archive");
    assert!(
        why_not.contains(".container: is `qcow2`, which wraps a disk and no archive"),
        "{why_not}"
    );
    assert!(
        why.contains(
            ".fs_type: is missing, and the archive for `/` brings no filesystem of its own"
        ),
        "{why}"
    );
}

/// The digests of the image for `/` in `request`, with `value` as the key `key` of it, or the problems.
fn digest(request: &str, key: &str, value: serde_json::Value) -> Result<DocumentedDigests, String> {
    let text = std::fs::read_to_string(folder().join(request)).expect("readable");
    let mut document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    document["ks_meta"]["image_data"]["/"][key] = value;
    match request::load(&document.to_string(), Driver::Auto) {
        Ok(request) => Ok(request.images[0].digests.clone()),
        Err(found) => Err(problems(&found)),
    }
}

#[test]
fn an_image_has_its_digests_in_every_dialect() {
    for request in ["lvm-three-disks.json", "simple.json", "ironic.json"] {
        for (key, digits) in [("sha256", 64), ("blake3", 64), ("md5", 32)] {
            let given = "aB".repeat(digits / 2);
            let found = digest(request, key, given.as_str().into()).expect("a digest");
            let found: Vec<_> = found.iter().map(|(it, hex)| (it.name(), hex)).collect();
            assert_eq!(found, [(key, given.to_lowercase().as_str())], "{request}");
            let at = format!("ks_meta.image_data[\"/\"].{key}: ");
            for wrong in ["a".repeat(digits - 1), "g".repeat(digits), String::new()] {
                let why = digest(request, key, wrong.as_str().into()).expect_err("not one");
                let expected = format!(
                    "{at}`{wrong}` is not a {key} digest\n  hint: give the {digits} hexadecimal digits of the \
                     unpacked image\n"
                );
                assert_eq!(why, expected);
            }
            let why = digest(request, key, 7.into()).expect_err("not text");
            assert!(
                why.starts_with(&format!("{at}is an integer, not a string")),
                "{why}"
            );
        }
        let none = digest(request, "format", "ext4".into()).expect("without a digest");
        assert_eq!(none, DocumentedDigests::default());
    }
}

#[test]
fn a_container_has_its_word_and_nailgun_fewer_of_them() {
    for (word, meant) in [
        ("raw", Container::Raw),
        ("gzip", Container::Gzip),
        ("zstd", Container::Zstd),
        ("zst", Container::Zstd),
        ("xz", Container::Xz),
        ("bzip2", Container::Bzip2),
        ("bz2", Container::Bzip2),
        ("qcow2", Container::Qcow2),
    ] {
        for request in ["simple.json", "ironic.json"] {
            assert_eq!(container(request, word), Ok(meant), "{request} {word}");
        }
        let nailgun = container("lvm-three-disks.json", word);
        if matches!(meant, Container::Xz | Container::Bzip2 | Container::Qcow2) {
            let expected = format!("is `{word}`\n  hint: use `raw`, `gzip` or `zstd`\n");
            assert!(nailgun.is_err_and(|why| why.ends_with(&expected)), "{word}");
        } else {
            assert_eq!(nailgun, Ok(meant), "{word}");
        }
    }
    let expected = "hint: use `raw`, `gzip`, `zstd`, `xz`, `bzip2` or `qcow2`\n";
    assert!(container("simple.json", "rar").is_err_and(|why| why.ends_with(expected)));
}

#[test]
fn every_request_yields_what_stands_beside_it() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let inputs = inputs();
    assert!(inputs.len() > 30, "{inputs:?}");
    for path in inputs {
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        let text = match load(&path) {
            Ok(request) => {
                assert!(!name.ends_with("-error"), "{name} is accepted");
                render::request(&request) + &problems(&request.refusals)
            }
            Err(list) => {
                assert!(name.ends_with("-error"), "{name}: {list:#?}");
                problems(&list)
            }
        };
        for secret in ["not-a-real", "hunter2"] {
            assert!(!text.contains(secret), "{name} tells a secret");
        }
        let golden = folder().join(format!("{name}.expect.txt"));
        if update {
            std::fs::write(&golden, &text).expect("writable");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{name}");
    }
}

#[test]
fn the_digest_does_not_depend_on_how_the_request_is_written() {
    let json = load(&folder().join("lvm-three-disks.json")).expect("good");
    let yaml = load(&folder().join("lvm-three-disks.yaml")).expect("good");
    let other = load(&folder().join("two-images.json")).expect("good");
    assert_eq!(json.digest, yaml.digest);
    assert_ne!(json.digest, other.digest);
    assert_eq!(json.digest.len(), 64);
    assert_eq!(
        request::digest(&serde_json::json!({"b": [1, {"z": null, "y": "ü"}], "a": 1.5})),
        // printf '{"a":1.5,"b":[1,{"y":"ü","z":null}]}' | sha256sum
        "03c0f1a76eb31d9de207a2eff36b0cfa74d26ab0681cb0150ce536076a256324"
    );
}

#[test]
fn an_ironic_request_gets_a_configdrive_only_where_one_is_ready() {
    let text = std::fs::read_to_string(folder().join("ironic.json")).expect("readable");
    let load = |ready_configdrive| {
        let context = Context {
            driver: Driver::Ironic,
            ready_configdrive,
            ..Context::default()
        };
        request::load_with(&text, context)
    };
    for (ready, partitions) in [(None, 3), (Some(Bytes(20 << 20)), 4)] {
        let request = load(ready).expect("good");
        assert_eq!(request.storage.disks[0].partitions.len(), partitions);
        assert_eq!(request.configdrive.is_some(), ready.is_some());
    }
    let list = load(Some(Bytes((20 << 20) + 1))).expect_err("too large");
    assert!(
        problems(&list).contains("the ready-made configdrive has 20971521 B"),
        "{list:?}"
    );
}

#[test]
fn a_ready_configdrive_is_looked_at_before_anything_is_planned() {
    let text = std::fs::read_to_string(folder().join("ironic.json")).expect("readable");
    let load = |bytes: &[u8]| {
        let mut context = Context {
            driver: Driver::Ironic,
            ready_configdrive: Some(Bytes(u64::try_from(bytes.len()).expect("small"))),
            ..Context::default()
        };
        context.look_into(bytes.to_vec());
        request::load_with(&text, context)
    };
    let list = load(b"QFI\xfb, a disk image").expect_err("no configdrive");
    let text = problems(&list);
    assert!(
        text.contains("/tmp/config-drive.img is neither FAT, ISO 9660 nor ext"),
        "{text}"
    );
    let mut iso = vec![0; 64 << 10];
    for (at, field) in [
        (0x8000, &b"\x01CD001"[..]),
        (0x8028, b"config-2"),
        (0x8050, &32_u32.to_le_bytes()),
        (0x8080, &2048_u16.to_le_bytes()),
    ] {
        iso[at..at + field.len()].copy_from_slice(field);
    }
    assert!(load(&iso).expect("good").configdrive.is_some());
}

#[test]
fn the_yaml_of_the_root_image_overrules_the_guess_by_the_profile() {
    let request = load(&folder().join("raid-mirrors.json")).expect("good");
    let disk = |path: &str| Disk {
        path: path.to_owned(),
        size_bytes: Bytes(100 << 30),
        ..Disk::default()
    };
    let inventory = Inventory {
        disks: vec![disk("/dev/vda"), disk("/dev/vdb")],
        ..Inventory::default()
    };
    let centos = ("Centos", "6", "8");
    for (system, metadata, grub) in [(None, "default", 2), (Some(centos), "0.90", 1)] {
        let facts = SourceFacts {
            system: system.map(|(name, major, minor)| OperatingSystem::new(name, major, minor)),
            ..SourceFacts::default()
        };
        let mut sources = Sources::default();
        sources.images.insert(request.images[0].url.clone(), facts);
        let options = plan::Options::default();
        let ids = &mut plan::ids::CountedIds::default();
        let plan = plan::plan(&request, &inventory, &sources, &options, ids).expect("fits");
        assert_eq!(
            (plan.raids[0].metadata.as_str(), plan.boot.grub_version),
            (metadata, grub)
        );
    }
}

#[test]
fn the_dialect_is_found_out_or_asked_for() {
    for (text, driver, expected) in [
        ("{}", Driver::Auto, "no known dialect"),
        ("[]", Driver::Auto, "is not an object"),
        ("5", Driver::Ironic, "is not an object"),
        (r#"{"version": 1}"#, Driver::Auto, "not supported"),
        ("{}", Driver::Native, "not supported"),
        (r#"{"nodes": []}"#, Driver::Auto, "envelope"),
        (r#"{"partitioning": {}}"#, Driver::Auto, "is missing"),
        (r#"{"ks_meta": {}}"#, Driver::Auto, "is missing"),
        (r#"{"ks_meta": {"gw": ""}}"#, Driver::Auto, "is missing"),
    ] {
        let list = request::load(text, driver).expect_err(text);
        assert!(problems(&list).contains(expected), "{text}: {list:#?}");
    }
}
