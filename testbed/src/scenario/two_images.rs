//! Two packed images at the same time, each to its own disk.

use std::fs;

use anyhow::{Context, Result, ensure};
use host::exec::Exec;
use serde_json::Value;

use super::install::check_memory;
use super::steps::{admin_output, check_system, is_done, report, set_up_pull, spec};
use crate::lab::{Lab, TIMEOUT};
use crate::request::{DATA_MOUNT, Layout, RequestSpec};
use crate::shell;

/// Name of the second image.
const DATA: &str = "testbed-data";

/// Packs a filesystem with one file of incompressible bytes, so that its transfer takes as long as the first image's.
/// Prints the sha256 of that file. Paths are arguments, never part of the script.
const PACK_DATA: &str = r#"
    name=$1 mount=$2 builder=$3 images=$4
    export PATH=$PATH:/usr/sbin:/sbin
    rm -f "$images/$name.img.zst" "$images/$name.manifest.json"
    mkdir data
    head -c 384M /dev/urandom >data/data
    truncate -s 512M data.raw
    mkfs.ext4 -q -F -d data data.raw
    "$builder" pack data.raw --name "$name" --mount "$mount" --level 1 --out "$images" --architecture "$(uname -m)" >&2
    sha256sum data/data
    rm -r data data.raw
"#;

/// A node of 512 MiB writes the system to its first disk and, at the same time, data to the second one.
pub(super) fn two_images(lab: &mut Lab) -> Result<()> {
    let digest = pack_data(lab).context("cannot make the second image")?;
    let spec = RequestSpec {
        data: Some(format!("{DATA}.img.zst")),
        ..spec(lab, Layout::Plain, 2)?
    };
    set_up_pull(lab, &spec, "")?;
    let config = lab.vm_config(1, 512, 2);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    let report = report(lab)?;
    check_images(&report)?;
    check_memory(&report)?;
    check_ranges(lab, &spec)?;
    check_system(lab, mark, "/dev/vda")?;
    let source = admin_output(lab, &format!("findmnt -no SOURCE {DATA_MOUNT}"))?;
    ensure!(
        source.starts_with("/dev/vdb"),
        "{DATA_MOUNT} is on `{source}`"
    );
    let sum = admin_output(lab, &format!("sudo sha256sum {DATA_MOUNT}/data"))?;
    ensure!(
        sum.starts_with(&digest),
        "{DATA_MOUNT}/data has sha256 {sum}, not {digest}"
    );
    let size = admin_output(
        lab,
        &format!("df --block-size=1M --output=size {DATA_MOUNT}"),
    )?;
    let size = size.lines().last().unwrap_or_default().trim();
    ensure!(
        size.parse().is_ok_and(|size: u32| size > 900),
        "{DATA_MOUNT} was not grown to its partition: {size} MiB"
    );
    drop(vm);
    Ok(())
}

/// Makes the second image beside the first one; the sha256 of the file in it.
fn pack_data(lab: &mut Lab) -> Result<String> {
    let builder = std::env::current_exe()?.with_file_name("image-builder");
    ensure!(
        builder.exists(),
        "{} does not exist; `make image` builds it",
        builder.display()
    );
    let cmd = shell::command(PACK_DATA)
        .args(["pack-data", DATA, DATA_MOUNT])
        .arg(&builder)
        .arg(&lab.artifacts.images)
        .directory(&lab.work)
        .timeout(TIMEOUT);
    let output = lab.system.run(&cmd)?.stdout;
    let digest = output.split_whitespace().next();
    Ok(digest.context("sha256sum printed nothing")?.to_owned())
}

fn check_images(report: &Value) -> Result<()> {
    let empty = Vec::new();
    let images = report["images"].as_array().unwrap_or(&empty);
    let is_right = |image: &&Value| {
        image["verified"] == true
            && image["trust"] == "same-server"
            && image["packed"]["way"] == "full"
    };
    ensure!(
        images.len() == 2 && images.iter().filter(is_right).count() == 2,
        "the images are reported as {images:?}"
    );
    let steps = report["steps"].as_array().unwrap_or(&empty);
    let is_concurrent = |step: &Value| {
        let what = step["what"].as_str().unwrap_or_default();
        what.starts_with("at the same time, write ") && what.contains(DATA)
    };
    ensure!(
        steps.iter().any(is_concurrent),
        "no step writes both images at the same time"
    );
    Ok(())
}

/// In the log of the file server all requests for both images are range requests (206).
fn check_ranges(lab: &Lab, spec: &RequestSpec) -> Result<()> {
    let log = fs::read_to_string(lab.work.join("nginx-access.log"))
        .context("cannot read the file server's log")?;
    for file in [Some(&spec.image), spec.data.as_ref()]
        .into_iter()
        .flatten()
    {
        let asked = format!("\"GET /images/{file} ");
        let of_file = |line: &&str| line.contains(&asked);
        let answers: Vec<&str> = log.lines().filter(of_file).collect();
        ensure!(
            !answers.is_empty() && answers.iter().all(|line| line.contains("\" 206 ")),
            "{file} was fetched as {answers:?}"
        );
    }
    Ok(())
}
