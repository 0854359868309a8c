//! A machine from a text file: the files below its root, and the output of its query tools.
//!
//! ```text
//!   # for people
//!   PATH = TEXT            a file; \n, \\ and \x80 mean what they say
//!   PATH -> TARGET         a link
//!   [FOLDER]               where the paths that follow begin
//!   $ STATUS COMMAND       the start of a command line, then what it says, each line after `| `
//! ```
//!
//! `testdata/machines/capture.sh` writes one for the machine that it runs on.

use std::fs;
use std::path::{Path, PathBuf};

use fuel_agent::inventory::Reader;
use fuel_agent::tools::Tool;
use host::fake::{FakeDevices, Script};
use tempfile::TempDir;

/// A machine whose files are below a temporary folder.
pub struct Machine {
    root: TempDir,
    exec: Script,
}

/// The folder with the machines.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/machines")
}

/// Names of all machines, sorted.
pub fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("the folder is readable");
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().ok()?;
            Some(name.strip_suffix(".machine")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

impl Machine {
    /// Builds the machine of that name.
    pub fn load(name: &str) -> Self {
        let file = folder().join(format!("{name}.machine"));
        let text = fs::read_to_string(&file).expect("the machine is readable");
        Self::parse(&text)
    }

    /// Builds the machine of that text.
    pub fn parse(text: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let mut exec = Script::new();
        let mut answer: Option<(i32, String, String)> = None;
        let mut folder = "";
        for line in text.lines().map(str::trim_end) {
            let place = |path: &str| place(&root, &format!("{folder}/{path}"));
            if let Some(output) = line.strip_prefix('|') {
                let (_, _, all) = answer.as_mut().expect("an answer belongs to a command");
                all.push_str(output.strip_prefix(' ').unwrap_or(output));
                all.push('\n');
                continue;
            }
            exec = given(exec, answer.take());
            if let Some(command) = line.strip_prefix("$ ") {
                let (status, command) = command.split_once(' ').expect("a status and a command");
                let status = status.parse().expect("a status");
                answer = Some((status, command.to_owned(), String::new()));
            } else if let Some(begin) = line.strip_prefix('[') {
                folder = begin.trim_end_matches(']');
            } else if let Some((path, target)) = line.split_once(" -> ") {
                std::os::unix::fs::symlink(target, place(path)).expect("a new link");
            } else if let Some((path, text)) = line.split_once(" =") {
                fs::write(place(path), unescaped(text.trim_start())).expect("a new file");
            } else {
                assert!(
                    line.is_empty() || line.starts_with('#'),
                    "what is `{line}`?"
                );
            }
        }
        exec = given(exec, answer);
        // Unless the file has another answer, blkid finds nothing.
        let exec = exec.exiting("blkid", 2, "");
        Self { root, exec }
    }

    /// A reader of it; nothing is on its disks.
    pub fn reader(&self) -> Reader {
        self.reader_of(&FakeDevices::new())
    }

    /// A reader of it that finds these disks where it opens one.
    pub fn reader_of(&self, devices: &FakeDevices) -> Reader {
        let (exec, devices) = (Box::new(self.exec.clone()), Box::new(devices.clone()));
        Reader::below(self.root.path(), exec, devices)
    }

    /// The same machine without a tool.
    pub fn without(mut self, tool: Tool) -> Self {
        self.exec = self.exec.without(tool);
        self
    }

    /// Command lines that its tools were started with.
    pub fn queries(&self) -> String {
        self.exec.transcript()
    }
}

fn given(exec: Script, answer: Option<(i32, String, String)>) -> Script {
    match answer {
        Some((0, command, output)) => exec.answering(&command, &output),
        Some((status, command, output)) => exec.exiting(&command, status, &output),
        None => exec,
    }
}

fn place(root: &TempDir, path: &str) -> PathBuf {
    let path = root.path().join(path.trim().trim_start_matches('/'));
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    path
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (escape, length) = match after.as_bytes() {
            [b'n', ..] => (b'\n', 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', ..] => (u8::from_str_radix(&after[1..3], 16).expect("two digits"), 3),
            _ => panic!("what is `\\{after}`?"),
        };
        bytes.push(escape);
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
