//! The programs that rows run: where they are, the names that commands use, and their versions.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use host::exec::System;

use crate::cli::Options;
use crate::row::Row;
use testbed::shell;

/// Where Debian has programs.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The `PATH` of commands: a folder with wrappers for programs that are elsewhere or have other names, the folder that
/// `peers.sh` fills, and the system's.
#[derive(Debug)]
pub(crate) struct Programs {
    path: OsString,
}

/// Name of a program, and the command that prints its version.
const VERSIONS: [(&str, &str); 11] = [
    ("provision", "provision --version"),
    ("coreos-installer", "coreos-installer --version"),
    ("bmap-rs", "bmap-rs --version"),
    ("bmaptool", "bmaptool --version 2>&1"),
    (
        "ironic-python",
        "ironic-python -c 'import importlib.metadata as m; \
         print(\"ironic-python-agent\", m.version(\"ironic-python-agent\"))'",
    ),
    (
        "fuel-python",
        "fuel-python -c 'import importlib.metadata as m; print(\"fuel-agent\", m.version(\"fuel-agent\"))'",
    ),
    ("curl", "curl --version"),
    ("zstd", "zstd --version"),
    ("pigz", "pigz --version 2>&1"),
    ("qemu-img", "qemu-img --version"),
    ("aria2c", "aria2c --version"),
];

impl Programs {
    /// Writes the wrappers to `work/bin`.
    pub(crate) fn set_up(options: &Options, work: &Path) -> Result<Self> {
        let folder = work.join("bin");
        fs::create_dir_all(&folder).context("cannot make the folder of wrappers")?;
        let python = |module: &str| -> Option<PathBuf> {
            let python = options.peers.join("python/bin/python3");
            let library = options.peers.join("python/lib");
            let mut versions = fs::read_dir(library).ok()?.filter_map(Result::ok);
            let installed =
                versions.any(|it| it.path().join("site-packages").join(module).is_dir());
            installed.then_some(python)
        };
        let names = [
            ("bench", std::env::current_exe().ok()),
            ("provision", Some(options.agent.clone())),
            ("image-builder", Some(options.builder.clone())),
            ("ironic-python", python("ironic_python_agent")),
            ("fuel-python", python("fuel_agent")),
        ];
        for (name, program) in names {
            let _ = fs::remove_file(folder.join(name));
            let program = program.and_then(|path| std::path::absolute(path).ok());
            if let Some(program) = program.filter(|path| is_program(path)) {
                write_wrapper(&folder.join(name), &program)?;
            }
        }
        let mut path = OsString::from(folder);
        path.push(":");
        path.push(std::path::absolute(options.peers.join("bin"))?);
        path.push(":");
        path.push(SYSTEM_PATH);
        Ok(Self { path })
    }

    /// Gives started programs this `PATH`.
    pub(crate) fn apply(&self, system: System) -> System {
        system.with_path(&self.path)
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path)
            .map(|folder| folder.join(name))
            .find(|path| is_program(path))
    }

    /// The programs of a row that are not installed.
    pub(crate) fn missing(&self, row: &Row) -> Vec<&'static str> {
        let mut names = row.programs.to_vec();
        names.retain(|name| self.find(name).is_none());
        names
    }

    /// Name and version of every program in [`VERSIONS`] that is installed.
    pub(crate) fn versions(&self, system: &mut System) -> Vec<String> {
        let mut versions = Vec::new();
        for (name, script) in VERSIONS {
            if self.find(name).is_none() {
                continue;
            }
            // some exit with another status than 0 after printing it
            let script = format!("{script} | cat");
            let output = shell::output(system, Path::new("/"), &script).unwrap_or_default();
            let first = output.lines().find(|line| !line.trim().is_empty());
            versions.push(version(first.unwrap_or(name)));
        }
        versions
    }
}

/// Name and version in the line that a program prints, without the versions of its libraries.
fn version(line: &str) -> String {
    let is_version = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut words = line.split_whitespace();
    let name = words.find(|word| word.starts_with(char::is_alphabetic));
    let (Some(name), Some(version)) = (name, words.find(is_version)) else {
        return line.trim().to_owned();
    };
    let version = version.trim_start_matches('v').trim_end_matches(',');
    format!("{name} {version}")
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Writes a wrapper. A symbolic link does not do: Python finds its libraries by the path that it was started with.
fn write_wrapper(name: &Path, program: &Path) -> Result<()> {
    let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
    fs::write(name, text)
        .and_then(|()| fs::set_permissions(name, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_version_are_read_from_what_a_program_prints() {
        for (line, expected) in [
            (
                "curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1 zlib/1.2.13",
                "curl 7.88.1",
            ),
            (
                "*** Zstandard CLI (64-bit) v1.5.4, by its author ***",
                "Zstandard 1.5.4",
            ),
            (
                "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7)",
                "qemu-img 7.2.22",
            ),
            ("pigz 2.6", "pigz 2.6"),
            ("strange", "strange"),
        ] {
            assert_eq!(version(line), expected);
        }
    }
}
