//! Loop devices: block devices of the kernel, with mounts, boot code, stamp and completion. Skipped without root, and
//! where GRUB is not installed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::mount::{KernelMounts, MountMode, Mounts};
use serde_json::{Value, json};

use super::lab::{Lab, equipped, signal, tool};

/// A lab with a disk.
pub(crate) struct Node {
    pub(crate) lab: Lab,
    pub(crate) disk: LoopDevice,
}

impl Node {
    pub(crate) fn new() -> Option<Self> {
        Self::of(LoopOptions::default())
    }

    fn of(options: LoopOptions) -> Option<Self> {
        if !equipped() {
            return None;
        }
        if !Path::new("/usr/lib/grub/i386-pc/normal.mod").exists() {
            host::fake::skipped("there is no GRUB for BIOS");
            return None;
        }
        let lab = Lab::new();
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(lab.path("disk.img"))
            .unwrap();
        file.set_len(2 << 30).unwrap();
        let disk = match LoopDevice::attach(&file, options) {
            Ok(disk) => disk,
            Err(error) => {
                host::fake::skipped(format_args!("no loop device: {error}"));
                return None;
            }
        };
        let node = json!({"disks": [{"path": disk.path(), "size_bytes": 2_u64 << 30, "serial": "LAB",
            "links": ["/dev/disk/by-id/ata-lab"]}], "firmware": "bios", "architecture": "x86_64"});
        lab.put("inventory.json", &node.to_string());
        Some(Self { lab, disk })
    }

    /// Runs; `input` is the source of the request.
    fn run(&self, input: &[&str]) -> i32 {
        let success = format!(
            "--set=success={}",
            self.lab.server.url("/built?instance={instance_id}")
        );
        let common = [
            "run",
            "--inventory=inventory.json",
            "--set=end=none",
            "--set=notify.budget=1s",
            &success,
        ];
        let left = self.lab.call(&[&common, input].concat());
        println!("{}{}", left.out, left.error);
        left.status
    }

    pub(crate) fn push(&self) -> i32 {
        self.run(&["--input_data_file=request.json"])
    }

    pub(crate) fn pull(&self, more: &[&str]) -> i32 {
        let url = self.lab.server.url("/request.json?mac={mac}");
        self.run(&[&["--url", url.as_str()], more].concat())
    }

    /// Pushes, and sends SIGTERM as soon as that stage begins.
    pub(crate) fn stopped_in(&self, stage: &str) -> i32 {
        let success = format!("--set=success={}", self.lab.server.url("/built"));
        let failure = format!("--set=failure={}", self.lab.server.url("/failed"));
        let mut child = self.lab.start(&[
            "run",
            "--inventory=inventory.json",
            "--input_data_file=request.json",
            "--set=end=none",
            "--dialect=json",
            &success,
            &failure,
        ]);
        let out = BufReader::new(child.stdout.take().unwrap());
        for line in out.lines() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == "stage-start" && event["stage"] == stage {
                signal(&child, "TERM");
            }
        }
        child.wait().unwrap().code().expect("no signal ends it")
    }

    /// Whether a BIOS would find GRUB on the disk.
    pub(crate) fn is_armed(&self) -> bool {
        let mut code = [0; 440];
        let disk = fs::File::open(self.disk.path()).unwrap();
        disk.read_exact_at(&mut code, 0).unwrap();
        code.windows(4).any(|window| window == b"GRUB")
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.contains(self.disk.path().to_str().unwrap())
    }

    /// How often the image was fetched, apart from its beginning.
    fn fetched(&self) -> usize {
        let requests = self.lab.requests_to("/root.img.gz");
        let whole = requests
            .iter()
            .filter(|it| it.method == "GET" && it.range().is_none_or(|range| range.1.is_none()));
        whole.count()
    }

    fn sent(&self) -> Vec<String> {
        let requests = self.lab.requests_to("/built");
        requests.into_iter().map(|request| request.target).collect()
    }
}

#[test]
fn a_pushed_run_installs_each_time_and_a_pulled_one_only_what_is_not_there() {
    let Some(node) = Node::new() else { return };
    assert_eq!(node.push(), 0);
    let report = node.lab.report();
    assert_eq!(report["result"], "installed");
    assert_eq!(
        report["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|step| step["outcome"] == "skipped")
            .count(),
        0
    );
    let first = report["instance_id"].as_str().unwrap().to_owned();
    assert_eq!(node.sent(), [format!("/built?instance={first}")]);
    assert_eq!(node.fetched(), 1);

    assert_eq!(
        node.pull(&[]),
        0,
        "it is as asked: the completion is repeated"
    );
    assert_eq!(node.fetched(), 1);
    assert_eq!(node.lab.report()["result"], "already-installed");
    assert_eq!(node.lab.report()["already_installed"], true);
    assert_eq!(node.lab.report()["touched"], false);
    let log = fs::read_to_string(node.lab.path("run/provision.log")).unwrap();
    assert!(log.contains("result: already-installed"), "{log}");
    assert_eq!(node.sent()[1], format!("/built?instance={first}"));

    assert_eq!(
        node.push(),
        0,
        "the same request, pushed: it is installed again"
    );
    assert_eq!(node.fetched(), 2);
    let second = node.lab.report()["instance_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);

    let mut request: Value = node.lab.request("/root.img.gz");
    request["ks_meta"]["timezone"] = json!("Europe/Rome");
    node.lab.put("request.json", &request.to_string());
    assert_eq!(node.pull(&[]), 0, "another request, pulled");
    assert_eq!(node.fetched(), 3);

    request["generation"] = json!(2);
    node.lab.put("request.json", &request.to_string());
    assert_eq!(node.pull(&[]), 0, "the same request, another generation");
    assert_eq!(node.fetched(), 4);
    assert_eq!(node.lab.report()["result"], "installed");
    assert_eq!(node.lab.report()["generation"], "2");
    assert_eq!(node.pull(&[]), 0);
    assert_eq!(node.fetched(), 4);
    assert_eq!(node.lab.report()["result"], "already-installed");
}

#[test]
fn a_completion_that_is_not_accepted_stays_owed_until_it_is() {
    let Some(node) = Node::new() else { return };
    node.lab.mood.lock().unwrap().built = vec![503];
    assert_eq!(node.push(), 9);
    assert!(node.sent().len() > 1, "it is tried again");
    assert_eq!(node.lab.report()["result"], "installed-not-accepted");
    assert_eq!(node.lab.call(&["status"]).status, 20);
    node.lab.mood.lock().unwrap().built = vec![500, 200];
    let left = node.lab.call(&["notify", "--until-accepted"]);
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
    assert_eq!(node.lab.call(&["notify"]).out, "nothing is owed\n");
}

#[test]
fn nothing_of_a_run_is_left_mounted_or_in_the_way() {
    let Some(node) = Node::new() else { return };
    // An image without a kernel cannot be made bootable: the run fails while the target is mounted.
    let unusable = "--set=grub=/nonexistent";
    let left = node.lab.call(&[
        "run",
        "--inventory=inventory.json",
        "--input_data_file=request.json",
        unusable,
    ]);
    assert_eq!(left.status, 7, "{}", left.error);
    assert!(
        !node.lab.report()["touched"].as_bool().unwrap(),
        "that is known before"
    );
    assert_eq!(node.push(), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let disk = node.disk.path().to_str().unwrap();
    assert!(!mounts.contains(disk), "{mounts}");
    assert!(!node.lab.path("run/work").exists());
}

/// Unmounts, whatever became of the test.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = KernelMounts.unmount(&self.0);
    }
}

#[test]
fn a_disk_that_somebody_has_mounted_is_refused_untouched_whatever_the_inventory_says() {
    let Some(node) = Node::new() else { return };
    let disk = node.disk.path().to_str().unwrap();
    tool("mkfs.ext4", &["-q", "-F", disk]);
    let folder = node.lab.path("mounted");
    fs::create_dir(&folder).unwrap();
    KernelMounts
        .mount(node.disk.path(), &folder, "ext4", MountMode::Write)
        .unwrap();
    let mounted = Mounted(folder.clone());
    fs::write(folder.join("data"), "somebody's").unwrap();
    let before = tool("blkid", &["-p", "-o", "export", disk]);
    assert_eq!(node.push(), 5);
    assert_eq!(node.lab.report()["touched"], false);
    assert_eq!(fs::read(folder.join("data")).unwrap(), b"somebody's");
    drop(mounted);
    assert_eq!(tool("blkid", &["-p", "-o", "export", disk]), before);
    assert_eq!(node.push(), 0, "once it is free it is taken");
}

#[test]
fn a_disk_that_cannot_be_written_to_is_refused_untouched() {
    let Some(node) = Node::of(LoopOptions {
        read_only: true,
        ..LoopOptions::default()
    }) else {
        return;
    };
    assert_eq!(node.push(), 5);
    assert_eq!(node.lab.report()["touched"], false);
    let error = node.lab.report()["error"].to_string();
    assert!(error.contains("is read-only"), "{error}");
}

#[test]
fn a_disk_that_is_not_as_its_inventory_says_is_refused_untouched() {
    let Some(node) = Node::new() else { return };
    let disk = fs::File::options()
        .write(true)
        .open(node.disk.path())
        .unwrap();
    disk.write_all_at(b"boot code of another system", 0)
        .unwrap();
    let (path, size) = (node.disk.path(), 2_u64 << 30);
    // GRUB starts from no disk with sectors of 4096 bytes on a BIOS node: that would be refused before
    for (size, sector, firmware, what) in [
        (4 << 30, 512, "bios", "the size of"),
        (size - (1 << 20), 512, "bios", "the size of"),
        (size, 4096, "uefi", "the sector size of"),
    ] {
        if firmware == "uefi" && !Path::new("/usr/lib/grub/x86_64-efi/normal.mod").exists() {
            host::fake::skipped("there is no GRUB for UEFI");
            continue;
        }
        let disk = json!({"path": path, "size_bytes": size, "logical_sector_size": sector, "serial": "LAB",
            "links": ["/dev/disk/by-id/ata-lab"]});
        let inventory = json!({"disks": [disk], "firmware": firmware, "architecture": "x86_64"});
        node.lab.put("inventory.json", &inventory.to_string());
        assert_eq!(node.push(), 5, "{size} {sector}");
        let report = node.lab.report();
        assert_eq!(report["touched"], false);
        let error = &report["error"];
        assert_eq!(error["stage"], "prepare", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(what), "{size} {sector}: {message}");
        let mut head = [0; 9];
        fs::File::open(path)
            .unwrap()
            .read_exact_at(&mut head, 0)
            .unwrap();
        assert_eq!(&head, b"boot code");
    }
}

#[test]
fn sigterm_in_any_stage_leaves_a_node_that_does_not_boot_and_can_be_installed_at_once() {
    let Some(node) = Node::new() else { return };
    assert_eq!(node.push(), 0);
    assert!(node.is_armed());
    let before_the_end = [
        "init",
        "setup",
        "discover",
        "plan",
        "validate",
        "prepare",
        "release",
        "partition",
        "filesystem",
        "image",
        "configure",
        "configdrive",
        "verify",
        "bootloader",
        "commit",
    ];
    let (mut failed, mut armed) = (0, true);
    for stage in before_the_end {
        let status = node.stopped_in(stage);
        let report = node.lab.report();
        // A signal that comes late finds a node that is installed, which the output has.
        let reported = (status, report["result"].as_str().unwrap());
        assert!(
            [(130, "interrupted"), (0, "installed")].contains(&reported),
            "{stage}: {report}"
        );
        // One that comes while the completion is offered leaves it owed: the node is installed all the same. Between
        // commit and that offer it is not, and is disarmed again.
        let hint = report["error"]["hint"].as_str().unwrap_or_default();
        let owed = hint.contains("the node is installed");
        assert_eq!(owed, node.lab.path("run/owed.json").exists(), "{stage}");
        failed += usize::from(status == 130 && !owed);
        // What was not touched is as it was.
        armed = status == 0 || owed || armed && report["touched"] == false;
        assert_eq!(node.is_armed(), armed, "{stage}: {report}");
        assert_eq!(node.lab.requests_to("/failed").len(), failed, "{stage}");
        assert!(!node.is_mounted(), "{stage}");
        assert!(!node.lab.path("run/work").exists(), "{stage}");
    }
    assert!(failed >= 10, "most signals came in time: {failed}");
    assert_eq!(node.push(), 0);
    assert!(node.is_armed());
}
