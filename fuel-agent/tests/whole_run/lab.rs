//! A place for a run: an image, a server for it that also plays the orchestrator, a request, and the binary.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use flate2::write::GzEncoder;
use fuel_agent::testing::fault_server::{Fault, FaultServer, ReceivedRequest, Reply};
use serde_json::{Value, json};

/// Programs that these tests need beside the agent.
const PROGRAMS: [&str; 6] = [
    "mkfs.ext4",
    "mkfs.ext2",
    "e2fsck",
    "debugfs",
    "sfdisk",
    "blkid",
];

/// A program's start, for tests: it reads and makes files of the test's own.
#[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Whether all programs are here; prints which are not.
pub(crate) fn equipped() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &&&str| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .any(|folder| folder.join(program).exists())
    };
    let missing: Vec<&&str> = PROGRAMS.iter().filter(|program| !found(program)).collect();
    if !missing.is_empty() {
        host::fake::skipped(format_args!("not installed: {missing:?}"));
    }
    missing.is_empty()
}

/// Runs a program to its end; its standard output.
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    let path = "/usr/sbin:/sbin:/usr/bin:/bin";
    let output = command(program)
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The image: ext4 with the files that an installation needs.
pub(crate) struct Image {
    pub(crate) raw: Vec<u8>,
    pub(crate) gzip: Vec<u8>,
    metadata: Value,
}

pub(crate) static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    make_tree(&tree);
    let file = folder.path().join("root.img");
    let made = fs::File::create(&file).unwrap();
    made.set_len(48 << 20).unwrap();
    let (tree, image) = (tree.to_str().unwrap(), file.to_str().unwrap());
    // blocks of 4 KiB: it can be mounted from sectors of either size
    tool("mkfs.ext4", &["-q", "-F", "-b", "4096", "-d", tree, image]);
    let raw = fs::read(&file).unwrap();
    let gzip = gzip(&raw);
    let metadata = json!({"images": [{"format": "ext4", "raw_name": "root.img", "raw_size": raw.len(),
            "raw_md5": md5(&raw), "container_name": "root.img.gz",
            "container_size": gzip.len()}]});
    Image {
        raw,
        gzip,
        metadata,
    }
});

/// The files that an installation needs in a system.
pub(crate) fn make_tree(tree: &Path) {
    for sub in [
        "boot",
        "etc/default",
        "var/log",
        "lib/modules/6.1.0-1-amd64",
        "proc",
        "tmp",
    ] {
        fs::create_dir_all(tree.join(sub)).unwrap();
    }
    for (file, content) in [
        ("hello", "from the image\n"),
        ("boot/vmlinuz-6.1.0-1-amd64", "kernel"),
        ("boot/initrd.img-6.1.0-1-amd64", "ramdisk"),
        ("var/log/old", "a log of the image\n"),
        ("etc/hostname", "image\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
    ] {
        fs::write(tree.join(file), content).unwrap();
    }
}

pub(crate) fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn md5(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let line = tool("md5sum", &[file.path().to_str().unwrap()]);
    line.split_whitespace().next().unwrap().to_owned()
}

/// What the server does beside serving well.
#[derive(Clone, Default)]
pub(crate) struct Mood {
    /// Answers to calls of the completion, the last one again and again; 200 without any.
    pub(crate) built: Vec<u16>,
    /// Changes answers that carry the image.
    pub(crate) image: Option<fn(&ReceivedRequest, Reply) -> Reply>,
    /// There is a second image, `/other.img.gz`.
    pub(crate) has_other: bool,
    /// Changes answers that carry that one.
    pub(crate) other: Option<fn(&ReceivedRequest, Reply) -> Reply>,
    /// There is an archive, `/root.tar.gz`: this, unpacked.
    pub(crate) archive: Option<Vec<u8>>,
    /// The failure callback is never answered.
    pub(crate) failed_hangs: bool,
    /// The digest that the metadata names instead of the right one.
    pub(crate) digest: Option<&'static str>,
    /// The metadata states this as the length of the image.
    pub(crate) raw_size: Option<u64>,
}

/// A folder of its own for every run.
pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: FaultServer,
    pub(crate) mood: Arc<Mutex<Mood>>,
}

/// Everything that a run leaves.
pub(crate) struct Left {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mood = Arc::new(Mutex::new(Mood::default()));
        let (of_server, request) = (Arc::clone(&mood), folder.path().join("request.json"));
        let server = FaultServer::start(move |received| {
            answer(received, &mut of_server.lock().unwrap(), &request)
        });
        let lab = Self {
            folder,
            server: server.unwrap(),
            mood,
        };
        lab.put("cmdline", "quiet");
        lab.put("provision.conf", "");
        lab.put("request.json", &lab.request("/root.img.gz").to_string());
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What Fuel would send for a node with one disk and its logs apart.
    pub(crate) fn request(&self, image: &str) -> Value {
        let base = include_str!("../../../testdata/requests/no-boot-volume.json");
        let mut request: Value = serde_json::from_str(base).unwrap();
        request["ks_meta"]["pm_data"]["ks_spaces"] = json!([{
            "type": "disk", "id": "sda", "name": "sda", "size": 20480, "free_space": 20000,
            "extra": ["disk/by-id/ata-lab"],
            "volumes": [
                {"type": "boot", "size": 300},
                {"type": "partition", "mount": "/", "file_system": "ext4", "size": 256, "name": "Root"},
                {"type": "partition", "mount": "/var/log", "file_system": "ext4", "size": 64, "name": "Log"},
                {"type": "partition", "mount": "swap", "file_system": "swap", "size": 64, "name": "Swap"},
            ],
        }]);
        request["ks_meta"]["image_data"] =
            json!({"/": {"uri": self.server.url(image), "format": "ext4", "container": "gzip"}});
        request
    }

    fn provision(&self, args: &[&str]) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_provision"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("PROVISION_RUN_DIR", self.path("run"))
            .env("PROVISION_KERNEL_COMMAND_LINE", self.path("cmdline"))
            .env("PROVISION_CONF", self.path("provision.conf"))
            .env("PROVISION_RAMDISK_DIR", self.path("ramdisk"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Left {
        let output = self.provision(args).output().unwrap();
        Left {
            status: output.status.code().expect("no signal ends it"),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts it and goes on; its output can be read from the child.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.provision(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// The same with `output` as standard output and standard error.
    pub(crate) fn start_on(&self, args: &[&str], output: fs::File) -> Child {
        let mut command = self.provision(args);
        command.stderr(output.try_clone().unwrap()).stdout(output);
        command.spawn().unwrap()
    }

    pub(crate) fn report(&self) -> Value {
        let bytes = fs::read(self.path("run/report.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Requests that came for `path`, whatever their query.
    pub(crate) fn requests_to(&self, path: &str) -> Vec<ReceivedRequest> {
        let mut requests = self.server.requests();
        requests.retain(|request| request.target.split('?').next() == Some(path));
        requests
    }

    /// Waits until the image itself has been requested, not only its beginning.
    pub(crate) fn until_image_flows(&self) {
        let flows = || {
            let requests = self.requests_to("/root.img.gz");
            let whole = |it: &ReceivedRequest| {
                it.method == "GET" && it.range().is_none_or(|it| it.1.is_none())
            };
            Ok(requests.iter().any(whole).then_some(()))
        };
        host::wait::until(Duration::from_mins(1), flows).unwrap();
    }
}

fn answer(received: &ReceivedRequest, mood: &mut Mood, request: &Path) -> Reply {
    let path = received.target.split('?').next().unwrap_or_default();
    match path {
        // the same image under another name, which waits for the mood of its own
        "/other.img.gz" if mood.has_other => {
            let reply = Reply::file(received, &IMAGE.gzip, "\"2\"");
            mood.other
                .map_or(reply.clone(), |change| change(received, reply))
        }
        "/root.tar.gz" if mood.archive.is_some() => {
            let archive = mood.archive.as_deref().unwrap_or_default();
            Reply::file(received, &gzip(archive), "\"3\"")
        }
        "/root.img.gz" => {
            let reply = Reply::file(received, &IMAGE.gzip, "\"1\"");
            mood.image
                .map_or(reply.clone(), |change| change(received, reply))
        }
        "/root.yaml" => {
            let mut metadata = IMAGE.metadata.clone();
            if mood.has_other {
                let first = metadata["images"][0].to_string();
                let second = first.replace("root.img", "other.img");
                let second = serde_json::from_str(&second).unwrap();
                metadata["images"].as_array_mut().unwrap().push(second);
            }
            if let Some(archive) = &mood.archive {
                let entry = json!({"format": "tar", "raw_name": "root.tar", "raw_size": archive.len(),
                    "raw_md5": md5(archive), "container_name": "root.tar.gz"});
                metadata["images"] = json!([entry]);
            }
            if let Some(digest) = mood.digest {
                metadata["images"][0]["raw_md5"] = json!(digest);
            }
            if let Some(size) = mood.raw_size {
                metadata["images"][0]["raw_size"] = json!(size);
            }
            Reply::whole(metadata.to_string().as_bytes())
        }
        "/request.json" => Reply::whole(&fs::read(request).unwrap()),
        "/built" => match mood.built.as_slice() {
            [] => Reply::status(200),
            [last] => Reply::status(*last),
            _ => Reply::status(mood.built.remove(0)),
        },
        "/failed" if mood.failed_hangs => Reply::status(200).fault(Fault::StallInHead),
        "/failed" => Reply::status(200),
        _ => Reply::status(404),
    }
}

/// Sends a signal to a process that a test has started.
pub(crate) fn signal(child: &Child, name: &str) {
    tool("kill", &["-s", name, &child.id().to_string()]);
}
