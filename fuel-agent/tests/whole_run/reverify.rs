//! An installed node that is compared with its images, on block devices.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::lab::tool;
use super::loop_disk::Node;
use super::packed::pack;

/// Mebibytes of the image for `/opt`.
const SIZE: usize = 8;

/// A filesystem that cannot be written to, of one small file: `mkfs.erofs -T 0 --all-root -U ...`, packed by gzip.
const EROFS: &[u8] = include_bytes!("../../../testdata/images/opt.erofs.gz");

/// That filesystem, with bytes behind it.
fn erofs() -> Vec<u8> {
    let mut raw = Vec::new();
    GzDecoder::new(EROFS).read_to_end(&mut raw).unwrap();
    raw.resize(SIZE << 20, b'x');
    raw
}

/// A node that was installed with a packed image for `/opt`, of a type that is not grown; `None` where there are no loop
/// devices or tools.
pub(crate) fn installed() -> Option<Node> {
    let node = Node::new()?;
    let lab = &node.lab;
    let (data, manifest) = pack("opt", &erofs(), "erofs", "/opt");
    fs::write(lab.path("opt.img.zst"), data).unwrap();
    let mut text = Vec::new();
    manifest.write(&mut text).unwrap();
    fs::write(lab.path("opt.manifest.json"), text).unwrap();
    let mut request: Value = lab.request("/root.img.gz");
    let volumes = &mut request["ks_meta"]["pm_data"]["ks_spaces"][0]["volumes"];
    volumes.as_array_mut().unwrap().push(json!(
        {"type": "partition", "mount": "/opt", "file_system": "ext4", "size": 2 * SIZE, "name": "Opt"}
    ));
    let uri = format!("file://{}", lab.path("opt.img.zst").display());
    request["ks_meta"]["image_data"]["/opt"] =
        json!({"uri": uri, "format": "erofs", "container": "zstd"});
    lab.put("request.json", &request.to_string());
    lab.put(
        "provision.conf",
        &format!("images_dir={}\n", lab.folder.path().display()),
    );
    assert_eq!(node.push(), 0);
    Some(node)
}

/// Where the filesystem for `/opt` begins on the disk.
fn start(node: &Node) -> u64 {
    let table = tool("sfdisk", &["--json", node.disk.path().to_str().unwrap()]);
    let table: Value = serde_json::from_str(&table).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let is_opt = |it: &&Value| it["size"] == ((2 * SIZE) << 20) / 512;
    let opt: Vec<&Value> = partitions.iter().filter(is_opt).collect();
    assert_eq!(opt.len(), 1, "{table}");
    opt[0]["start"].as_u64().unwrap() * 512
}

/// Changes one byte in the middle of the filesystem for `/opt`.
pub(crate) fn tamper(node: &Node) {
    let disk = fs::File::options()
        .read(true)
        .write(true)
        .open(node.disk.path())
        .unwrap();
    let at = start(node) + (5 << 20);
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).unwrap();
    disk.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
    disk.sync_all().unwrap();
}

#[test]
fn what_differs_is_found_on_the_disk_and_installed_again() {
    let Some(node) = installed() else { return };
    let pull = |policy: &str| {
        let status = node.pull(&[&format!("--set=reverify={policy}")]);
        (status, node.lab.report())
    };
    let image = |report: &Value, place: &str| -> Value {
        let images = report["reverified"].as_array().unwrap();
        images
            .iter()
            .find(|it| it["place"] == place)
            .unwrap()
            .clone()
    };
    let (status, report) = pull("fail");
    assert_eq!(
        (status, &report["result"]),
        (0, &json!("already-installed")),
        "{report}"
    );
    let opt = image(&report, "/opt");
    assert_eq!(opt["left_as_written"], true);
    assert_eq!(
        (&opt["chunks"], &opt["differing_chunks"]),
        (&json!(SIZE), &json!(0))
    );
    let root = image(&report, "/");
    assert_eq!(root["left_as_written"], false);
    assert!(
        root["not_compared"].as_str().unwrap().contains("packed"),
        "{root}"
    );

    tamper(&node);
    let (status, report) = pull("report");
    assert_eq!(
        (status, &report["result"]),
        (0, &json!("already-installed")),
        "{report}"
    );
    assert_eq!(image(&report, "/opt")["differing_chunks"], 1);
    let said = node.lab.call(&["status"]).out;
    assert!(said.contains("/opt differs from file://"), "{said}");
    let (status, report) = pull("fail");
    assert_eq!((status, &report["touched"]), (5, &json!(false)), "{report}");
    let (status, report) = pull("reinstall");
    assert_eq!(
        (status, &report["result"]),
        (0, &json!("installed")),
        "{report}"
    );
    assert_eq!(pull("fail").0, 0);
}
