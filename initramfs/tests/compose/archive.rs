//! A fake apt with its archive, dpkg-deb and depmod.

use std::fs;
use std::path::{Path, PathBuf};

use apt_sources::lock;
use host::exec::{Cmd, Exec, ExecError, Output, Program};
use initramfs::recipe;
use sha2::{Digest, Sha256};

use crate::{KERNEL, RELEASE};

/// A fake Debian archive whose packages have the recipe's files.
#[derive(Default)]
pub(crate) struct Archive {
    /// Number of programs started so far.
    pub(crate) calls: usize,
    /// The call that fails, counted from 0.
    pub(crate) failing_at: Option<usize>,
    /// No network: every apt-get fails.
    pub(crate) offline: bool,
    /// The mirror has other versions than the lock.
    pub(crate) moved_on: bool,
    /// The mirror's files have other digests than its package lists.
    pub(crate) tampered: bool,
    /// A file of the recipe that its package does not have.
    pub(crate) without: Option<&'static str>,
    pub(crate) sources: PathBuf,
}

fn names() -> Vec<String> {
    let mut names = recipe::packages(&recipe::parse(recipe::RECIPE).unwrap());
    names.extend(["linux-image-amd64", KERNEL, "firmware-x"].map(str::to_owned));
    names
}

pub(crate) fn file_of(package: &str) -> String {
    format!("the package file of {package}")
}

impl Archive {
    pub(crate) fn new(sources: &Path) -> Self {
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
