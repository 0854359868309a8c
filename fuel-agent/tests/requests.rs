//! Our own inputs (`testdata/requests`): each with the layout, or the problems, that it must yield.
//!
//! `UPDATE_GOLDEN=1 cargo test -p fuel-agent --test requests` writes the `.expect.txt` files anew; read their diff.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fuel_agent::request::spec::Mount;
use fuel_agent::request::{self, Context, Driver, Problem, Request};
use support::scheme::device;

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

/// A request as a person would check it.
fn render(request: &Request) -> String {
    let storage = &request.storage;
    let on = |block| device(storage, block);
    let keep = |keep: bool| if keep { " keep" } else { "" };
    let mut lines = vec![format!("dialect {:?}", request.dialect)];
    for (index, disk) in storage.disks.iter().enumerate() {
        let boot = if disk.bootloader { ", boot code" } else { "" };
        lines.push(format!(
            "disk {} {:?}{boot}",
            support::scheme::disk(storage, index),
            disk.table
        ));
        for p in &disk.partitions {
            let (start, end) = (p.start.0 >> 20, (p.start.0 + p.size.0) >> 20);
            let guid = p
                .type_guid
                .as_deref()
                .map_or(String::new(), |guid| format!(" type {guid}"));
            let flags = if p.flags.is_empty() {
                String::new()
            } else {
                format!(" flags {}", p.flags.join(","))
            };
            lines.push(format!(
                "  {} {start}..{end} {:?}{guid}{flags}{}",
                p.number,
                p.role,
                keep(p.keep_data)
            ));
        }
    }
    for raid in &storage.raids {
        let members: Vec<String> = raid.members.iter().map(|m| on(*m)).collect();
        let spares: Vec<String> = raid.spares.iter().map(|m| on(*m)).collect();
        lines.push(format!(
            "raid {} {} {} of {} spares {}",
            raid.device,
            raid.level,
            raid.metadata,
            members.join(" "),
            spares.join(" ")
        ));
    }
    for pv in &storage.physical_volumes {
        lines.push(format!(
            "pv {} {} x {}",
            on(pv.on),
            pv.metadata_copies,
            pv.metadata_size
        ));
    }
    for vg in &storage.volume_groups {
        let pvs: Vec<String> = vg
            .physical_volumes
            .iter()
            .map(|&pv| on(storage.physical_volumes[pv].on))
            .collect();
        lines.push(format!(
            "vg {} on {}{}",
            vg.name,
            pvs.join(" "),
            keep(vg.keep_data)
        ));
    }
    for lv in &storage.logical_volumes {
        lines.push(format!(
            "lv {} {}{}",
            lv.device(),
            lv.size,
            keep(lv.keep_data)
        ));
    }
    for fs in &storage.filesystems {
        let mount = fs.mount.as_ref().map_or("nowhere", Mount::as_str);
        lines.push(format!(
            "fs {} {} on {mount} `{}` `{}`{}",
            on(fs.on),
            fs.kind,
            fs.label,
            fs.options,
            keep(fs.keep_data)
        ));
    }
    for image in &request.images {
        let target = on(storage.filesystems[image.filesystem].on);
        lines.push(format!(
            "image {} {:?} {} -> {target}",
            image.url, image.container, image.format
        ));
    }
    lines.push(format!(
        "configdrive {}",
        request.configdrive.map_or("none".to_owned(), on)
    ));
    lines.push(format!(
        "boot grub {} {:?} `{}`",
        request.boot.grub_version, request.boot.system, request.boot.kernel_params
    ));
    lines.push(format!("keeps anything: {}", storage.keeps_anything()));
    if let Some(node) = &request.node {
        lines.push(format!("node {node:#?}"));
    }
    for warning in &request.warnings {
        lines.push(format!("warning: {warning}"));
    }
    lines.join("\n") + "\n" + &problems(&request.refusals)
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
                render(&request)
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
    for (ready_configdrive, partitions) in [(false, 3), (true, 4)] {
        let context = Context {
            driver: Driver::Ironic,
            ready_configdrive,
        };
        let request = request::load_with(&text, context).expect("good");
        assert_eq!(request.storage.disks[0].partitions.len(), partitions);
        assert_eq!(request.configdrive.is_some(), ready_configdrive);
    }
}

#[test]
fn the_dialect_is_found_out_or_asked_for() {
    for (text, driver, told) in [
        ("{}", Driver::Auto, "no known dialect"),
        ("[]", Driver::Auto, "no object"),
        ("5", Driver::Ironic, "no object"),
        (r#"{"version": 1}"#, Driver::Auto, "not supported"),
        ("{}", Driver::Native, "not supported"),
        (r#"{"nodes": []}"#, Driver::Auto, "envelope"),
        (r#"{"partitioning": {}}"#, Driver::Auto, "is missing"),
        (r#"{"ks_meta": {}}"#, Driver::Auto, "is missing"),
        (r#"{"ks_meta": {"gw": ""}}"#, Driver::Auto, "is missing"),
    ] {
        let list = request::load(text, driver).expect_err(text);
        assert!(problems(&list).contains(told), "{text}: {list:#?}");
    }
}
