//! `provision write`: onto files, and, where there are loop devices and root, onto a block device.

use std::fs;
use std::path::Path;

use host::blockdev::{Access, Devices};
use host::fake::FakeDevices;
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::partition_table::gpt::{Gpt, GptPartition};
use host::units::{Bytes, Extent};
use serde_json::Value;

use super::lab::{IMAGE, Lab, Left, equipped, gzip, tool};

/// A file full of what an older system might have left.
fn stale(lab: &Lab, name: &str, size: usize) -> String {
    let path = lab.path(name);
    fs::write(&path, vec![0xaa; size]).unwrap();
    path.display().to_string()
}

fn write(lab: &Lab, more: &[&str]) -> Left {
    let image = format!("--image={}", lab.server.url("/root.img.gz"));
    lab.call(&[&["write", &image, "--format=json"], more].concat())
}

fn outcome(left: &Left) -> Value {
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
    serde_json::from_str(&left.out).unwrap()
}

#[test]
fn an_image_is_written_to_a_file_and_to_nothing_behind_its_end() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let size = IMAGE.raw.len() + (4 << 20);
    let target = stale(&lab, "target.img", size);
    let outcome = outcome(&write(&lab, &["--target", &target]));
    assert_eq!(outcome["verified"], true);
    assert_eq!(outcome["raw_bytes"], IMAGE.raw.len());
    assert_eq!(outcome["fetched_bytes"], IMAGE.gzip.len());
    assert!(outcome["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    let written = fs::read(&target).unwrap();
    let (image, rest) = written.split_at(IMAGE.raw.len());
    assert!(image == IMAGE.raw, "the image is there");
    assert!(rest.iter().all(|byte| *byte == 0xaa) && written.len() == size);
}

#[test]
fn a_check_needs_no_target_and_writes_nothing() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let checked = outcome(&write(&lab, &["--check"]));
    assert_eq!(checked["device"], Value::Null);
    assert_eq!(checked["raw_bytes"], IMAGE.raw.len());
    let digest = "00000000000000000000000000000000";
    lab.mood.lock().unwrap().digest = Some(digest);
    let left = write(&lab, &["--check"]);
    assert_eq!(left.status, 6, "{}", left.error);
    assert!(left.error.contains(digest), "{}", left.error);
    let left = write(&lab, &[]);
    assert_eq!(left.status, 2, "neither a target nor a check");
    let left = write(&lab, &["--check", "--target=/dev/null"]);
    assert_eq!(left.status, 2, "both");
}

#[test]
fn warnings_are_listed_where_a_program_reads_the_outcome() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let warnings = |outcome: &Value| outcome["warnings"].as_array().unwrap().clone();
    let listed = warnings(&outcome(&write(&lab, &["--check"])));
    let texts: Vec<&str> = listed.iter().map(|it| it.as_str().unwrap()).collect();
    let count = |text: &str| texts.iter().filter(|it| it.contains(text)).count();
    assert_eq!(count("comes by plain http"), 1, "{texts:?}");
    assert_eq!(count("is vouched for by an md5 alone"), 1, "{texts:?}");
    // those of the settings too
    lab.put("provision.conf", "allow_unverified=no\n");
    let target = stale(&lab, "target.img", IMAGE.raw.len());
    let done = outcome(&write(&lab, &["--target", &target, "--allow-unverified"]));
    let listed = Value::from(warnings(&done)).to_string();
    assert!(
        listed.contains("`allow_unverified` of the command line is ignored"),
        "{listed}"
    );
    // where there is nothing to say the list is there all the same
    let raw = lab.path("raw.img");
    fs::write(&raw, &IMAGE.raw).unwrap();
    let line = tool("sha256sum", &[raw.to_str().unwrap()]);
    let digest = format!(
        "--digest=sha256:{}",
        line.split_whitespace().next().unwrap()
    );
    let image = format!("--image=file://{}", raw.display());
    lab.put("provision.conf", "");
    let left = lab.call(&["write", &image, "--check", &digest, "--format=json"]);
    assert!(warnings(&outcome(&left)).is_empty(), "{}", left.out);
}

#[test]
fn a_wrong_image_leaves_no_beginning_of_a_filesystem() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let target = stale(&lab, "target.img", IMAGE.raw.len());
    lab.mood.lock().unwrap().digest = Some("00000000000000000000000000000000");
    let left = write(&lab, &["--target", &target]);
    assert_eq!((left.status, left.out.as_str()), (6, ""));
    let written = fs::read(&target).unwrap();
    assert!(written[..1 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn what_is_wrong_beforehand_is_said_before_anything_is_written() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let target = stale(&lab, "target.img", IMAGE.raw.len());
    let small = stale(&lab, "small.img", 1 << 20);
    let other = lab.server.url("/nothing.img.gz");
    let digest = format!("--digest=md5:{}", "1".repeat(32));
    let refused = |args: &[&str], status: i32| {
        let left = lab.call(&[&["write", "--format=json"], args].concat());
        assert_eq!(left.status, status, "{args:?}: {}", left.error);
        for (file, size) in [(&target, IMAGE.raw.len()), (&small, 1 << 20)] {
            let content = fs::read(file).unwrap();
            assert!(content.len() == size && content.iter().all(|byte| *byte == 0xaa));
        }
    };
    let image = lab.server.url("/root.img.gz");
    refused(&["--image", &image, "--target", &small], 6);
    refused(&["--image", &image, "--target", &target, &digest], 6);
    refused(&["--image", &image, "--target=/nowhere"], 2);
    refused(&["--image", &other, "--target", &target], 6);
    // a file of its own, without any metadata beside it
    let alone = format!("file://{small}");
    refused(&["--image", &alone, "--target", &target], 5);
}

#[test]
fn a_digest_from_outside_does_where_there_is_no_metadata() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let source = stale(&lab, "alone.img", 1 << 20);
    let target = stale(&lab, "target.img", 2 << 20);
    let sum = tool("sha256sum", &[&source]);
    let digest = format!("--digest=sha256:{}", sum.split_whitespace().next().unwrap());
    let image = format!("--image=file://{source}");
    let left = lab.call(&["write", &image, "--target", &target, &digest]);
    assert_eq!(left.status, 0, "{}", left.error);
    assert!(left.out.contains("its digest is right"), "{}", left.out);
}

fn sha256(path: &str) -> String {
    let sum = tool("sha256sum", &[path]);
    format!("--digest=sha256:{}", sum.split_whitespace().next().unwrap())
}

#[test]
fn an_image_in_an_image_is_refused_by_name_before_anything_is_written() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let target = stale(&lab, "target.img", 4 << 20);
    let qcow2 = [&b"QFI\xfb\0\0\0\x03"[..], &[0; 4096]].concat();
    let vdi = [
        &b"<<< Oracle VM VirtualBox Disk Image >>>\n"[..],
        &[0; 4096],
    ]
    .concat();
    for (name, raw, is_packed, expected) in [
        ("qcow2.gz", qcow2.clone(), true, "holds qcow2 where"),
        ("image.gz.gz", gzip(&[1; 9000]), true, "holds gzip where"),
        (
            "vmdk.gz",
            [&b"KDMV"[..], &[0; 600]].concat(),
            true,
            "holds vmdk where",
        ),
        (
            "image.vdi",
            vdi.clone(),
            false,
            "is VDI, which cannot be written",
        ),
        ("vdi.gz", vdi, true, "holds VDI where"),
        (
            "image.vhdx",
            b"vhdxfile".repeat(100),
            false,
            "is VHDX, which",
        ),
        ("image.vhd", b"conectix".repeat(100), false, "is VHD, which"),
        ("broken.qcow2", qcow2, false, "cannot be read"),
    ] {
        let (plain, file) = (lab.path("plain"), lab.path(name));
        fs::write(&plain, &raw).unwrap();
        fs::write(&file, if is_packed { gzip(&raw) } else { raw }).unwrap();
        let digest = sha256(plain.to_str().unwrap());
        let image = format!("--image=file://{}", file.display());
        for more in [["--target", target.as_str()].as_slice(), &["--check"]] {
            let left = lab.call(&[&["write", image.as_str(), digest.as_str()], more].concat());
            assert_eq!(left.status, 6, "{name}: {}{}", left.out, left.error);
            assert!(left.error.contains(expected), "{name}: {}", left.error);
            assert!(left.error.contains("hint:") && left.error.contains(name));
            assert!(!left.error.contains("the request says"), "{}", left.error);
        }
        let content = fs::read(&target).unwrap();
        assert!(
            content.iter().all(|byte| *byte == 0xaa),
            "{name}: untouched"
        );
    }
}

#[test]
fn a_short_image_with_a_wrong_digest_leaves_nothing_of_the_old_beginning() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let digest = format!("--digest=sha256:{}", "1".repeat(64));
    for length in [512, 1000, 70_000] {
        let target = stale(&lab, "target.img", 2 << 20);
        let source = stale(&lab, "short.img", length);
        let image = format!("--image=file://{source}");
        let left = lab.call(&["write", &image, &digest, "--target", &target]);
        assert_eq!(left.status, 6, "{}", left.error);
        let content = fs::read(&target).unwrap();
        let (head, rest) = content.split_at(1 << 20);
        assert!(head.iter().all(|byte| *byte == 0), "{length}");
        assert!(rest.iter().all(|byte| *byte == 0xaa), "{length}");
    }
}

#[test]
fn a_disk_loses_what_the_image_does_not_cover_of_an_old_raid() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let size = IMAGE.raw.len() + (16 << 20);
    let Some(disk) = disk(&lab, size) else { return };
    let node = disk.path().display().to_string();
    // Intel's metadata are in the last sectors but one
    let mut old = vec![0; size];
    old[size - 1024..size - 1024 + 24].copy_from_slice(b"Intel Raid ISM Cfg Sig. ");
    fs::write(&node, &old).unwrap();
    outcome(&write(&lab, &["--target", &node]));
    let written = fs::read(&node).unwrap();
    assert!(written[..IMAGE.raw.len()] == IMAGE.raw);
    assert!(written[size - (1 << 20)..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_filesystem_does_not_take_the_place_of_a_partition_table() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let Some(disk) = disk(&lab, IMAGE.raw.len() + (16 << 20)) else {
        return;
    };
    let node = disk.path().display().to_string();
    let script = lab.path("script");
    fs::write(&script, "label: gpt\nsize=8MiB\n").unwrap();
    let command = format!("sfdisk --quiet --no-reread {node} < {}", script.display());
    tool("sh", &["-c", &command]);
    let before = fs::read(&node).unwrap();
    let left = write(&lab, &["--target", &node]);
    assert_eq!(left.status, 6, "{}", left.error);
    assert!(left.error.contains("has partitions (1)"), "{}", left.error);
    assert!(fs::read(&node).unwrap() == before, "untouched");
}

#[test]
fn a_device_that_is_read_only_is_refused_as_such() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let options = LoopOptions {
        read_only: true,
        ..LoopOptions::default()
    };
    let Some(disk) = disk_with(&lab, IMAGE.raw.len(), options) else {
        return;
    };
    let left = write(&lab, &["--target", &disk.path().display().to_string()]);
    assert_eq!(left.status, 5, "{}", left.error);
    assert!(left.error.contains("is read-only"), "{}", left.error);
    assert!(left.error.contains("blockdev --setrw"), "{}", left.error);
}

/// A loop device of `size` bytes, full of old bytes; none without root.
fn disk(lab: &Lab, size: usize) -> Option<LoopDevice> {
    disk_with(lab, size, LoopOptions::default())
}

fn disk_with(lab: &Lab, size: usize, options: LoopOptions) -> Option<LoopDevice> {
    let path = stale(lab, "disk.img", size);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    match LoopDevice::attach(&file, options) {
        Ok(disk) => Some(disk),
        Err(error) => {
            host::fake::skipped(format_args!("no loop device: {error}"));
            None
        }
    }
}

#[test]
fn a_disk_gets_the_image_and_loses_the_other_end_of_its_old_table() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let size = IMAGE.raw.len() + (4 << 20);
    let Some(disk) = disk(&lab, size) else { return };
    let node = disk.path().display().to_string();
    let mut old = fs::read(&node).unwrap();
    old[size - 512..size - 504].copy_from_slice(b"EFI PART");
    fs::write(&node, &old).unwrap();
    lab.mood.lock().unwrap().digest = Some("00000000000000000000000000000000");
    let left = write(&lab, &["--target", &node]);
    assert_eq!(left.status, 6, "{}", left.error);
    let last = |node: &str| fs::read(node).unwrap()[size - 512..].to_vec();
    assert_eq!(
        last(&node),
        [0; 512],
        "nothing starts by the old table's second copy"
    );
    lab.mood.lock().unwrap().digest = None;
    outcome(&write(&lab, &["--target", &node]));
    assert!(fs::read(&node).unwrap()[..IMAGE.raw.len()] == IMAGE.raw);
}

/// The image of a disk of 8 MiB: a GPT for sectors of that size, with one partition.
fn gpt_image(lab: &Lab, sector: u64) -> String {
    const DISK: &str = "/dev/sda";
    let size = Bytes(8 << 20);
    let partition = GptPartition {
        number: 1,
        extent: Extent::new(Bytes::MIB, Bytes(4 << 20)).unwrap(),
        type_guid: uuid::uuid!("0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
        guid: uuid::Uuid::from_u128(2),
        attributes: 0,
        name: String::new(),
    };
    let devices = FakeDevices::new().with_sectors(DISK, size, Bytes(sector));
    let table = Gpt::new(uuid::Uuid::from_u128(1), &[partition], size, Bytes(sector)).unwrap();
    let mut disk = devices.open(Path::new(DISK), Access::Write).unwrap();
    table.write(disk.as_mut()).unwrap();
    let whole = Extent::new(Bytes::ZERO, size).unwrap();
    let path = lab.path(&format!("gpt-{sector}.img"));
    fs::write(&path, devices.content(DISK, whole).unwrap()).unwrap();
    path.display().to_string()
}

#[test]
fn a_gpt_for_other_sectors_is_refused_before_anything_is_touched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let size = 16 << 20;
    let Some(disk) = disk(&lab, size) else { return };
    let node = disk.path().display().to_string();
    let write = |sector: u64| {
        let source = gpt_image(&lab, sector);
        let (image, digest) = (format!("--image=file://{source}"), sha256(&source));
        lab.call(&["write", &image, &digest, "--target", &node])
    };
    let left = write(4096);
    assert_eq!(left.status, 6, "{}{}", left.out, left.error);
    let what = format!("is for disks with sectors of 4 KiB, and those of {node} have 512 B");
    assert!(left.error.contains(&what), "{}", left.error);
    let untouched = fs::read(&node).unwrap();
    assert!(untouched.len() == size && untouched.iter().all(|byte| *byte == 0xaa));
    let left = write(512);
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
    let image = fs::read(gpt_image(&lab, 512)).unwrap();
    assert!(fs::read(&node).unwrap()[..image.len()] == image);
    for step in [
        format!("release: step 1 of 4: disarm {node}"),
        format!("image: step 4 of 4: have the kernel read the partition table of {node}"),
    ] {
        assert!(left.out.contains(&step), "{}", left.out);
    }
}

#[test]
fn a_disk_that_is_mounted_is_refused() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let Some(disk) = disk(&lab, 64 << 20) else {
        return;
    };
    let node = disk.path().display().to_string();
    tool("mkfs.ext2", &["-q", "-F", &node]);
    let place = lab.path("mounted");
    fs::create_dir(&place).unwrap();
    let mounted = Mounted::new(&node, &place);
    let left = write(&lab, &["--target", &node]);
    drop(mounted);
    assert_eq!(left.status, 5, "{}", left.error);
    assert!(left.error.contains("is in use"), "{}", left.error);
    tool("e2fsck", &["-fn", &node]);
}

/// A mount that ends with the test, also by a panic.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(node: &str, place: &'a Path) -> Self {
        tool("mount", &[node, place.to_str().unwrap()]);
        Self(place)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        tool("umount", &[self.0.to_str().unwrap()]);
    }
}
