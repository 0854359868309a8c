//! Builds with a fake apt, dpkg-deb and depmod: what is written, what is refused, and that two builds are identical.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use apt_sources::Proxies;
use apt_sources::lock;
use host::exec::{Cmd, Exec, ExecError, Output, Program};
use initramfs::compose::{self, BuildOptions};
use initramfs::error::Error;
use initramfs::inspect;
use initramfs::recipe;
use sha2::{Digest, Sha256};

const KERNEL: &str = "linux-image-6.1.0-9-amd64";
const RELEASE: &str = "6.1.0-9-amd64";

/// A fake Debian archive whose packages have the recipe's files.
#[derive(Default)]
struct Archive {
    /// Number of programs started so far.
    calls: usize,
    /// The call that fails, counted from 0.
    failing_at: Option<usize>,
    /// No network: every apt-get fails.
    offline: bool,
    /// The mirror has other versions than the lock.
    moved_on: bool,
    /// The mirror's files have other digests than its package lists.
    tampered: bool,
    /// A file of the recipe that its package does not have.
    without: Option<&'static str>,
    sources: PathBuf,
}

fn names() -> Vec<String> {
    let mut names = recipe::packages(&recipe::parse(recipe::RECIPE).unwrap());
    names.extend(["linux-image-amd64", KERNEL, "firmware-x"].map(str::to_owned));
    names
}

fn file_of(package: &str) -> String {
    format!("the package file of {package}")
}

impl Archive {
    fn new(sources: &Path) -> Self {
        fs::write(sources, "deb http://mirror.test/debian bookworm main\n").unwrap();
        Self {
            sources: sources.to_owned(),
            ..Self::default()
        }
    }

    fn apt_get(&self, cmd: &Cmd, line: &str) -> Result<String, ExecError> {
        if self.offline {
            return Err(failed(line, "Temporary failure resolving"));
        }
        if line.contains("--print-uris") {
            let uri = |name: &String| format!("'http://m/{name}' {name}_1%3a2-3_amd64.deb 1 x");
            return Ok(names().iter().map(uri).collect::<Vec<_>>().join("\n"));
        }
        if line.contains(" download ") {
            if self.moved_on {
                return Err(failed(line, "E: Version '1:2-3' for 'x' was not found"));
            }
            let asked = cmd
                .args
                .iter()
                .filter_map(|arg| arg.to_str()?.split_once('='));
            for (name, version) in asked {
                assert_eq!(version, "1:2-3");
                let file = cmd.directory.as_ref().unwrap();
                let text = if self.tampered {
                    "other".to_owned()
                } else {
                    file_of(name)
                };
                fs::write(file.join(format!("{name}_1%3a2-3_amd64.deb")), text).unwrap();
            }
        }
        Ok(String::new())
    }

    fn unpack(&self, cmd: &Cmd) {
        let into = Path::new(&cmd.args[2]);
        let package = into.file_name().unwrap().to_str().unwrap();
        let put = |path: &str, text: &str| {
            let path = into.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for entry in recipe::parse(recipe::RECIPE).unwrap() {
            if entry.package == package && self.without != Some(entry.path.as_str()) {
                put(&entry.path.replace('*', "some"), &entry.path);
            }
        }
        if package == KERNEL {
            put(&format!("boot/vmlinuz-{RELEASE}"), "kernel");
            for module in ["drivers/block/virtio_blk", "drivers/net/wireless/wifi"] {
                put(
                    &format!("lib/modules/{RELEASE}/kernel/{module}.ko.xz"),
                    module,
                );
            }
            for index in [
                "modules.order",
                "modules.builtin",
                "modules.builtin.modinfo",
            ] {
                put(&format!("lib/modules/{RELEASE}/{index}"), "");
            }
        }
        if package == "firmware-x" {
            put("lib/firmware/x/a.bin", "blob");
        }
    }

    /// Indexes the modules that exist, unsorted.
    fn index(cmd: &Cmd) {
        let base = Path::new(&cmd.args[3]);
        let folder = base.join("lib/modules").join(&cmd.args[4]);
        let dep = ["drivers/net/wireless/wifi", "drivers/block/virtio_blk"]
            .iter()
            .map(|module| format!("kernel/{module}.ko.xz"))
            .filter(|module| folder.join(module).exists())
            .fold(String::new(), |text, module| text + &module + ":\n");
        fs::write(folder.join("modules.dep"), dep).unwrap();
        for index in ["modules.softdep", "modules.alias", "modules.dep.bin"] {
            fs::write(folder.join(index), "").unwrap();
        }
    }
}

fn stanza(name: &str, digest: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nVersion: 1:2-3\nArchitecture: amd64\nSize: 9\nSHA256: {digest}\n\
         Filename: pool/{name}.deb\nDepends: {depends}\n\n"
    )
}

fn failed(command: &str, stderr: &str) -> ExecError {
    ExecError::Failed {
        command: command.to_owned(),
        status: 100,
        last_line: stderr.to_owned(),
        stderr: stderr.to_owned(),
        stdout: String::new(),
    }
}

impl Exec for Archive {
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        let line = cmd.to_string();
        let call = self.calls;
        self.calls += 1;
        if self.failing_at == Some(call) {
            return Err(failed(&line, "injected"));
        }
        let mut output = Output::default();
        match cmd.program.name() {
            "apt-config" => output.stdout = format!("LIST='{}'\n", self.sources.display()),
            "apt-get" => output.stdout = self.apt_get(cmd, &line)?,
            "apt-cache" => {
                for name in names() {
                    let digest = lock::hex(&Sha256::digest(file_of(&name)));
                    let depends = if name == "linux-image-amd64" {
                        KERNEL
                    } else {
                        ""
                    };
                    output.stdout.push_str(&stanza(&name, &digest, depends));
                }
            }
            "dpkg-deb" => self.unpack(cmd),
            "depmod" => Self::index(cmd),
            other => panic!("a build does not start {other:?}"),
        }
        Ok(output)
    }

    fn find(&self, _: Program) -> Option<PathBuf> {
        None
    }
}

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
