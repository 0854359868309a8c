//! `file://` images of requests: those of one folder, and no others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::file_disk::{DISK, REQUEST};
use super::lab::{IMAGE, Lab, Left, equipped};

/// A run with a request for this file.
fn run(lab: &Lab, file: &Path, more: &[&str]) -> Left {
    name_image(lab, file);
    lab.call(&[&["run", DISK, REQUEST, "--allow-unverified"][..], more].concat())
}

/// Lets the request name this file as the image for `/`, as `file://`.
pub(crate) fn name_image(lab: &Lab, file: &Path) {
    let mut request = lab.request("/root.img.gz");
    let uri = format!("file://{}", file.display());
    request["ks_meta"]["image_data"]["/"] =
        json!({"uri": uri, "format": "ext4", "container": "gzip"});
    lab.put("request.json", &request.to_string());
}

fn refused(lab: &Lab, left: &Left, case: &str) {
    assert_eq!(left.status, 5, "{case}: {}{}", left.out, left.error);
    let report = lab.report();
    let error = report["error"].to_string();
    assert!(
        error.contains("may not be read for a request"),
        "{case}: {error}"
    );
    assert!(error.contains("images_dir"), "{case}: {error}");
    assert_eq!(report["touched"], false, "{case}");
    assert!(!lab.path("disk.img").exists(), "{case}");
}

#[test]
fn a_request_names_files_in_its_folder_and_no_other() {
    if !equipped() {
        return;
    }
    let (lab, other) = (Lab::new(), tempfile::tempdir().unwrap());
    let outside = other.path().join("a.img.gz");
    fs::write(&outside, &IMAGE.gzip).unwrap();
    fs::create_dir(lab.path("images")).unwrap();
    let inside = lab.path("images/a.img.gz");
    fs::write(&inside, &IMAGE.gzip).unwrap();
    let link = lab.path("images/link.img.gz");
    symlink(&outside, &link).unwrap();

    for (file, case) in [
        (&outside, "elsewhere"),
        (&link, "a link"),
        (&lab.path("images/../../x"), ".."),
    ] {
        refused(&lab, &run(&lab, file, &[]), case);
        // what is not looked up is refused as well
        refused(&lab, &run(&lab, file, &["--offline"]), case);
    }
    // a plan is printed all the same
    name_image(&lab, &outside);
    let left = lab.call(&["plan", DISK, REQUEST, "--allow-unverified"]);
    assert!(
        left.out.contains("may not be read for a request"),
        "{}{}",
        left.out,
        left.error
    );
    let left = lab.call(&["validate", DISK, REQUEST, "--allow-unverified"]);
    assert_eq!(left.status, 5, "{}{}", left.out, left.error);

    let outside_folder = format!("--set=images_dir={}", other.path().display());
    let left = run(&lab, &outside, &[&outside_folder]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    fs::remove_file(lab.path("disk.img")).unwrap();
    refused(
        &lab,
        &run(&lab, &inside, &[&outside_folder]),
        "not in that folder",
    );
    // what the ramdisk names is not changed by a command line
    lab.put(
        "provision.conf",
        &format!("images_dir={}\n", lab.path("images").display()),
    );
    refused(
        &lab,
        &run(&lab, &outside, &[&outside_folder]),
        "the ramdisk's folder",
    );
    lab.put("provision.conf", "images_dir=\n");
    refused(&lab, &run(&lab, &inside, &[]), "none at all");
    lab.put("provision.conf", "");
    let left = run(&lab, &inside, &[]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
}

#[test]
fn what_lies_beside_an_image_does_not_lead_out_either() {
    if !equipped() {
        return;
    }
    let (lab, other) = (Lab::new(), tempfile::tempdir().unwrap());
    let outside = other.path().join("root.yaml");
    let digest = super::lab::tool("sha256sum", &["/dev/null"]);
    let digest = digest.split_whitespace().next().unwrap();
    let metadata = json!({"images": [{"format": "ext4", "raw_name": "root.img", "raw_size": IMAGE.raw.len(),
        "raw_sha256": digest, "container_name": "root.img.gz"}]});
    fs::write(&outside, metadata.to_string()).unwrap();
    fs::write(lab.path("root.img.gz"), &IMAGE.gzip).unwrap();
    name_image(&lab, &lab.path("root.img.gz"));
    for link in [
        "root.yaml",
        "root.yaml.minisig",
        "root.manifest.json",
        "root.manifest.json.minisig",
    ] {
        symlink(&outside, lab.path(link)).unwrap();
        let left = lab.call(&["run", DISK, REQUEST]);
        refused(&lab, &left, link);
        let text = format!("{}{}", left.out, left.error);
        assert!(
            text.contains(&format!("{link} may not be read for a request")),
            "{text}"
        );
        assert!(!text.contains(digest), "{text}");
        fs::remove_file(lab.path(link)).unwrap();
    }
}

#[test]
fn a_request_that_was_fetched_names_no_file_unless_the_ramdisk_allows_it() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let file = lab.path("a.img.gz");
    fs::write(&file, &IMAGE.gzip).unwrap();
    name_image(&lab, &file);
    let url = format!("--url={}", lab.server.url("/request.json"));
    let pull = || lab.call(&["run", DISK, &url, "--allow-unverified", "--set=end=none"]);
    refused(&lab, &pull(), "pulled");
    let folder = format!("images_dir={}\n", lab.folder.path().display());
    lab.put("provision.conf", &folder);
    let left = pull();
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    // one that lies on the node itself is like one that was pushed
    fs::remove_file(lab.path("disk.img")).unwrap();
    lab.put("provision.conf", "");
    let url = format!("--url=file://{}", lab.path("request.json").display());
    let left = lab.call(&["run", DISK, &url, "--allow-unverified", "--set=end=none"]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
}
