//! The binary from outside: exit statuses, error texts, what goes to which stream, and that looking writes nothing.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test program"
)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

/// A folder with everything that a run reads and writes, instead of this machine's.
struct Desk {
    folder: tempfile::TempDir,
}

/// Result of a call.
struct Left {
    status: i32,
    out: String,
    error: String,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        desk.put("cmdline", "quiet");
        desk.put("provision.conf", "");
        desk.put("inventory.json", &inventory().to_string());
        desk.put("request.json", &request().to_string());
        desk.put("sources.json", &sources().to_string());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn call(&self, args: &[&str]) -> Left {
        let output = Command::new(env!("CARGO_BIN_EXE_provision"))
            .args(args)
            .current_dir(self.folder.path())
            .env("PROVISION_RUN_DIR", self.path("run"))
            .env("PROVISION_KERNEL_COMMAND_LINE", self.path("cmdline"))
            .env("PROVISION_CONF", self.path("provision.conf"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(self.folder.path().to_str().unwrap(), "[desk]")
        };
        Left {
            status: output.status.code().unwrap(),
            out: text(output.stdout),
            error: text(output.stderr),
        }
    }

    /// Calls with the request, the inventory and the sources that are in the test's folder.
    fn with_files(&self, args: &[&str]) -> Left {
        let files = [
            "--input_data_file=request.json",
            "--inventory=inventory.json",
            "--sources=sources.json",
        ];
        self.call(&[args, &files].concat())
    }
}

fn inventory() -> Value {
    json!({"disks": [{"path": "/dev/sda", "size_bytes": 20_u64 << 30, "serial": "S3X9",
        "links": ["/dev/disk/by-id/ata-test-S3X9"]}]})
}

const IMAGE: &str = "http://10.20.0.2:8080/root.img.gz";

fn sources() -> Value {
    json!({"images": {IMAGE: {"size_bytes": 1000, "raw_size_bytes": 1 << 20, "container": "gzip",
        "raw_md5": "5d41402abc4b2a76b9719d911017c592"}}})
}

/// What the ironic driver sends: disks and images only.
fn request() -> Value {
    json!({
        "profile": "ubuntu_1404_x86_64",
        "ks_meta": {
            "pm_data": {
                "kernel_params": "console=ttyS0",
                "ks_spaces": [{
                    "type": "disk", "id": "disk/by-id/ata-test-S3X9", "name": "sda",
                    "extra": ["disk/by-id/ata-test-S3X9"], "size": 20480, "free_space": 20000,
                    "volumes": [
                        {"type": "boot", "size": 300},
                        {"type": "partition", "mount": "/", "size": 4096, "file_system": "ext4",
                         "name": "Root", "disk_label": null, "images": ["x"]}
                    ]
                }]
            },
            "image_data": {"/": {"uri": IMAGE, "format": "ext4", "container": "gzip"}}
        }
    })
}

#[test]
fn a_wrong_option_is_a_usage_error() {
    let left = Desk::new().call(&["--nonsense"]);
    assert_eq!((left.status, left.out.as_str()), (2, ""));
    assert!(left.error.contains("unexpected argument '--nonsense'"));
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [["--help"], ["--version"]] {
        let left = Desk::new().call(&args);
        assert_eq!((left.status, left.error.as_str()), (0, ""));
        assert!(left.out.contains("provision"));
    }
}

#[test]
fn the_stages_are_listed_in_their_order() {
    let left = Desk::new().call(&["stages"]);
    let stages: Vec<&str> = left.out.lines().collect();
    assert_eq!(
        (stages.len(), stages[0], stages[21]),
        (22, "boot", "terminate")
    );
}

#[test]
fn a_request_that_is_not_there_says_what_to_do() {
    let left = Desk::new().call(&["plan", "--input_data_file", "nowhere.json"]);
    assert_eq!(left.status, 3);
    insta::assert_snapshot!(left.error, @r"
    error: cannot read the request in nowhere.json
      cause: No such file or directory (os error 2)
      hint: upload it, or name it with `--input_data_file`
    ");
}

#[test]
fn all_problems_of_a_request_are_told_at_once() {
    let desk = Desk::new();
    let mut request = request();
    let first = &mut request["ks_meta"]["pm_data"]["ks_spaces"][0];
    first["volumes"][1]["size"] = json!("large");
    first["size"] = json!(-1);
    request["ks_meta"]["image_data"]["/"]["container"] = json!("rar");
    desk.put("request.json", &request.to_string());
    let left = desk.with_files(&["plan"]);
    assert_eq!((left.status, left.out.as_str()), (3, ""));
    insta::assert_snapshot!(left.error, @r#"
    error: the request has 2 problems
      cause: `ks_meta.pm_data.ks_spaces[0].volumes[1].size` is a string, not an integer; give an integer
      cause: `ks_meta.image_data["/"].container` is `rar`; use `raw`, `gzip`, `zstd`, `xz`, `bzip2` or `qcow2`
    "#);
}

#[test]
fn a_disk_that_is_not_there_is_the_hardwares_fault() {
    let desk = Desk::new();
    desk.put(
        "inventory.json",
        r#"{"disks": [{"path": "/dev/vdb", "size_bytes": 1000000000}]}"#,
    );
    let left = desk.with_files(&["plan"]);
    assert_eq!(left.status, 4);
    insta::assert_snapshot!(left.error, @r"
    error: no disk of this node is the one of `ks_meta.pm_data.ks_spaces[0]`: looked for /dev/disk/by-id/ata-test-S3X9, /dev/sda; the node has
        /dev/vdb (953 MiB)
      hint: give an id or a name that this node has (`provision inventory`), or look why the disk is not there
    ");
}

#[test]
fn a_disk_that_is_too_small_is_planned_for_people_to_see_and_refused() {
    let desk = Desk::new();
    let mut inventory = inventory();
    inventory["disks"][0]["size_bytes"] = json!(1_u64 << 30);
    desk.put("inventory.json", &inventory.to_string());
    let left = desk.with_files(&["plan"]);
    assert_eq!(left.status, 4);
    assert!(left.out.contains("/dev/sda2"), "{}", left.out);
    insta::assert_snapshot!(left.error, @r"
    error: the layout of /dev/sda ends at 4323 MiB, but the disk (1 GiB) has room up to 1023 MiB
      hint: shrink its volumes by at least 3300 MiB, or use a larger disk
    ");
}

#[test]
fn an_image_without_a_digest_is_planned_and_not_run() {
    let desk = Desk::new();
    let sources = json!({"images": {IMAGE: {"size_bytes": 1000, "raw_size_bytes": 1 << 20}}});
    desk.put("sources.json", &sources.to_string());
    assert_eq!(desk.with_files(&["plan"]).status, 0);
    let left = desk.with_files(&["validate"]);
    assert_eq!(left.status, 6);
    insta::assert_snapshot!(left.error, @r"
    error: http://10.20.0.2:8080/root.img.gz comes without a digest, so its transfer cannot be verified
      hint: give its `sha256` in the request, publish its YAML with `raw_sha256`, or allow it with `--allow-unverified`
    ");
    assert_eq!(
        desk.with_files(&["validate", "--allow-unverified"]).status,
        0
    );
}

#[test]
fn a_plan_is_the_same_for_programs() {
    let left = Desk::new().with_files(&["plan", "--format", "json"]);
    assert_eq!((left.status, left.error.as_str()), (0, ""));
    let plan: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(plan["disks"][0]["device"], "/dev/sda");
    assert_eq!(plan["images"][0]["url"], IMAGE);
    assert!(plan["steps"].as_array().unwrap().len() > 5);
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn looking_writes_nothing() {
    let desk = Desk::new();
    desk.put("disk.img", &"x".repeat(1 << 20));
    let before = content(desk.folder.path());
    for args in [
        vec!["plan"],
        vec!["validate"],
        vec!["run", "--dry-run"],
        vec!["run", "--dry-run", "--dialect", "json"],
        vec!["plan", "--disk", "sda=disk.img"],
        vec!["run", "--dry-run", "--disk", "sda=new.img:20GiB"],
        vec!["inventory", "--disk", "sda=new.img:20GiB"],
        vec!["status"],
    ] {
        if args[0] == "inventory" || args[0] == "status" {
            desk.call(&args);
        } else {
            desk.with_files(&args);
        }
        assert!(content(desk.folder.path()) == before, "{args:?}");
    }
}

#[test]
fn an_inventory_is_read_back_as_it_was_written() {
    let desk = Desk::new();
    let args = [
        "inventory",
        "--disk",
        "sda=new.img:20GiB",
        "--format",
        "json",
    ];
    let left = desk.call(&args);
    assert_eq!((left.status, left.error.as_str()), (0, ""));
    desk.put("inventory.json", &left.out);
    let left = desk.with_files(&["plan", "--set", "match=name"]);
    assert_eq!(left.status, 0, "{}", left.error);
}

#[test]
fn json_goes_to_standard_output_and_nothing_goes_anywhere_else() {
    let desk = Desk::new();
    desk.put("provision.conf", "protect=sda");
    for (args, status) in [
        (vec!["run", "--dry-run", "--dialect", "json"], 5),
        (vec!["run", "--dialect", "json", "--set", "ned=none"], 2),
    ] {
        let left = desk.with_files(&args);
        assert_eq!((left.status, left.error.as_str()), (status, ""));
        let events: Vec<Value> = left
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(events.iter().all(|event| event["time"].is_string()));
        let errors = events.iter().filter(|event| event["event"] == "error");
        assert_eq!(errors.count(), 1, "{}", left.out);
    }
}

#[test]
fn a_setting_that_is_none_is_told_with_its_place() {
    let desk = Desk::new();
    desk.put("provision.conf", "# ours\nprotct=sda\n");
    let left = desk.with_files(&["plan"]);
    assert_eq!(left.status, 2);
    insta::assert_snapshot!(left.error, @r"
    error: `protct` is not a setting ([desk]/provision.conf:2)
      hint: did you mean `protect`?
    ");
}

#[test]
fn what_the_kernel_is_told_is_told_on() {
    let desk = Desk::new();
    desk.put("cmdline", "quiet provision.protect=S3X9 provision.ulr=x");
    let left = desk.with_files(&["validate"]);
    assert_eq!(left.status, 5);
    insta::assert_snapshot!(left.error, @r"
    error: /dev/sda is protected (`S3X9`)
      hint: take it out of the request, or out of `provision.protect`
    ");
}

#[test]
fn a_callback_that_cannot_be_made_is_found_before_anything_is_touched() {
    let desk = Desk::new();
    let left = desk.with_files(&["validate", "--set", "success=http://h/{hostnme}"]);
    assert_eq!(left.status, 2, "{}", left.error);
    assert!(
        left.error.contains("`{hostnme}` stands for nothing"),
        "{}",
        left.error
    );
}

#[test]
fn a_node_without_a_run_and_a_stamp_is_to_be_loaded() {
    let desk = Desk::new();
    let left = desk.call(&[
        "status",
        "--format",
        "json",
        "--input_data_file",
        "request.json",
    ]);
    assert_eq!(left.status, 21);
    let status: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(status["status"], "not-installed");
}

#[test]
fn after_a_run_that_failed_the_status_is_that_runs() {
    let desk = Desk::new();
    desk.put("request.json", "{}");
    let left = desk.call(&[
        "run",
        "--input_data_file",
        "request.json",
        "--report",
        "r.json",
    ]);
    assert_eq!(left.status, 3, "{}", left.error);
    let report: Value = serde_json::from_slice(&fs::read(desk.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["exit_status"], 3);
    assert_eq!(report["touched"], false);
    let left = desk.call(&["status", "--format", "json"]);
    assert_eq!(left.status, 3);
    let status: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(status["report"]["error"]["stage"], "setup");
}

#[test]
fn nothing_owed_is_nothing_to_tell() {
    let left = Desk::new().call(&["notify"]);
    assert_eq!((left.status, left.out.as_str()), (0, "nothing is owed\n"));
}

#[test]
fn a_log_of_a_run_is_kept_and_holds_no_secret() {
    let desk = Desk::new();
    let mut request = request();
    request["ks_meta"]["pm_data"]["kernel_params"] = json!(17);
    request["ks_meta"]["root_password"] = json!("s3cret");
    desk.put("request.json", &request.to_string());
    let args = [
        "run",
        "--input_data_file=request.json",
        "--log-file=log",
        "--debug",
        "--set",
        "failure.header=Authorization: s3cret",
    ];
    let left = desk.call(&args);
    assert_eq!(left.status, 3);
    let log = fs::read_to_string(desk.path("log")).unwrap();
    assert!(
        log.contains("stage start") && !log.contains("s3cret"),
        "{log}"
    );
    let kept = fs::read_to_string(desk.path("run/provision.log")).unwrap();
    assert!(kept.contains("stage start") && !kept.contains("s3cret"));
}
