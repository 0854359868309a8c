//! Requests that the ramdisk wants signed, and what the ramdisk has noted.

use std::fs;

use minisign::KeyPair;

use super::file_disk::{DISK, REQUEST};
use super::lab::{Lab, Left, equipped};

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn sign(lab: &Lab, key: &KeyPair) {
    let bytes = fs::read(lab.path("request.json")).unwrap();
    let signature = minisign::sign(Some(&key.pk), &key.sk, bytes.as_slice(), None, None).unwrap();
    lab.put("request.json.minisig", &signature.into_string());
}

/// A place whose ramdisk wants requests signed by that key.
fn wanting(key: &KeyPair) -> Lab {
    let lab = Lab::new();
    lab.put(
        "provision.conf",
        &format!("request_key={}\n", key.pk.to_base64()),
    );
    lab
}

fn is_refused(lab: &Lab, left: &Left, why: &str) {
    assert_eq!(left.status, 5, "{}", left.error);
    assert!(left.error.contains(why), "{}", left.error);
    assert!(lab.server.requests().is_empty(), "nothing was looked at");
    assert!(!lab.path("disk.img").exists(), "nothing was made");
}

#[test]
fn without_a_signature_of_the_ramdisks_key_nothing_is_looked_at() {
    let (ours, other) = (pair(), pair());
    let lab = wanting(&ours);
    // neither command line can put another key in its place
    let theirs = format!("request_key={}", other.pk.to_base64());
    lab.put("cmdline", &format!("provision.{theirs}\n"));
    let set = format!("--set={theirs}");
    for command in ["plan", "validate", "run"] {
        let left = lab.call(&[command, DISK, REQUEST, &set]);
        is_refused(&lab, &left, "is not signed");
    }
    sign(&lab, &other);
    let left = lab.call(&["run", DISK, REQUEST, &set]);
    is_refused(&lab, &left, "is not accepted");
    let report = lab.report();
    assert_eq!(report["error"]["stage"], "setup");
    assert_eq!(report["touched"], false);
    sign(&lab, &ours);
    let changed = fs::read_to_string(lab.path("request.json")).unwrap() + " ";
    lab.put("request.json", &changed);
    is_refused(&lab, &lab.call(&["run", DISK, REQUEST]), "is not accepted");
}

#[test]
fn a_signed_request_is_carried_out_and_notes_of_the_ramdisk_are_warnings_of_its_report() {
    if !equipped() {
        return;
    }
    let key = pair();
    let lab = wanting(&key);
    sign(&lab, &key);
    fs::create_dir(lab.path("ramdisk")).unwrap();
    lab.put("ramdisk/notes", "the clock was unset\n");
    let left = lab.call(&["run", DISK, REQUEST]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    let report = lab.report();
    let warnings = report["warnings"].as_array().unwrap();
    assert_eq!(warnings[0], "ramdisk: the clock was unset");
    assert!(
        left.out.contains("ramdisk: the clock was unset"),
        "{}",
        left.out
    );
}
