//! A node that is installed from a root archive of the demo's system.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use host::exec::{Cmd, Exec};
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::mount::{KernelMounts, MountMode, Mounts};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::install::check_memory;
use super::steps::{admin_output, check_system, is_done, report, set_up_pull, spec};
use crate::lab::Lab;
use crate::request::Layout;
use crate::tools::Tool;

/// File names of the archive and its metadata on the file server.
const ARCHIVE: &str = "testbed-root.tar.zst";
const METADATA: &str = "testbed-root.yaml";

/// A node of 512 MiB is installed from the archive, and every file is as in its package.
pub(super) fn root_archive(lab: &mut Lab) -> Result<()> {
    make(lab)?;
    let mut spec = spec(lab, Layout::Lvm, 1)?;
    ARCHIVE.clone_into(&mut spec.image);
    set_up_pull(lab, &spec, "")?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    let report = report(lab)?;
    check_memory(&report)?;
    ensure!(
        report["images"][0]["verified"] == true && report["images"][0]["trust"] == "same-server",
        "the archive was not verified"
    );
    check_system(lab, mark, "/dev/mapper/os-root")?;
    let sudo = admin_output(lab, "stat -c '%a %u %g' /usr/bin/sudo")?;
    ensure!(sudo == "4755 0 0", "mode and owner of sudo are {sudo}");
    // A line for each file that differs from its package. Configuration may differ, and the image has no documentation.
    let verify = "sudo dpkg --verify | grep -v -e ' c /' -e '^missing  */usr/share/' | head";
    let changed = admin_output(lab, verify)?;
    ensure!(
        changed.is_empty(),
        "files differ from their packages:\n{changed}"
    );
    drop(vm);
    Ok(())
}

/// Makes the archive of the image's filesystem, and the metadata beside it.
fn make(lab: &mut Lab) -> Result<()> {
    let images = lab.artifacts.images.clone();
    let (raw, plain) = (lab.work.join("root.img"), lab.work.join("root.tar"));
    let packed = File::open(images.join(&lab.artifacts.image)).context("cannot open the image")?;
    let mut unpacked = File::create(&raw).context("cannot create the unpacked image")?;
    zstd::stream::copy_decode(packed, &mut unpacked).context("cannot unpack the image")?;
    drop(unpacked);
    tar(lab, &raw, &plain)?;
    fs::remove_file(&raw).context("cannot remove the image")?;
    let (length, digest) =
        pack(&plain, &images.join(ARCHIVE)).context("cannot pack the archive")?;
    fs::remove_file(&plain).context("cannot remove the archive")?;
    // JSON is YAML
    let metadata = json!({"images": [{"container_name": ARCHIVE, "container": "zstd", "format": "tar",
        "raw_size": length, "raw_sha256": digest}]});
    fs::write(images.join(METADATA), format!("{metadata:#}\n")).context("cannot write the metadata")
}

/// Archives the filesystem of an image with the options of docs/images.md.
fn tar(lab: &mut Lab, image: &Path, archive: &Path) -> Result<()> {
    let file = File::open(image).context("cannot open the image")?;
    let options = LoopOptions {
        read_only: true,
        ..LoopOptions::default()
    };
    let device = LoopDevice::attach(&file, options).context("cannot attach the image")?;
    let folder = lab.work.join("root");
    fs::create_dir_all(&folder).context("cannot make a mount point")?;
    KernelMounts
        .mount(device.path(), &folder, "ext4", MountMode::ReadOnly)
        .context("cannot mount the image")?;
    let cmd = Cmd::new(Tool::Tar)
        .args(["--create", "--one-file-system", "--numeric-owner"])
        .args(["--sparse", "--xattrs", "--exclude=./lost+found", "-C"])
        .arg(&folder)
        .arg("-f")
        .arg(archive)
        .arg(".");
    let made = lab.system.run(&cmd).context("cannot archive the image");
    let unmounted = KernelMounts.unmount(&folder);
    made?;
    unmounted.context("cannot unmount the image")
}

/// Compresses a file; its length and sha256 before compression.
fn pack(from: &Path, to: &Path) -> io::Result<(u64, String)> {
    let mut source = BufReader::new(File::open(from)?);
    let mut target = zstd::Encoder::new(File::create(to)?, 3)?;
    let (mut length, mut hasher) = (0, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        target.write_all(&buffer[..count])?;
        length += u64::try_from(count).map_err(io::Error::other)?;
    }
    target.finish()?.sync_all()?;
    let digest = hasher.finalize();
    let digits = digest.iter();
    let digest = digits.fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Ok((length, digest))
}
