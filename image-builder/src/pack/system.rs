//! The operating system in an ext filesystem, found by its files. They are read with debugfs: nothing is mounted, and
//! no program of the image is run.

use std::path::Path;

use host::exec::{Cmd, Exec};
use os_image::manifest::System;

use crate::tools::Tool;

/// A feature and a file that shows it.
const FEATURES: [(&str, &str); 6] = [
    ("lvm", "/sbin/lvm"),
    ("md", "/sbin/mdadm"),
    ("cloud-init", "/usr/bin/cloud-init"),
    ("grub-pc", "/usr/lib/grub/i386-pc/moddep.lst"),
    ("grub-efi", "/usr/lib/grub/x86_64-efi/moddep.lst"),
    ("grub-efi", "/usr/lib/grub/arm64-efi/moddep.lst"),
];

/// An architecture and the loader that all its programs need.
const LOADERS: [(&str, &str); 3] = [
    ("x86_64", "/lib64/ld-linux-x86-64.so.2"),
    ("aarch64", "/lib/ld-linux-aarch64.so.1"),
    ("riscv64", "/lib/ld-linux-riscv64-lp64d.so.1"),
];

/// What was found; unknown properties are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundSystem {
    /// Name and version, from os-release.
    pub(crate) os: System,
    /// Machine architecture, by the loader of its programs.
    pub(crate) architecture: Option<String>,
    /// Features, as in the manifest.
    pub(crate) features: Vec<String>,
}

/// Finds the system in the ext filesystem in `path`; errors leave properties unknown.
pub(crate) fn look(path: &Path, exec: &mut dyn Exec) -> FoundSystem {
    if exec.find(Tool::Debugfs.into()).is_none() {
        return FoundSystem::default();
    }
    let mut ask = |request: &str| {
        let cmd = Cmd::new(Tool::Debugfs).args(["-R", request]).arg(path);
        // debugfs exits with 0 even if the file does not exist
        exec.run(&cmd)
            .map(|output| output.stdout)
            .unwrap_or_default()
    };
    let mut there = |file: &str| ask(&format!("stat {file}")).contains("Inode:");
    let mut features: Vec<String> = Vec::new();
    for (feature, file) in FEATURES {
        if !features.iter().any(|known| known == feature) && there(file) {
            features.push(feature.to_owned());
        }
    }
    let loader = LOADERS.iter().find(|(_, file)| there(file));
    FoundSystem {
        architecture: loader.map(|(name, _)| (*name).to_owned()),
        features,
        os: os_release(&ask("cat /usr/lib/os-release")),
    }
}

/// Parses os-release: `KEY=VALUE` lines, values quoted or not.
fn os_release(text: &str) -> System {
    let value = |key: &str| {
        let of = |line: &str| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let value: Option<String> = text.lines().find_map(of);
        // the manifest allows neither longer values nor control characters
        value
            .filter(|value| value.len() <= 128 && !value.chars().any(char::is_control))
            .unwrap_or_default()
    };
    System {
        family: value("ID"),
        name: value("NAME"),
        version: value("VERSION_ID"),
        codename: value("VERSION_CODENAME"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::fake::Script;

    #[test]
    fn a_system_is_found_by_its_files() {
        let mut script = Script::new()
            .answering(
                "debugfs -R 'cat /usr/lib/os-release'",
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
                 VERSION_CODENAME=bookworm\nID=debian\n",
            )
            .answering("debugfs -R 'stat /sbin/lvm'", "Inode: 12   Type: regular")
            .answering("debugfs -R 'stat /usr/lib/grub/i386-pc/moddep.lst'", "Inode: 13")
            .answering("debugfs -R 'stat /lib64/ld-linux-x86-64.so.2'", "Inode: 14");
        let found = look(Path::new("/image"), &mut script);
        assert_eq!(found.features, ["lvm", "grub-pc"]);
        assert_eq!(found.architecture.as_deref(), Some("x86_64"));
        assert_eq!(
            (found.os.family.as_str(), found.os.version.as_str()),
            ("debian", "12")
        );
        assert_eq!(found.os.codename, "bookworm");
    }

    #[test]
    fn unknown_properties_stay_empty() {
        let mut script = Script::new().without(Tool::Debugfs);
        assert_eq!(
            look(Path::new("/image"), &mut script),
            FoundSystem::default()
        );
        assert_eq!(
            look(Path::new("/image"), &mut Script::new()),
            FoundSystem::default()
        );
        assert_eq!(os_release("NAME=\"a\u{1b}[2J\"\nID"), System::default());
    }
}
