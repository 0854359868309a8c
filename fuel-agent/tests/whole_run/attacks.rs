//! The table of attacks in docs/security.md, carried out: each with the setting of its row, and without it.

use std::fs;
use std::path::Path;

use minisign::KeyPair;
use serde_json::{Value, json};

use super::file_disk::{DISK, REQUEST};
use super::lab::{IMAGE, Lab, Left, equipped};
use super::local_files::name_image;
use super::loop_disk::Node;
use super::packed;

/// The page, and its section with the table.
const PAGE: &str = "docs/security.md";
const SECTION: &str = "\n## Attack, setting, outcome\n";

/// What an attack came to.
struct Outcome {
    /// Exit status with the setting of the row; `None` where the row has none.
    with: Option<i32>,
    /// Exit status without it.
    without: i32,
}

/// An attack that takes what is missing here; it was printed.
const NOT_HERE: Outcome = Outcome {
    with: None,
    without: i32::MIN,
};

/// How a row is shown.
enum Shown {
    /// By an attack on the agent.
    Attack(fn() -> Outcome),
    /// By a test or a scenario of another file: it takes a virtual machine, the ramdisk's scripts or the builders.
    By(&'static str, &'static str),
}
use Shown::{Attack, By};

/// Each row of the page by its first two cells, in their order.
const ROWS: &[(&str, &str, Shown)] = &[
    (
        "image and digest replaced on the server",
        "`trusted_key`",
        Attack(replaced_unsigned),
    ),
    (
        "the same",
        "a digest in the request",
        Attack(replaced_with_a_digest_in_the_request),
    ),
    (
        "the same, by plain http",
        "`trust=strict`",
        Attack(replaced_on_a_strict_node),
    ),
    ("the same", "none", Attack(replaced)),
    (
        "another signed image under the name of this one",
        "`trusted_key`",
        Attack(another_signed_image),
    ),
    (
        "signed image that is too old",
        "`min_release`",
        Attack(too_old),
    ),
    (
        "`--allow-unverified` on a command line",
        "`allow_unverified=no` in the ramdisk",
        Attack(talked_out_of_digests),
    ),
    (
        "image without a digest",
        "`allow_unverified=no` (default)",
        Attack(without_a_digest),
    ),
    (
        "request replaced on the way",
        "`request_key`",
        Attack(replaced_request),
    ),
    (
        "the same, by plain http",
        "none",
        Attack(request_by_plain_http),
    ),
    (
        "older request of the same signer",
        "`request_key`, and a time in the request",
        Attack(older_request),
    ),
    (
        "request for another node, of the same signer",
        "`request_key`, and a node in the request",
        Attack(request_for_another_node),
    ),
    (
        "key replaced on a command line",
        "`trusted_key`, `request_key` in the ramdisk",
        Attack(replaced_key),
    ),
    (
        "`require_signature=no` on a command line",
        "`require_signature` or `trusted_key` in the ramdisk",
        Attack(signature_not_required),
    ),
    (
        "request for a file of the ramdisk as an image",
        "`images_dir` (default: what lies beside it)",
        Attack(file_of_the_ramdisk),
    ),
    (
        "request for a disk that must stay",
        "`protect`, `protect.strict`",
        Attack(protected_disk),
    ),
    (
        "disk takes another's name in mid-run",
        "none needed",
        By("testbed/src/scenario/mod.rs", "hot-plug"),
    ),
    (
        "seed of an earlier tenant",
        "`allow_other_seeds=no` (default)",
        Attack(other_seed),
    ),
    (
        "stamp of an earlier tenant",
        "`reinstall`",
        Attack(old_stamp),
    ),
    (
        "`/usr` changed since its installation",
        "`reverify=fail`",
        Attack(changed_system),
    ),
    (
        "image server that only drips",
        "`http.least_rate`",
        By(
            "fuel-agent/src/http/tests/giving_up.rs",
            "a_connection_that_never_stalls_still_has_to_deliver",
        ),
    ),
    (
        "time server that lies",
        "`provision.ntp`, `provision.time`",
        By(
            "initramfs/tests/scripts.rs",
            "a_time_server_that_dhcp_named_is_believed_within_limits",
        ),
    ),
    (
        "ssh from a tenant's network",
        "`provision.ssh=all` not given",
        By(
            "initramfs/tests/boot.rs",
            "every_card_gets_an_address_and_the_one_that_booted_owns_route_and_names",
        ),
    ),
    (
        "cloud-init data read later",
        "`configdrive.after_first_boot=wipe`",
        By(
            "fuel-agent/src/cloud/wipe.rs",
            "the_data_goes_only_when_all_of_it_was_used_and_it_is_ours",
        ),
    ),
    (
        "firewall, SELinux, cores, log as Fuel left them",
        "`first_boot.flush_iptables=no` and others",
        Attack(first_boot),
    ),
    (
        "unsigned or changed packages at a build",
        "no `--allow-unsigned-archive`; `--lock`",
        By(
            "apt-sources/src/tests.rs",
            "an_archive_whose_signature_is_not_checked_is_refused_unless_that_is_allowed",
        ),
    ),
];

fn of_tree(path: &str) -> String {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(tree.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of the page's rows: attack, setting, outcome.
fn page() -> Vec<[String; 3]> {
    let page = of_tree(PAGE);
    let (_, section) = page.split_once(SECTION).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1);
    let cells = |row: &str| -> [String; 3] {
        let cells = row.trim_matches('|').split('|');
        let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
        cells
            .try_into()
            .unwrap_or_else(|_| panic!("three cells: {row}"))
    };
    rows.map(cells).collect()
}

#[test]
fn every_attack_of_the_page_is_carried_out_here_or_by_a_test_that_exists() {
    let rows: Vec<(String, String)> = page().into_iter().map(|[a, b, _]| (a, b)).collect();
    let here = ROWS
        .iter()
        .map(|(a, b, _)| ((*a).to_owned(), (*b).to_owned()));
    assert_eq!(rows, here.collect::<Vec<_>>());
    for (attack, _, shown) in ROWS {
        let By(file, name) = shown else { continue };
        let source = of_tree(file);
        let is_test = source.contains(&format!("fn {name}("));
        let is_scenario = source.contains(&format!("name: \"{name}\""));
        assert!(is_test || is_scenario, "{attack}: {file} has no `{name}`");
    }
}

#[test]
fn each_attack_comes_to_what_the_page_says() {
    if !equipped() {
        return;
    }
    let mut carried_out = 0;
    for ([attack, setting, outcome], (_, _, shown)) in page().iter().zip(ROWS) {
        let Attack(carry_out) = shown else { continue };
        let case = format!("{attack}, {setting}: {outcome}");
        println!("{case}");
        let found = carry_out();
        if found.without == NOT_HERE.without {
            continue;
        }
        carried_out += 1;
        // 10: done, but for what cannot be done on files
        assert!(
            [0, 10].contains(&found.without),
            "{case}: {}",
            found.without
        );
        let status = outcome
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        let status: Option<i32> = status.map(|(status, _)| status.parse().unwrap());
        match (status, found.with) {
            (Some(status), with) => assert_eq!(with, Some(status), "{case}"),
            (None, with) => assert_eq!(with.is_none(), outcome.starts_with("open"), "{case}"),
        }
    }
    assert!(carried_out >= 14, "{carried_out}");
}

/// An attack of the first kind: what a run ends with under these settings of the ramdisk, and what without any.
fn with_and_without(lab: &Lab, settings: &str, more: &[&str]) -> Outcome {
    let run = || run(lab, more).status;
    lab.put("provision.conf", settings);
    let with = run();
    let report = lab.report();
    assert_eq!(report["touched"], false, "{report}");
    lab.put("provision.conf", "");
    Outcome {
        with: Some(with),
        without: run(),
    }
}

fn run(lab: &Lab, more: &[&str]) -> Left {
    lab.call(&[&["run", DISK, REQUEST][..], more].concat())
}

fn key() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn trusting(key: &KeyPair) -> String {
    format!("trusted_key={}\n", key.pk.to_base64())
}

/// Signs a file of the lab.
fn sign(lab: &Lab, file: &str, key: &KeyPair) {
    let bytes = fs::read(lab.path(file)).unwrap();
    let signature = minisign::sign(Some(&key.pk), &key.sk, bytes.as_slice(), None, None).unwrap();
    lab.put(&format!("{file}.minisig"), &signature.into_string());
}

fn warned(lab: &Lab, text: &str) {
    let warnings = lab.report()["warnings"].to_string();
    assert!(warnings.contains(text), "{warnings}");
}

/// The lab's server is the attacker's: image and digest are its own, and agree.
fn replaced_unsigned() -> Outcome {
    with_and_without(&Lab::new(), &trusting(&key()), &[])
}

fn replaced_with_a_digest_in_the_request() -> Outcome {
    let lab = Lab::new();
    let without = run(&lab, &[]).status;
    let mut request = lab.request("/root.img.gz");
    request["ks_meta"]["image_data"]["/"]["sha256"] = json!("0".repeat(64));
    lab.put("request.json", &request.to_string());
    let left = run(&lab, &[]);
    assert!(left.error.contains("the request"), "{}", left.error);
    let root = super::file_disk::cut_out(&lab, 3);
    let head = fs::read(root).unwrap();
    assert!(
        head[..1 << 20].iter().all(|byte| *byte == 0),
        "nothing of it can be mounted"
    );
    Outcome {
        with: Some(left.status),
        without,
    }
}

fn replaced_on_a_strict_node() -> Outcome {
    with_and_without(&Lab::new(), "trust=strict\n", &[])
}

fn replaced() -> Outcome {
    let lab = Lab::new();
    let without = run(&lab, &[]).status;
    assert_eq!(lab.report()["images"][0]["trust"], "same-server");
    Outcome {
        with: None,
        without,
    }
}

/// A lab with a packed image for which the request asks, whose manifest is of this name and signed by that key.
fn signed_image(name: &str, key: &KeyPair) -> Lab {
    let lab = packed::lab();
    let (_, mut manifest) = packed::packed();
    name.clone_into(&mut manifest.name);
    let mut text = Vec::new();
    manifest.write(&mut text).unwrap();
    fs::write(lab.path("sys.manifest.json"), text).unwrap();
    sign(&lab, "sys.manifest.json", key);
    lab
}

fn another_signed_image() -> Outcome {
    let key = key();
    // the right one is written
    let lab = signed_image("sys", &key);
    lab.put("provision.conf", &trusting(&key));
    assert_eq!(run(&lab, &[]).status, 10);
    with_and_without(&signed_image("other", &key), &trusting(&key), &[])
}

fn too_old() -> Outcome {
    let key = key();
    let settings = format!("{}min_release=sys:4\n", trusting(&key));
    with_and_without(&signed_image("sys", &key), &settings, &[])
}

/// A lab whose request asks for an image beside it, of which nothing else is known.
fn unknown_image() -> Lab {
    let lab = Lab::new();
    fs::write(lab.path("alone.img.gz"), &IMAGE.gzip).unwrap();
    name_image(&lab, &lab.path("alone.img.gz"));
    lab
}

fn talked_out_of_digests() -> Outcome {
    let lab = unknown_image();
    let outcome = with_and_without(&lab, "allow_unverified=no\n", &["--allow-unverified"]);
    assert_ne!(outcome.with, Some(outcome.without));
    lab.put("provision.conf", "allow_unverified=no\n");
    run(&lab, &["--allow-unverified"]);
    warned(&lab, "`allow_unverified` of the command line is ignored");
    outcome
}

fn without_a_digest() -> Outcome {
    let lab = unknown_image();
    Outcome {
        with: Some(run(&lab, &[]).status),
        without: run(&lab, &["--set=allow_unverified=yes"]).status,
    }
}

/// A request that was signed, and changed afterwards.
fn replaced_request() -> Outcome {
    let (lab, key) = (Lab::new(), key());
    sign(&lab, "request.json", &key);
    let settings = format!("request_key={}\n", key.pk.to_base64());
    lab.put("provision.conf", &settings);
    assert_eq!(run(&lab, &[]).status, 10, "the right one");
    let mut request = lab.request("/root.img.gz");
    request["ks_meta"]["timezone"] = json!("Europe/Rome");
    lab.put("request.json", &request.to_string());
    with_and_without(&lab, &settings, &[])
}

/// A signed request that is handed out again, with this in it and without.
fn handed_out_again(key: &str, value: &str) -> Outcome {
    let (lab, signer) = (Lab::new(), self::key());
    lab.put(
        "provision.conf",
        &format!("request_key={}\n", signer.pk.to_base64()),
    );
    let mut request = lab.request("/root.img.gz");
    sign(&lab, "request.json", &signer);
    let without = run(&lab, &[]).status;
    fs::remove_file(lab.path("disk.img")).unwrap();
    request[key] = json!(value);
    lab.put("request.json", &request.to_string());
    sign(&lab, "request.json", &signer);
    let before = lab.server.requests().len();
    let left = run(&lab, &[]);
    assert!(left.error.contains(value), "{}", left.error);
    assert_eq!(lab.server.requests().len(), before, "nothing was looked at");
    assert!(!lab.path("disk.img").exists(), "nothing was made");
    Outcome {
        with: Some(left.status),
        without,
    }
}

fn older_request() -> Outcome {
    handed_out_again("expires", "2020-01-01T00:00:00.000Z")
}

fn request_for_another_node() -> Outcome {
    handed_out_again("node", "serial-of-another-one")
}

fn request_by_plain_http() -> Outcome {
    let lab = Lab::new();
    let url = lab.server.url("/request.json");
    let left = lab.call(&["run", DISK, "--url", &url, "--set=end=none"]);
    warned(&lab, "was fetched by http and is not signed");
    Outcome {
        with: None,
        without: left.status,
    }
}

fn replaced_key() -> Outcome {
    let (ours, theirs) = (key(), key());
    let image = signed_image("sys", &theirs);
    let set = format!("--set={}", trusting(&theirs).trim_end());
    let outcome = with_and_without(&image, &trusting(&ours), &[&set]);
    assert_eq!(outcome.with, Some(6));
    image.put("provision.conf", &trusting(&ours));
    run(&image, &[&set]);
    warned(&image, "`trusted_key` of the command line is ignored");
    // the same for the key of requests
    let request = Lab::new();
    sign(&request, "request.json", &theirs);
    let set = format!("--set=request_key={}", theirs.pk.to_base64());
    let settings = format!("request_key={}\n", ours.pk.to_base64());
    let other = with_and_without(&request, &settings, &[&set]);
    assert_eq!((other.with, other.without), (Some(5), 10));
    outcome
}

fn signature_not_required() -> Outcome {
    let lab = Lab::new();
    let no = ["--set=require_signature=no"];
    let required = with_and_without(&lab, "require_signature=yes\n", &no);
    assert_eq!((required.with, required.without), (Some(6), 10));
    let outcome = with_and_without(&lab, &trusting(&key()), &no);
    assert_eq!(outcome.with, Some(6));
    outcome
}

fn file_of_the_ramdisk() -> Outcome {
    let (lab, ramdisk) = (Lab::new(), tempfile::tempdir().unwrap());
    let secret = ramdisk.path().join("provision.conf");
    fs::write(&secret, &IMAGE.gzip).unwrap();
    name_image(&lab, &secret);
    let with = run(&lab, &["--allow-unverified"]).status;
    assert_eq!(lab.report()["touched"], false);
    Outcome {
        with: Some(with),
        without: run(&lab, &["--allow-unverified", "--set=images_dir=/"]).status,
    }
}

fn protected_disk() -> Outcome {
    let lab = Lab::new();
    // An entry that is no disk of the node; where files stand for disks there is none.
    lab.put("provision.conf", "protect=elsewhere\nprotect.strict=yes\n");
    let left = on_two_disks(&lab, "validate", &json!([]), &[]);
    assert_eq!(left.status, 5, "{}", left.error);
    assert!(left.error.contains("elsewhere"), "{}", left.error);
    with_and_without(&lab, "protect=sda\n", &["--set=protect=sdb"])
}

/// A command that only reads, on a node with the disk of the request and another one with these partitions.
fn on_two_disks(lab: &Lab, command: &str, partitions: &Value, more: &[&str]) -> Left {
    let node = json!({"disks": [
        {"path": "/dev/sda", "size_bytes": 20_u64 << 30, "links": ["/dev/disk/by-id/ata-lab"]},
        {"path": "/dev/sdb", "size_bytes": 1_u64 << 30, "partitions": partitions},
    ], "firmware": "bios", "architecture": "x86_64"});
    lab.put("inventory.json", &node.to_string());
    lab.call(&[&[command, "--inventory=inventory.json", REQUEST][..], more].concat())
}

fn other_seed() -> Outcome {
    let lab = Lab::new();
    let seed = json!([{"number": 2, "path": "/dev/sdb2", "label": "cidata"}]);
    let left = on_two_disks(&lab, "validate", &seed, &[]);
    assert!(
        left.error.contains("holds other cloud-init data"),
        "{}",
        left.error
    );
    let allowed = on_two_disks(&lab, "plan", &seed, &["--set=allow_other_seeds=yes"]);
    assert!(allowed.out.contains("warning"), "{}", allowed.out);
    Outcome {
        with: Some(left.status),
        without: allowed.status,
    }
}

/// The stamp is genuine; what it stands for may have been changed since.
fn old_stamp() -> Outcome {
    let Some(node) = Node::new() else {
        return NOT_HERE;
    };
    assert_eq!(node.push(), 0);
    let without = node.pull(&[]);
    assert_eq!(node.lab.report()["result"], "already-installed");
    let with = node.pull(&["--set=reinstall=yes"]);
    assert_eq!(node.lab.report()["result"], "installed");
    Outcome {
        with: Some(with),
        without,
    }
}

/// A filesystem that an installation leaves as it wrote it is changed by one byte.
fn changed_system() -> Outcome {
    let Some(node) = super::reverify::installed() else {
        return NOT_HERE;
    };
    super::reverify::tamper(&node);
    Outcome {
        with: Some(node.pull(&["--set=reverify=fail"])),
        without: node.pull(&[]),
    }
}

fn first_boot() -> Outcome {
    let lab = Lab::new();
    let plan = |settings: &str| {
        lab.put("provision.conf", settings);
        lab.call(&["plan", DISK, REQUEST])
    };
    let names: Value = json!([
        "flush_iptables",
        "disable_selinux",
        "core_dumps",
        "remote_log"
    ]);
    let names = names.as_array().unwrap().iter();
    let off = names.map(|name| format!("first_boot.{}=no\n", name.as_str().unwrap()));
    let (without, with) = (plan(""), plan(&off.collect::<String>()));
    assert!(
        without.out.contains("flushes the iptables chains"),
        "{}",
        without.out
    );
    assert!(!with.out.contains("first boot "), "{}", with.out);
    Outcome {
        with: Some(with.status),
        without: without.status,
    }
}
