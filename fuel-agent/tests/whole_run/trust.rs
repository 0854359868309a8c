//! What images are trusted by, and what a node refuses of them, from the settings to the report.

use std::fs;

use serde_json::{Value, json};

use super::file_disk::{DISK, REQUEST};
use super::lab::{IMAGE, Lab, Left, equipped, tool};

/// sha256 of the unpacked image.
fn sha256(lab: &Lab) -> String {
    let file = lab.path("raw.img");
    fs::write(&file, &IMAGE.raw).unwrap();
    let line = tool("sha256sum", &[file.to_str().unwrap()]);
    fs::remove_file(&file).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// Runs with this digest in the request.
fn run(lab: &Lab, digest: Option<(&str, &str)>, more: &[&str]) -> Left {
    let mut request = lab.request("/root.img.gz");
    if let Some((key, digest)) = digest {
        request["ks_meta"]["image_data"]["/"][key] = json!(digest);
    }
    lab.put("request.json", &request.to_string());
    lab.call(&[&["run", DISK, REQUEST][..], more].concat())
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

#[test]
fn a_digest_in_the_request_is_what_the_image_is_trusted_by() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let left = run(&lab, None, &[]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    let report = lab.report();
    assert_eq!(report["images"][0]["trust"], "same-server");
    let warned = warnings(&report);
    assert!(
        warned.contains("comes by plain http, and so does its digest"),
        "{warned}"
    );
    assert!(
        warned.contains("is vouched for by an md5 alone"),
        "{warned}"
    );

    let right = sha256(&lab);
    let left = run(&lab, Some(("sha256", &right.to_uppercase())), &[]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    let report = lab.report();
    let image = &report["images"][0];
    assert_eq!(
        (&image["trust"], &image["verified"]),
        (&json!("request"), &json!(true))
    );
    let checked = image["digests_checked"].as_array().unwrap();
    let of_request = json!({"of": "image", "algorithm": "sha256", "digest": right,
        "stated_by": "the request"});
    assert!(checked.contains(&of_request), "{checked:?}");
    let warned = warnings(&report);
    assert!(
        !warned.contains("plain http") && !warned.contains("md5"),
        "{warned}"
    );
}

#[test]
fn an_image_that_is_not_the_one_of_the_request_is_refused_whatever_its_server_says() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    // what the server does not state can only be seen when the image has come
    let left = run(&lab, Some(("blake3", &"0".repeat(64))), &[]);
    assert_eq!(left.status, 6, "{}{}", left.out, left.error);
    let error = lab.report()["error"].to_string();
    assert!(error.contains("the request"), "{error}");
    // what it states is compared before anything is touched
    let left = run(&lab, Some(("md5", &"0".repeat(32))), &[]);
    assert_eq!(left.status, 6, "{}{}", left.out, left.error);
    let report = lab.report();
    assert_eq!(report["touched"], false);
    let error = report["error"].to_string();
    assert!(
        error.contains("/root.yaml says md5 ") && error.contains(", the request says 0000"),
        "{error}"
    );
    let left = run(&lab, Some(("sha256", "abc")), &[]);
    assert_eq!(left.status, 3, "{}{}", left.out, left.error);
    assert!(
        left.error
            .contains("image_data[\"/\"].sha256` `abc` is not a sha256 digest"),
        "{}",
        left.error
    );
}

#[test]
fn a_strict_ramdisk_refuses_what_its_server_alone_vouches_for_and_no_option_changes_that() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.put("provision.conf", "trust=strict\n");
    for more in [&[][..], &["--set=trust=warn"], &["--allow-unverified"]] {
        let left = run(&lab, None, more);
        assert_eq!(left.status, 5, "{more:?} {}{}", left.out, left.error);
        assert_eq!(lab.report()["touched"], false);
        let error = lab.report()["error"].to_string();
        assert!(error.contains("`trust=strict` is set"), "{error}");
    }
    let right = sha256(&lab);
    let left = run(&lab, Some(("sha256", &right)), &[]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    // of `write` too
    let url = lab.server.url("/root.img.gz");
    let check = ["write", "--check", "--image", &url];
    assert_eq!(lab.call(&check).status, 5);
    let digest = format!("--digest=sha256:{right}");
    let left = lab.call(&[&check[..], &[&digest]].concat());
    assert_eq!(left.status, 0, "{}", left.error);
    assert!(left.out.contains("trusted by: request"), "{}", left.out);
}

#[test]
fn a_ramdisk_that_wants_digests_is_not_talked_out_of_it() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    fs::write(lab.path("alone.img"), &IMAGE.raw).unwrap();
    let url = format!("file://{}", lab.path("alone.img").display());
    let check = ["write", "--check", "--allow-unverified", "--image", &url];
    let left = lab.call(&check);
    assert_eq!(left.status, 0, "{}", left.error);
    assert!(left.out.contains("trusted by: none"), "{}", left.out);
    lab.put("provision.conf", "allow_unverified=no\n");
    let left = lab.call(&check);
    assert_eq!(left.status, 5, "{}{}", left.out, left.error);
}
