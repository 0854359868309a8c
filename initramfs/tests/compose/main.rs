//! Builds with a fake apt, dpkg-deb and depmod: what is written, what is refused, and that two builds are identical.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod archive;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use apt_sources::Proxies;
use apt_sources::lock;
use initramfs::compose::{self, BuildOptions};
use initramfs::error::Error;
use initramfs::inspect;
use sha2::{Digest, Sha256};

use archive::{Archive, file_of};

const KERNEL: &str = "linux-image-6.1.0-9-amd64";
const RELEASE: &str = "6.1.0-9-amd64";

/// The smallest ELF file: a header and nothing to load.
fn static_program() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16] = 2;
    bytes[18] = 62;
    bytes[20] = 1;
    bytes[52] = 64;
    bytes
}

struct TestBuild {
    folder: tempfile::TempDir,
    archive: Archive,
}

impl TestBuild {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("agent"), static_program()).unwrap();
        let archive = Archive::new(&folder.path().join("sources.list"));
        Self { folder, archive }
    }

    fn options(&self, out: &str) -> BuildOptions {
        let at = |name: &str| self.folder.path().join(name);
        BuildOptions {
            agent: at("agent"),
            out: at(out),
            kernel_package: "linux-image-amd64".to_owned(),
            firmware: vec![],
            modules: vec![],
            level: 1,
            lock: at("initramfs.lock"),
            renew_lock: false,
            cache: at("cache"),
            authorized_keys: None,
            host_key: None,
            conf: None,
            ca: None,
            mirrors: vec![],
            allow_unsigned: false,
            suite: "bookworm".to_owned(),
            proxies: Proxies::default(),
            now: 1_700_000_000,
            now_is_given: false,
        }
    }

    fn build(&mut self, out: &str) -> Result<(), Error> {
        let options = self.options(out);
        compose::build(&mut self.archive, &options).map(drop)
    }

    fn bytes(&self, out: &str) -> Vec<Vec<u8>> {
        [
            "vmlinuz",
            "ramdisk.img",
            "ramdisk.manifest.json",
            "ramdisk.cdx.json",
        ]
        .iter()
        .map(|name| fs::read(self.folder.path().join(out).join(name)).unwrap())
        .collect()
    }

    /// Files that a build left behind besides its results.
    fn left_behind(&self) -> Vec<String> {
        let expected = [
            "agent",
            "sources.list",
            "initramfs.lock",
            "cache",
            "out",
            "two",
        ];
        let mut left = Vec::new();
        for folder in ["", "cache", "out"] {
            let Ok(entries) = fs::read_dir(self.folder.path().join(folder)) else {
                continue;
            };
            for entry in entries {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let known = expected.contains(&name.as_str())
                    || ["apt", ".in-use", "vmlinuz"].contains(&name.as_str())
                    || name.starts_with("ramdisk.")
                    || Path::new(&name)
                        .extension()
                        .is_some_and(|kind| kind == "deb");
                if !known {
                    left.push(name);
                }
            }
        }
        left
    }
}

#[test]
fn two_builds_from_one_lock_are_the_same_bytes() {
    let mut test = TestBuild::new();
    test.build("out").unwrap();
    let mut options = test.options("two");
    options.now += 1000; // a later day must not show
    compose::build(&mut test.archive, &options).unwrap();
    assert_eq!(test.bytes("out"), test.bytes("two"));
    assert!(test.left_behind().is_empty(), "{:?}", test.left_behind());
}

#[test]
fn a_locked_and_cached_build_needs_no_network() {
    let mut test = TestBuild::new();
    test.build("out").unwrap();
    test.archive.offline = true;
    test.build("two").unwrap();
    assert_eq!(test.bytes("out"), test.bytes("two"));
}

#[test]
fn the_ramdisk_holds_the_recipe_the_agent_and_the_chosen_modules() {
    let mut test = TestBuild::new();
    test.build("out").unwrap();
    let report = inspect::inspect(&test.folder.path().join("out/ramdisk.img")).unwrap();
    let parts: BTreeSet<_> = report.parts.iter().map(|part| part.part.as_str()).collect();
    for part in [
        "agent",
        "boot",
        "init",
        "modules-else",
        "ssh",
        "storage",
        "udev",
    ] {
        assert!(parts.contains(part), "{part} is missing from {parts:?}");
    }
    assert!(!parts.contains("modules-net"), "wireless was taken");
    assert_eq!(report.kernel, RELEASE);
    assert!(
        report
            .packages
            .iter()
            .any(|package| package.package == KERNEL)
    );
    assert_eq!(report.built, 1_700_000_000);
}

#[test]
fn the_bill_of_materials_lists_agent_crates_and_packages() {
    let mut test = TestBuild::new();
    let read = |test: &TestBuild| -> serde_json::Value {
        let path = test.folder.path().join("out/ramdisk.cdx.json");
        let bill = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(sbom::shape::problems(&bill), Vec::<String>::new());
        bill
    };
    let agents = |bill: &serde_json::Value| -> serde_json::Value {
        let components = bill["components"].as_array().unwrap();
        let agent = components.iter().find(|part| part["name"] == "provision");
        agent.unwrap().clone()
    };
    test.build("out").unwrap();
    let first = read(&test);
    let printed = first.to_string();
    assert!(printed.contains("pkg:deb/debian/mdadm@1:2-3?arch=amd64&distro=bookworm"));
    assert!(printed.contains(&lock::hex(&Sha256::digest(file_of("mdadm")))));
    let sha256 = lock::hex(&Sha256::digest(static_program()));
    assert_eq!(agents(&first)["hashes"][0]["content"], sha256.as_str());

    // the agent's own bill counts where it is about this agent
    let own = |sha256: &str| {
        serde_json::json!({
            "metadata": {"component": {"hashes": [{"alg": "SHA-256", "content": sha256}]}},
            "components": [{"type": "library", "bom-ref": "pkg:cargo/x@1", "name": "x"}],
        })
    };
    let path = test.folder.path().join("agent.cdx.json");
    fs::write(&path, own(&sha256).to_string()).unwrap();
    test.build("out").unwrap();
    assert_eq!(agents(&read(&test))["components"][0]["name"], "x");
    fs::write(&path, own(&"00".repeat(32)).to_string()).unwrap();
    test.build("out").unwrap();
    assert_eq!(agents(&read(&test)).get("components"), None);
    fs::write(&path, "{").unwrap();
    let error = test.build("out").unwrap_err();
    assert!(error.to_string().starts_with("cannot parse"), "{error}");
}

#[test]
fn authorities_are_put_in_and_named_in_the_settings() {
    let authority = |until: i32| {
        let mut params = rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    };
    let mut test = TestBuild::new();
    let at = |test: &TestBuild, name: &str| test.folder.path().join(name);
    let files = |test: &TestBuild| {
        let packed = fs::read(at(test, "out/ramdisk.img")).unwrap();
        let raw = zstd::decode_all(packed.as_slice()).unwrap();
        String::from_utf8_lossy(&raw).into_owned()
    };
    let pem = authority(2036);
    fs::write(at(&test, "ca.pem"), &pem).unwrap();
    // with settings of the operator's, whose last line has no end, and without any
    for conf in [Some("trust=strict\nca_only=yes"), None] {
        let mut options = test.options("out");
        options.ca = Some(at(&test, "ca.pem"));
        options.conf = conf.map(|text| {
            let path = at(&test, "conf");
            fs::write(&path, text).unwrap();
            path
        });
        compose::build(&mut test.archive, &options).unwrap();
        let files = files(&test);
        assert!(files.contains("etc/provision/ca.pem") && files.contains(&pem));
        let settings = match conf {
            Some(conf) => format!("{conf}\nca=/etc/provision/ca.pem\n"),
            None => "ca=/etc/provision/ca.pem\n".to_owned(),
        };
        assert!(files.contains(&settings), "{conf:?}");
    }
    for (text, why) in [
        (authority(2023), "has an expired certificate, number 1"),
        ("ca".to_owned(), "has no certificate in PEM format"),
    ] {
        fs::write(at(&test, "ca.pem"), text).unwrap();
        let mut options = test.options("bad");
        options.ca = Some(at(&test, "ca.pem"));
        let error = compose::build(&mut test.archive, &options).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(!options.out.join("ramdisk.img").exists());
    }
}

#[test]
fn firmware_and_modules_can_be_added() {
    let mut test = TestBuild::new();
    let mut options = test.options("out");
    options.firmware = vec!["firmware-x".to_owned()];
    options.modules = vec!["drivers/net/wireless/".to_owned()];
    compose::build(&mut test.archive, &options).unwrap();
    let report = inspect::inspect(&options.out.join("ramdisk.img")).unwrap();
    let parts: BTreeSet<_> = report.parts.iter().map(|part| part.part.as_str()).collect();
    assert!(parts.contains("firmware") && parts.contains("modules-net"));
    let error = test.build("out").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it has `firmware-x`, which is not requested")
    );
}

#[test]
fn a_locked_version_that_is_gone_is_named_with_a_hint() {
    let mut test = TestBuild::new();
    test.build("out").unwrap();
    fs::remove_file(test.folder.path().join("cache/mdadm_1%3a2-3_amd64.deb")).unwrap();
    test.archive.moved_on = true;
    let error = test.build("two").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the locked package `mdadm` 1:2-3 is neither in the cache"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--renew-lock"));
    test.archive.offline = true;
    let error = test.build("two").unwrap_err();
    assert_eq!(error.to_string(), "cannot fetch apt's package lists");
}

#[test]
fn a_damaged_package_file_is_fetched_again_and_a_tampered_one_refused() {
    let mut test = TestBuild::new();
    test.build("out").unwrap();
    let file = test.folder.path().join("cache/udev_1%3a2-3_amd64.deb");
    fs::write(&file, "half").unwrap();
    test.build("two").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), file_of("udev"));
    fs::write(&file, "half").unwrap();
    test.archive.tampered = true;
    let error = test.build("two").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the mirror's `udev` 1:2-3 has another sha256 than in the lock"
    );
}

#[test]
fn a_file_that_its_package_lacks_is_named() {
    let mut test = TestBuild::new();
    test.archive.without = Some("/sbin/mdadm");
    let error = test.build("out").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the package `mdadm` has no file `/sbin/mdadm`"
    );
}

#[test]
fn a_dynamic_agent_is_refused_before_anything_is_fetched() {
    let mut test = TestBuild::new();
    let own = std::env::current_exe().unwrap();
    let mut options = test.options("out");
    options.agent = own;
    let error = compose::build(&mut test.archive, &options).unwrap_err();
    assert!(matches!(error, Error::DynamicAgent { .. }));
    assert_eq!(test.archive.calls, 0);
}

#[test]
fn a_failure_of_any_program_leaves_an_earlier_result_alone_and_no_litter() {
    let calls = {
        let mut test = TestBuild::new();
        test.build("out").unwrap();
        test.archive.calls
    };
    assert!(calls > 40, "{calls}");
    let mut recovered = 0;
    for n in 0..calls {
        let mut test = TestBuild::new();
        let out = test.folder.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("ramdisk.img"), "earlier").unwrap();
        test.archive.failing_at = Some(n);
        match test.build("out") {
            Err(_) => {
                let image = fs::read_to_string(out.join("ramdisk.img")).unwrap();
                assert_eq!(image, "earlier");
                assert!(!out.join("vmlinuz").exists(), "call {n}");
            }
            // Each package is then fetched by itself.
            Ok(()) => recovered += 1,
        }
        assert!(
            test.left_behind().is_empty(),
            "call {n}: {:?}",
            test.left_behind()
        );
        // And the next build, with everything in order, makes up for it.
        if n % 16 == 0 {
            test.archive.failing_at = None;
            test.build("out").unwrap();
        }
    }
    // Of all calls only those that fetch many packages at once may fail.
    assert!((1..=3).contains(&recovered), "{recovered}");
}
