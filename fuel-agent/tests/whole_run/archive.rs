//! Root archives in whole runs: good ones, and malicious ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::file_disk::{DISK, REQUEST, cut_out};
use super::lab::{Lab, equipped, make_tree, tool};
use super::loop_disk::Node;
use super::round_trip::seen;

/// An archive of the files that an installation needs, with some entries of its own.
fn system(folder: &Path) -> Vec<u8> {
    let tree = folder.join("tree");
    make_tree(&tree);
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::write(tree.join("usr/bin/su"), "x").unwrap();
    tool(
        "chmod",
        &["4755", tree.join("usr/bin/su").to_str().unwrap()],
    );
    std::os::unix::fs::symlink("usr/bin", tree.join("bin")).unwrap();
    let owner = ["--owner=0", "--group=0"];
    seen(
        &tree,
        &folder.join("root.tar"),
        &[&owner[..], &["--format=gnu"]].concat(),
    )
}

impl Lab {
    /// The archive is served, and asked for.
    fn serve(&self, archive: Vec<u8>) -> Value {
        self.mood.lock().unwrap().archive = Some(archive);
        let mut request = self.request("/root.tar.gz");
        request["ks_meta"]["image_data"]["/"]["format"] = json!("tar");
        self.put("request.json", &request.to_string());
        request
    }
}

#[test]
fn a_root_archive_is_installed_and_its_node_starts_from_it() {
    let Some(node) = Node::new() else { return };
    node.lab.serve(system(node.lab.folder.path()));
    assert_eq!(node.push(), 0);
    assert!(node.is_armed() && !node.is_mounted());
    let report = node.lab.report();
    assert_eq!(report["result"], "installed");
    assert_eq!(report["images"][0]["verified"], true);
    let root = cut_out(&node.lab, 3);
    tool("e2fsck", &["-fn", &root]);
    let look = |what: &str| tool("debugfs", &["-R", what, &root]);
    assert_eq!(look("cat /hello"), "from the image\n");
    assert!(look("stat /usr/bin/su").contains("Mode:  04755"));
    assert!(look("stat /bin").contains("Fast link dest: \"usr/bin\""));
    let about = tool("blkid", &["-p", "-o", "export", &root]);
    let uuid = about
        .lines()
        .find(|line| line.starts_with("UUID="))
        .unwrap();
    assert!(look("cat /etc/fstab").contains(&format!("{uuid} / ext4 defaults,errors=panic")));
    assert!(look("cat /boot/grub/grub.cfg").contains(&uuid["UUID=".len()..]));
    assert!(
        about.contains("LABEL=Root") || !about.contains("LABEL="),
        "{about}"
    );
    let logs = cut_out(&node.lab, 4);
    assert_eq!(
        tool("debugfs", &["-R", "cat /old", &logs]),
        "a log of the image\n"
    );
}

/// A run that has touched the node, and fails for that reason: no disk boots.
fn fails(node: &Node, what: &str) {
    assert_eq!(node.push(), 6, "{what}");
    let report = node.lab.report();
    let error = report["error"].to_string();
    assert!(error.contains(what), "{error}");
    assert_eq!(report["touched"], true);
    assert!(!node.is_armed() && !node.is_mounted(), "{what}");
    assert!(!node.lab.path("run/work").exists(), "{what}");
}

#[test]
fn an_archive_that_is_not_what_it_should_be_leaves_the_node_disarmed() {
    let Some(node) = Node::new() else { return };
    let archive = system(node.lab.folder.path());
    node.lab.serve(archive.clone());
    assert_eq!(node.push(), 0);
    assert!(node.is_armed());
    let digest = "00000000000000000000000000000000";
    node.lab.mood.lock().unwrap().digest = Some(digest);
    fails(&node, digest);
    node.lab.mood.lock().unwrap().digest = None;
    node.lab.serve(archive[..archive.len() - 20 * 512].to_vec());
    fails(&node, "ends in the middle");
}

#[test]
fn sigterm_while_an_archive_is_unpacked_leaves_no_mount_and_a_node_that_can_be_installed() {
    let Some(node) = Node::new() else { return };
    node.lab.serve(system(node.lab.folder.path()));
    // A signal that comes late finds a node that is installed, which the output has.
    let status = node.stopped_in("image");
    assert!([130, 0].contains(&status), "{status}");
    assert_eq!(node.is_armed(), status == 0);
    assert!(!node.is_mounted() && !node.lab.path("run/work").exists());
    assert_eq!(node.push(), 0);
}

#[test]
fn an_archive_that_leads_out_of_its_filesystem_fails_the_run() {
    let Some(node) = Node::new() else { return };
    system(node.lab.folder.path());
    let tree = node.lab.path("tree");
    let tar = |action: &str, change: &str, name: &str| {
        let file = node.lab.path("hostile.tar");
        let (file, tree) = (file.to_str().unwrap(), tree.to_str().unwrap());
        tool("tar", &[action, "-P", "-f", file, "-C", tree, change, name]);
        node.lab.serve(fs::read(file).unwrap());
    };
    tar("--create", "--transform=s,^hello,../../hello,", "hello");
    fails(&node, "its entry `../../hello` has `..` in its name");
    // through a link that the archive brings along
    tar("--create", "--transform=s,^x,x,", "bin");
    tar("--append", "--transform=s,^hello,bin/ls,", "hello");
    fails(&node, "cannot unpack `bin/ls`");
}

#[test]
fn an_archive_and_an_image_are_not_taken_for_each_other_and_nothing_is_touched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let mut request = lab.request("/root.img.gz");
    request["ks_meta"]["image_data"]["/"]["format"] = json!("tar");
    lab.put("request.json", &request.to_string());
    let left = lab.call(&["run", DISK, REQUEST]);
    assert_eq!(left.status, 6, "{}", left.error);
    assert!(
        left.error
            .contains("is not a tar archive but raw, the request says that it is `tar`"),
        "{}",
        left.error
    );
    assert_eq!(lab.report()["touched"], false);
    let mut request = lab.serve(system(lab.folder.path()));
    request["ks_meta"]["image_data"]["/"]["format"] = json!("ext4");
    lab.put("request.json", &request.to_string());
    let left = lab.call(&["run", DISK, REQUEST]);
    assert_eq!(left.status, 6, "{}", left.error);
    assert!(
        left.error
            .contains("is a tar archive, the request says that it is `ext4`"),
        "{}",
        left.error
    );
    assert_eq!(lab.report()["touched"], false);
}

#[test]
fn on_a_file_an_archive_waits_for_a_device_that_can_be_mounted() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.serve(system(lab.folder.path()));
    let left = lab.call(&["run", DISK, REQUEST]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
    let report = lab.report();
    assert_eq!(report["result"], "incomplete");
    let steps = report["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["what"].as_str().unwrap().starts_with("unpack "))
        .unwrap();
    assert_eq!(step["outcome"], "skipped", "{step}");
    assert!(
        step["why"]
            .as_str()
            .unwrap()
            .contains("mounting its filesystems needs a block device"),
        "{step}"
    );
    tool("e2fsck", &["-fn", &cut_out(&lab, 3)]);
}

#[test]
fn provision_write_says_what_an_archive_is_for() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.mood.lock().unwrap().archive = Some(system(lab.folder.path()));
    let target: PathBuf = lab.path("target.img");
    fs::write(&target, vec![0xaa; 8 << 20]).unwrap();
    let packed = lab.server.url("/root.tar.gz");
    let plain = format!("file://{}", lab.path("root.tar").display());
    for image in [packed, plain] {
        let args = [
            "write",
            "--allow-unverified",
            "--image",
            &image,
            "--target",
            target.to_str().unwrap(),
        ];
        let left = lab.call(&args);
        assert_eq!(left.status, 6, "{}{}", left.out, left.error);
        assert!(
            left.error
                .contains("is a tar archive, not an image of a filesystem or a disk"),
            "{}",
            left.error
        );
        assert!(fs::read(&target).unwrap().iter().all(|byte| *byte == 0xaa));
    }
}
