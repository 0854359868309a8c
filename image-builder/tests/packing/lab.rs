//! A folder with images, and the program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A temporary folder.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

/// Result of a run.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_image-builder"))
}

/// Runs a tool, which must succeed.
pub(crate) fn tool(name: &str, args: &[&str]) -> Output {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output = Command::new(name).args(args).env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    output
}

/// Whether the test is run by root, which loop devices and mounts need; prints that it is skipped where it is not.
pub(crate) fn is_root() -> bool {
    let root = tool("id", &["-u"]).stdout.trim_ascii() == b"0";
    if !root {
        host::fake::skipped("not root");
    }
    root
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs `image-builder` in the folder.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let output = Command::new(program())
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        Ended {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it, which must succeed; returns its standard output.
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.status, Some(0), "{args:?}: {}", ended.stderr);
        ended.stdout
    }

    /// Runs it, which must be refused; returns its error and hint, without the log.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.status, Some(1), "{args:?}: {}", ended.stderr);
        let from = ended.stderr.find("error: ").unwrap_or(0);
        ended.stderr[from..].to_owned()
    }

    /// `pack` to `out`, as `x86_64`.
    pub(crate) fn pack(&self, source: &str, out: &str, more: &[&str]) -> String {
        let args = ["pack", source, "--out", out, "--architecture", "x86_64"];
        self.succeed(&[&args[..], more].concat())
    }

    /// An ext4 image of 24 MiB called `name`, with a few files in it.
    pub(crate) fn ext4(&self, name: &str) -> PathBuf {
        let tree = self.path("tree");
        fs::create_dir_all(tree.join("usr/lib")).unwrap();
        fs::create_dir_all(tree.join("sbin")).unwrap();
        fs::create_dir_all(tree.join("lib64")).unwrap();
        let release =
            "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        fs::write(tree.join("usr/lib/os-release"), release).unwrap();
        fs::write(tree.join("sbin/lvm"), noise(3_000_000, 7)).unwrap();
        fs::write(tree.join("lib64/ld-linux-x86-64.so.2"), noise(100_000, 8)).unwrap();
        let image = self.path(name);
        fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
        let (tree, path) = (tree.to_str().unwrap(), image.to_str().unwrap());
        tool("mke2fs", &["-q", "-t", "ext4", "-F", "-d", tree, path]);
        image
    }

    /// Names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }
}

/// Names in a folder, sorted; none where it does not exist.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Incompressible bytes, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[6]
    };
    (0..length).map(|_| next()).collect()
}
