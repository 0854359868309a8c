//! Which programs are here, under which names lines start them, and of which versions they are.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use host::exec::System;

use crate::cli::Options;
use crate::rows::Row;
use testbed::shell;

/// Where programs of this machine are.
const USUAL: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The folder of names for programs that are not on the usual path, and what lines find on theirs.
#[derive(Debug)]
pub(crate) struct Programs {
    path: OsString,
}

/// How a program tells its version: its name in lines, and the line.
const VERSIONS: [(&str, &str); 11] = [
    ("provision", "provision --version"),
    ("coreos-installer", "coreos-installer --version"),
    ("bmap-rs", "bmap-rs --version"),
    ("bmaptool", "bmaptool --version 2>&1"),
    (
        "ironic-python",
        "ironic-python -c 'import importlib.metadata as m; print(\"ironic-python-agent\", m.version(\"ironic-python-agent\"))'",
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
    /// Gives every program that is there its name in `work/bin`.
    pub(crate) fn gather(options: &Options, work: &Path) -> Result<Self> {
        let folder = work.join("bin");
        fs::create_dir_all(&folder).context("cannot make the folder of programs")?;
        let python = |module: &str| -> Option<PathBuf> {
            let python = options.peers.join("python/bin/python3");
            let library = options.peers.join("python/lib");
            let mut versions = fs::read_dir(library).ok()?.filter_map(Result::ok);
            let there = versions.any(|it| it.path().join("site-packages").join(module).is_dir());
            there.then_some(python)
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
                wrap(&folder.join(name), &program)?;
            }
        }
        let mut path = OsString::from(folder);
        path.push(":");
        path.push(std::path::absolute(options.peers.join("bin"))?);
        path.push(":");
        path.push(USUAL);
        Ok(Self { path })
    }

    /// Starts programs by those names.
    pub(crate) fn system(&self, system: System) -> System {
        system.with_path(&self.path)
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path)
            .map(|folder| folder.join(name))
            .find(|path| is_program(path))
    }

    /// The programs of a row that are not there.
    pub(crate) fn missing(&self, row: &Row) -> Vec<&'static str> {
        let mut names = row.programs.to_vec();
        names.retain(|name| self.find(name).is_none());
        names
    }

    /// What is compared, with versions: a line each.
    pub(crate) fn versions(&self, system: &mut System) -> Vec<String> {
        let mut versions = Vec::new();
        for (name, script) in VERSIONS {
            if self.find(name).is_none() {
                continue;
            }
            // it may be that it ends otherwise than well after telling
            let script = format!("{script} | cat");
            let said = shell::output(system, Path::new("/"), &script).unwrap_or_default();
            let first = said.lines().find(|line| !line.trim().is_empty());
            versions.push(version(first.unwrap_or(name)));
        }
        versions
    }
}

/// Of the line in which a program tells its version: its name and the version, without those of its libraries.
fn version(said: &str) -> String {
    let is_version = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut words = said.split_whitespace();
    let name = words.find(|word| word.starts_with(char::is_alphabetic));
    let (Some(name), Some(version)) = (name, words.find(is_version)) else {
        return said.trim().to_owned();
    };
    let version = version.trim_start_matches('v').trim_end_matches(',');
    format!("{name} {version}")
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A program of another name: a link would not do, since a Python finds its libraries by its own path.
fn wrap(name: &Path, program: &Path) -> Result<()> {
    let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
    fs::write(name, text)
        .and_then(|()| fs::set_permissions(name, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_program_says_of_its_version_name_and_number_are_kept() {
        for (said, expected) in [
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
            assert_eq!(version(said), expected);
        }
    }
}
