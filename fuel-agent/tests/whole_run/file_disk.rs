//! Files that stand for disks: neither root nor a spare disk.

use std::fs;
use std::os::unix::fs::FileExt;

use fuel_agent::testing::fault_server::{Fault, ReceivedRequest, Reply};
use serde_json::{Value, json};

use super::lab::{IMAGE, Lab, Mood, equipped, gzip, signal, tool};

pub(crate) const DISK: &str = "--disk=sda=disk.img:2GiB";
pub(crate) const REQUEST: &str = "--input_data_file=request.json";

/// Extent of a partition in the file.
fn extent(table: &Value, number: usize) -> (u64, usize) {
    let partition = &table["partitiontable"]["partitions"][number - 1];
    let bytes = |key: &str| partition[key].as_u64().unwrap() * 512;
    (bytes("start"), usize::try_from(bytes("size")).unwrap())
}

/// A partition as a file of its own.
pub(crate) fn cut_out(lab: &Lab, number: usize) -> String {
    cut_out_of(lab, "disk.img", number)
}

/// The same of another disk.
fn cut_out_of(lab: &Lab, disk: &str, number: usize) -> String {
    let disk = lab.path(disk);
    let table = tool("sfdisk", &["--json", disk.to_str().unwrap()]);
    let (start, length) = extent(&serde_json::from_str(&table).unwrap(), number);
    let mut bytes = vec![0; length];
    let file = fs::File::open(&disk).unwrap();
    file.read_exact_at(&mut bytes, start).unwrap();
    let part = lab.path(&format!("part{number}"));
    fs::write(&part, bytes).unwrap();
    part.to_str().unwrap().to_owned()
}

#[test]
fn everything_but_what_needs_a_mount_is_done_and_the_run_ends_incomplete() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let success = format!("--set=success={}", lab.server.url("/built"));
    let left = lab.call(&["run", DISK, REQUEST, &success]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    let disk = lab.path("disk.img");
    tool("sfdisk", &["--verify", disk.to_str().unwrap()]);
    let root = cut_out(&lab, 3);
    tool("e2fsck", &["-fn", &root]);
    assert_eq!(
        tool("debugfs", &["-R", "cat /hello", &root]),
        "from the image\n"
    );
    let size = fs::metadata(&root).unwrap().len();
    assert_eq!(size, 256 << 20);
    let about = tool("debugfs", &["-R", "stats -h", &root]);
    let count = |name: &str| -> u64 {
        let line = about.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let grown = count("Block count:") * count("Block size:");
    assert_eq!(grown, 256 << 20, "grown to its partition");
    let swap = cut_out(&lab, 5);
    assert!(tool("blkid", &["-p", "-o", "export", &swap]).contains("TYPE=swap"));
    let report = lab.report();
    assert_eq!(report["result"], "incomplete");
    assert_eq!(report["images"][0]["verified"], true);
    assert_eq!(report["written_bytes"], IMAGE.raw.len());
    assert!(!report["incomplete"].as_array().unwrap().is_empty());
    assert!(lab.requests_to("/built").is_empty(), "no success is sent");
    assert_eq!(lab.call(&["status"]).status, 10);
}

#[test]
fn an_image_that_is_something_else_than_the_request_says_is_refused_before_anything_is_touched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let mut gpt = vec![0; 4 << 20];
    gpt[512..520].copy_from_slice(b"EFI PART");
    let xfs = [&b"XFSB"[..], &vec![0; 1 << 20]].concat();
    for (raw, expected) in [
        (
            [&b"QFI\xfb\0\0\0\x03"[..], &[0; 4096]].concat(),
            "holds qcow2 where",
        ),
        (gzip(&IMAGE.raw[..1 << 20]), "holds gzip where"),
        (gpt, "is the image of a whole disk"),
        (xfs, "holds `xfs`, the request says that it is `ext4`"),
        (vec![0; 1 << 20], "holds no `ext4`"),
        (Vec::new(), "is empty"),
    ] {
        fs::write(lab.path("plain"), &raw).unwrap();
        let sum = tool("sha256sum", &[lab.path("plain").to_str().unwrap()]);
        let sum = sum.split_whitespace().next().unwrap();
        fs::write(lab.path("other.img.gz"), gzip(&raw)).unwrap();
        let metadata = json!({"images": [{"container_name": "other.img.gz", "raw_sha256": sum}]});
        lab.put("other.yaml", &metadata.to_string());
        let mut request = lab.request("/root.img.gz");
        let url = format!("file://{}", lab.path("other.img.gz").display());
        request["ks_meta"]["image_data"]["/"]["uri"] = json!(url);
        lab.put("request.json", &request.to_string());
        let left = lab.call(&["validate", DISK, REQUEST]);
        assert_eq!(left.status, 6, "{expected}: {}{}", left.out, left.error);
        let left = lab.call(&["run", DISK, REQUEST]);
        assert_eq!(left.status, 6, "{expected}: {}{}", left.out, left.error);
        assert_eq!(lab.report()["touched"], false);
        let error = lab.report()["error"].to_string();
        assert!(
            error.contains(expected) && error.contains("other.img.gz"),
            "{error}"
        );
        assert!(lab.report()["error"]["hint"].is_string(), "{error}");
    }
}

/// Fuel's own layout: root and swap in a volume group, of which a machine that runs this may have one too.
fn in_volumes(request: &mut Value) {
    let mut volumes = disk_of("sda");
    volumes["volumes"] = json!([
        {"type": "boot", "size": 300},
        {"type": "raid", "mount": "/boot", "file_system": "ext2", "size": 100, "name": "Boot"},
        {"type": "pv", "vg": "os", "size": 700, "lvm_meta_size": 64},
    ]);
    let group = json!({"type": "vg", "id": "os", "label": "Base System", "volumes": [
        {"type": "lv", "mount": "/", "name": "root", "size": 256, "file_system": "ext4"},
        {"type": "lv", "mount": "swap", "name": "swap", "size": 64, "file_system": "swap"},
    ]});
    request["ks_meta"]["pm_data"]["ks_spaces"] = json!([volumes, group]);
}

/// The root in a mirror.
fn mirrored(request: &mut Value) {
    let disks = ["sda", "sdb"].map(|name| {
        let mut disk = disk_of(name);
        disk["volumes"] = json!([
            {"type": "boot", "size": 300},
            {"type": "raid", "mount": "/boot", "file_system": "ext2", "size": 100, "name": "Boot"},
            {"type": "raid", "mount": "/", "file_system": "ext4", "size": 256, "name": "Root"},
        ]);
        disk
    });
    request["ks_meta"]["pm_data"]["ks_spaces"] = json!(disks);
}

fn disk_of(name: &str) -> Value {
    json!({"type": "disk", "id": name, "name": name, "size": 20480, "free_space": 20000,
        "extra": [format!("disk/by-id/ata-{name}")]})
}

/// A change of the request.
type Layout = fn(&mut Value);

#[test]
fn what_needs_volumes_or_arrays_is_skipped_with_reasons_and_never_tried_on_this_machine() {
    if !equipped() {
        return;
    }
    let layouts: [(Layout, &str); 2] = [(in_volumes, "command=lvm "), (mirrored, "command=mdadm ")];
    for (layout, program) in layouts {
        let lab = Lab::new();
        let mut request = lab.request("/root.img.gz");
        layout(&mut request);
        lab.put("request.json", &request.to_string());
        let second = "--disk=sdb=second.img:2GiB";
        let left = lab.call(&["run", DISK, second, REQUEST, "--debug"]);
        assert_eq!(left.status, 10, "{program}{}{}", left.out, left.error);
        let report = lab.report();
        assert_eq!(report["result"], "incomplete");
        assert!(report["unclean"].as_array().is_none_or(Vec::is_empty));
        let reasons = report["incomplete"].to_string();
        for what in ["/etc/fstab", "needs a block device", "read back tables"] {
            assert!(reasons.contains(what), "`{what}` in {reasons}");
        }
        let log = fs::read_to_string(lab.path("run/provision.log")).unwrap();
        assert!(!log.contains(program), "{log}");
        assert!(!lab.path("run/work").exists(), "nothing temporary is left");
    }
}

#[test]
fn no_secret_of_the_request_reaches_log_report_or_output() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let header = "--set=failure.header=Authorization: t0ken";
    let failure = format!("--set=failure={}", lab.server.url("/failed?key=t0ken"));
    let left = lab.call(&["run", DISK, REQUEST, "--debug", header, &failure]);
    assert_eq!(left.status, 10);
    let log = fs::read_to_string(lab.path("run/provision.log")).unwrap();
    assert!(log.contains("mkswap"), "command lines are logged");
    let report = lab.report().to_string();
    for secret in ["not-a-real", "t0ken"] {
        for text in [&left.out, &left.error, &log, &report] {
            assert!(!text.contains(secret), "`{secret}` in {text}");
        }
    }
    let sent = lab.requests_to("/failed");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header("authorization"), Some("t0ken"));
}

#[test]
fn an_image_that_is_not_there_is_found_before_anything_is_touched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.put("request.json", &lab.request("/other.img.gz").to_string());
    let failure = format!("--set=failure={}", lab.server.url("/failed"));
    let left = lab.call(&["run", DISK, REQUEST, &failure]);
    assert_eq!(left.status, 6, "{}", left.error);
    assert!(!lab.path("disk.img").exists(), "no file is made");
    let sent: Value = serde_json::from_slice(&lab.requests_to("/failed")[0].body).unwrap();
    assert_eq!(sent["exit_status"], 6);
    assert_eq!(sent["touched"], false);
    assert_eq!(sent["hostname"], "web-03.example.net");
    assert_eq!(sent["mac"], "52:54:00:a1:00:01");
}

/// A change of what the server answers.
type Spoil = fn(&mut Mood);

/// The image's checksum, at its very end, is another one.
fn spoil_transfer(mood: &mut Mood) {
    mood.image = Some(|_, mut reply| {
        let length = reply.body.len();
        if length > 100_000 {
            reply.body[length - 6] ^= 1;
        }
        reply
    });
}

/// The image is whole, but its digest is not the stated one.
fn spoil_digest(mood: &mut Mood) {
    mood.digest = Some("00000000000000000000000000000000");
}

#[test]
fn an_image_that_is_not_what_it_should_be_fails_and_the_disk_does_not_boot() {
    if !equipped() {
        return;
    }
    let spoils: [Spoil; 2] = [spoil_transfer, spoil_digest];
    for spoil in spoils {
        let lab = Lab::new();
        spoil(&mut lab.mood.lock().unwrap());
        let failure = format!("--set=failure={}", lab.server.url("/failed"));
        let left = lab.call(&["run", DISK, REQUEST, "--dialect=json", &failure]);
        let got = (left.status, left.error.as_str());
        assert_eq!(got, (6, ""), "{}", left.out);
        let events: Vec<Value> = left
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of = |kind: &str| events.iter().rfind(|event| event["event"] == kind).unwrap();
        assert_eq!(of("error")["stage"], "image");
        assert_eq!(of("error")["touched"], true);
        assert_eq!(of("report")["report"]["exit_status"], 6);
        let sent: Value = serde_json::from_slice(&lab.requests_to("/failed")[0].body).unwrap();
        assert_eq!(sent["touched"], true);
        let mut code = [0; 440];
        let disk = fs::File::open(lab.path("disk.img")).unwrap();
        disk.read_exact_at(&mut code, 0).unwrap();
        assert!(!code.windows(4).any(|window| window == b"GRUB"));
        assert_eq!(lab.call(&["status"]).status, 6);
    }
}

/// A node with two disks, and an image for each.
fn two_disks(lab: &Lab) {
    lab.mood.lock().unwrap().has_other = true;
    let mut request = lab.request("/root.img.gz");
    let disks = &mut request["ks_meta"]["pm_data"]["ks_spaces"];
    let mut second = disk_of("sdb");
    second["volumes"] = json!([
        {"type": "boot", "size": 300},
        {"type": "partition", "mount": "/srv", "file_system": "ext4", "size": 128, "name": "Srv"},
    ]);
    disks.as_array_mut().unwrap().push(second);
    request["ks_meta"]["image_data"]["/srv"] =
        json!({"uri": lab.server.url("/other.img.gz"), "format": "ext4", "container": "gzip"});
    lab.put("request.json", &request.to_string());
}

const SECOND: &str = "--disk=sdb=second.img:2GiB";

/// Whether the image that this partition got begins with a filesystem.
fn holds_a_filesystem(lab: &Lab, disk: &str, number: usize) -> bool {
    let part = cut_out_of(lab, disk, number);
    fs::read(part).unwrap()[1080..1082] == [0x53, 0xef]
}

#[test]
fn two_images_are_written_at_the_same_time_and_both_are_whole() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    two_disks(&lab);
    let plan = lab.call(&["plan", DISK, SECOND, REQUEST]);
    assert!(plan.out.contains("at the same time, write"), "{}", plan.out);
    let left = lab.call(&["run", DISK, SECOND, REQUEST, "--dialect=json"]);
    assert_eq!(left.status, 10, "{}", left.out);
    let report = lab.report();
    for image in [0, 1] {
        assert_eq!(report["images"][image]["verified"], true, "{report}");
    }
    assert_eq!(report["written_bytes"], 2 * IMAGE.raw.len());
    for (disk, number) in [("disk.img", 3), ("second.img", 3)] {
        let part = cut_out_of(&lab, disk, number);
        tool("e2fsck", &["-fn", &part]);
        let hello = tool("debugfs", &["-R", "cat /hello", &part]);
        assert_eq!(hello, "from the image\n");
    }
    for name in ["root.img.gz to ", "other.img.gz to "] {
        assert!(left.out.contains(name), "{name} in {}", left.out);
    }
}

/// A change of what the server answers for one image.
type Change = fn(&ReceivedRequest, Reply) -> Reply;

#[test]
fn of_two_images_the_one_that_fails_stops_the_other_that_is_on_its_way() {
    if !equipped() {
        return;
    }
    let spoils: Change = |_, mut reply| {
        let length = reply.body.len();
        if length > 100_000 {
            reply.body[length - 6] ^= 1;
        }
        reply
    };
    let stalls: Change = |_, reply| {
        let stall = reply.body.len() > 100_000;
        reply.fault(if stall {
            Fault::StallAt(70_000)
        } else {
            Fault::None
        })
    };
    for (root, other, name) in [(spoils, stalls, "root"), (stalls, spoils, "other")] {
        let lab = Lab::new();
        two_disks(&lab);
        {
            let mut mood = lab.mood.lock().unwrap();
            (mood.image, mood.other) = (Some(root), Some(other));
        }
        let left = lab.call(&["run", DISK, SECOND, REQUEST]);
        assert_eq!(left.status, 6, "{}{}", left.out, left.error);
        let report = lab.report();
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains(name), "{message}");
        assert_eq!(report["error"]["stage"], "image");
        for disk in ["disk.img", "second.img"] {
            assert!(!holds_a_filesystem(&lab, disk, 3), "{disk}");
        }
    }
}

#[test]
fn sigterm_ends_a_run_with_130_after_clean_up() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.mood.lock().unwrap().image = Some(|_, reply| {
        // The beginning, which is probed beforehand, comes; the rest does not.
        let stall = reply.body.len() > 100_000;
        reply.fault(if stall {
            Fault::StallAt(70_000)
        } else {
            Fault::None
        })
    });
    let child = lab.start(&["run", DISK, REQUEST]);
    lab.until_image_flows();
    assert_eq!(lab.call(&["status"]).status, 22, "a run is under way");
    let second = lab.call(&["run", DISK, REQUEST, "--report=second.json"]);
    assert_eq!(second.status, 5, "{}", second.error);
    assert!(
        second.error.contains("another agent is running"),
        "{}",
        second.error
    );
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{error}");
    let report = lab.report();
    assert_eq!(report["result"], "interrupted");
    assert_eq!(report["error"]["stage"], "image");
    assert_eq!(report["retryable"], true);
    assert!(!lab.path("run/work").exists(), "nothing temporary is left");
    assert_eq!(lab.call(&["status"]).status, 130);
}

#[test]
fn a_lost_session_does_not_stop_a_run() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let mut child = lab.start(&["run", DISK, REQUEST]);
    // The reader of the output has gone, and the terminal hangs up.
    drop((child.stdout.take(), child.stderr.take()));
    lab.until_image_flows();
    signal(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(10));
    assert_eq!(lab.report()["images"][0]["verified"], true);
}
