//! Chooses kernel modules, with their dependencies and the firmware that they may request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use goblin::elf::Elf;
use host::exec::{Cmd, Exec};

use crate::error::{self, Error};
use crate::recipe;
use crate::tools::Tool;

/// The built-in list of modules.
pub(crate) const LIST: &str = include_str!("../files/modules");

/// Index files that `modprobe` and udev read.
pub(crate) const INDEXES: [&str; 8] = [
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
    "modules.symbols.bin",
];

/// One line of the list: a folder with `/` at its end, or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    take: bool,
    pattern: String,
}

/// Reads the list of modules.
fn parse_list(text: &str) -> Vec<Rule> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.strip_prefix('!') {
            Some(pattern) => Rule {
                take: false,
                pattern: pattern.to_owned(),
            },
            None => Rule {
                take: true,
                pattern: line.to_owned(),
            },
        })
        .collect()
}

/// A module's path without the prefix `kernel/` and the suffix `.ko`, `.ko.xz` or the like.
fn stem(path: &str) -> &str {
    let path = path.strip_prefix("kernel/").unwrap_or(path);
    path.split_once(".ko").map_or(path, |(stem, _)| stem)
}

/// The kernel's name of the module: its file name with `_` for `-`.
fn name_of(path: &str) -> String {
    let stem = stem(path);
    stem.rsplit('/').next().unwrap_or(stem).replace('-', "_")
}

/// Whether the last rule that matches `path` includes it.
fn taken(rules: &[Rule], path: &str) -> bool {
    let stem = stem(path);
    rules
        .iter()
        .rev()
        .find(|rule| {
            if rule.pattern.ends_with('/') {
                stem.starts_with(&rule.pattern)
            } else {
                recipe::matches(&rule.pattern, stem)
            }
        })
        .is_some_and(|rule| rule.take)
}

/// The dependency graph of a kernel's modules, from depmod's indexes. Paths are relative to the kernel's module folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    needs: BTreeMap<String, Vec<String>>,
    soft: BTreeMap<String, Vec<String>>,
    aliases: BTreeMap<String, Vec<String>>,
}

impl Graph {
    /// Parses the texts of `modules.dep`, `modules.softdep` and `modules.alias`.
    pub(crate) fn parse(dep: &str, softdep: &str, alias: &str) -> Self {
        let mut graph = Self::default();
        for line in dep.lines() {
            if let Some((module, needs)) = line.split_once(':') {
                let needs = needs.split_whitespace().map(str::to_owned).collect();
                graph.needs.insert(module.to_owned(), needs);
            }
        }
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(module)) = (words.next(), words.next()) {
                let wanted = words.filter(|w| !w.ends_with(':')).map(str::to_owned);
                graph
                    .soft
                    .entry(module.replace('-', "_"))
                    .or_default()
                    .extend(wanted);
            }
        }
        for line in alias.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            // Patterns match devices; only plain names can be soft dependencies.
            if let ["alias", alias, module] = words[..]
                && !alias.contains('*')
            {
                graph
                    .aliases
                    .entry(alias.to_owned())
                    .or_default()
                    .push(module.to_owned());
            }
        }
        graph
    }

    /// The modules that the rules include, with all hard and soft dependencies.
    fn closure(&self, rules: &[Rule]) -> BTreeSet<String> {
        let by_name: BTreeMap<String, &String> = self
            .needs
            .keys()
            .map(|path| (name_of(path), path))
            .collect();
        let mut open: Vec<&String> = self
            .needs
            .keys()
            .filter(|path| taken(rules, path))
            .collect();
        let mut closed = BTreeSet::new();
        while let Some(path) = open.pop() {
            if !closed.insert(path.clone()) {
                continue;
            }
            if let Some(needs) = self.needs.get(path) {
                // A dependency without a line of its own is an error of the index, and skipped.
                open.extend(needs.iter().filter(|need| self.needs.contains_key(*need)));
            }
            for soft in self.soft.get(&name_of(path)).into_iter().flatten() {
                let soft = soft.replace('-', "_");
                let by_alias = self
                    .aliases
                    .iter()
                    .filter(|(alias, _)| alias.replace('-', "_") == soft)
                    .flat_map(|(_, modules)| modules.iter().map(|m| m.replace('-', "_")));
                let names: Vec<String> = by_alias.chain([soft.clone()]).collect();
                open.extend(names.iter().filter_map(|name| by_name.get(name).copied()));
            }
        }
        closed
    }
}

/// The chosen modules of a kernel, copied to a folder with new indexes.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The kernel's release, like `6.1.0-40-amd64`.
    pub(crate) release: String,
    /// Paths relative to [`Modules::folder`], beginning with `kernel/`.
    pub(crate) paths: Vec<String>,
    /// Folder with only these modules and their indexes.
    pub(crate) folder: PathBuf,
    /// Firmware files that these modules may request, or patterns of them.
    pub(crate) firmware: BTreeSet<String>,
}

/// Makes the module indexes below `base`, without the machine's configuration of depmod.
fn depmod(exec: &mut dyn Exec, base: &Path, release: &str) -> Result<(), Error> {
    let cmd = Cmd::new(Tool::Depmod)
        .args(["-C", "/dev/null", "-b"])
        .arg(base)
        .arg(release);
    exec.run(&cmd)
        .map(drop)
        .map_err(error::tool("index the kernel modules"))
}

/// The folder that contains `lib/modules` (`root` or its `usr`), and the only kernel release in there.
pub(crate) fn release_of(root: &Path, package: &str) -> Result<(PathBuf, String), Error> {
    let none = |why: &str| Error::NoKernel {
        package: package.to_owned(),
        why: why.to_owned(),
    };
    let base = [root.to_owned(), root.join("usr")]
        .into_iter()
        .find(|base| base.join("lib/modules").is_dir())
        .ok_or_else(|| none("it has no `lib/modules`"))?;
    let folder = base.join("lib/modules");
    let mut releases = fs::read_dir(&folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(error::io("list", &folder))?;
    match (releases.pop(), releases.is_empty()) {
        (Some(release), true) => Ok((base, release.file_name().to_string_lossy().into_owned())),
        _ => Err(none("`lib/modules` does not have exactly one kernel")),
    }
}

/// Chooses modules of the kernel unpacked at `root` by the built-in list and then the `extra` rules, and copies them
/// below `stage`.
pub(crate) fn choose(
    exec: &mut dyn Exec,
    root: &Path,
    package: &str,
    extra: &[String],
    stage: &Path,
) -> Result<Modules, Error> {
    let (base, release) = release_of(root, package)?;
    depmod(exec, &base, &release)?;
    let from = base.join("lib/modules").join(&release);
    let read = |name: &str| {
        let path = from.join(name);
        fs::read_to_string(&path).map_err(error::io("read", &path))
    };
    let graph = Graph::parse(
        &read("modules.dep")?,
        &read("modules.softdep")?,
        &read("modules.alias")?,
    );
    let rules = parse_list(&format!("{LIST}\n{}", extra.join("\n")));
    let paths: Vec<String> = graph.closure(&rules).into_iter().collect();
    let to = stage.join("lib/modules").join(&release);
    let builtin = [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ];
    let mut firmware = BTreeSet::new();
    for path in paths.iter().map(String::as_str).chain(builtin) {
        let (source, target) = (from.join(path), to.join(path));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(error::io("create", folder))?;
        }
        fs::copy(&source, &target).map_err(error::io("copy", &source))?;
        firmware.extend(firmware_of(&source)?);
    }
    depmod(exec, stage, &release)?;
    Ok(Modules {
        release,
        paths,
        folder: to,
        firmware,
    })
}

/// The firmware that a module may request, from its `.modinfo` section; empty for a compressed module.
fn firmware_of(path: &Path) -> Result<Vec<String>, Error> {
    if path.extension().is_none_or(|kind| kind != "ko") {
        return Ok(Vec::new());
    }
    let bytes = fs::read(path).map_err(error::io("read", path))?;
    let elf = Elf::parse(&bytes).map_err(|source| Error::Elf {
        path: path.to_owned(),
        source,
    })?;
    let info = elf
        .section_headers
        .iter()
        .find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(".modinfo"))
        .and_then(goblin::elf::SectionHeader::file_range)
        .and_then(|range| bytes.get(range))
        .unwrap_or_default();
    Ok(parse_firmware(info))
}

/// The `firmware=` entries of a `.modinfo` section, whose entries end with NUL.
fn parse_firmware(info: &[u8]) -> Vec<String> {
    info.split(|&byte| byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok())
        .filter_map(|entry| entry.strip_prefix("firmware="))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko\n\
         kernel/fs/jbd2/jbd2.ko:\n\
         kernel/fs/mbcache.ko:\n\
         kernel/crypto/crc32c_generic.ko:\n\
         kernel/arch/x86/crypto/crc32c-intel.ko:\n\
         kernel/drivers/net/a.ko.xz: kernel/lib/b.ko.xz\n\
         kernel/lib/b.ko.xz: kernel/lib/c.ko.xz\n\
         kernel/lib/c.ko.xz: kernel/lib/b.ko.xz\n\
         kernel/drivers/net/old/x.ko:\n";
    const SOFT: &str = "# comment\nsoftdep ext4 pre: crc32c\n";
    const ALIAS: &str =
        "alias crc32c crc32c_generic\nalias crc32c crc32c_intel\nalias pci:v*d* x\n";

    fn closure(list: &str) -> Vec<String> {
        let graph = Graph::parse(DEP, SOFT, ALIAS);
        let modules = graph.closure(&parse_list(list));
        modules.iter().map(|path| name_of(path)).collect()
    }

    #[test]
    fn a_module_is_taken_with_its_hard_and_soft_dependencies() {
        assert_eq!(
            closure("fs/ext4/"),
            ["crc32c_intel", "crc32c_generic", "ext4", "jbd2", "mbcache"]
        );
    }

    #[test]
    fn compressed_modules_and_cycles_are_handled() {
        assert_eq!(closure("drivers/net/a"), ["a", "b", "c"]);
    }

    #[test]
    fn the_last_matching_rule_decides() {
        assert_eq!(closure("drivers/net/\n!drivers/net/old/"), ["a", "b", "c"]);
        assert_eq!(
            closure("drivers/net/old/\n!drivers/net/old/x\ndrivers/net/old/*"),
            ["x"]
        );
        assert!(closure("drivers/nothing/").is_empty());
    }

    #[test]
    fn the_built_in_list_names_the_drivers_of_common_nodes() {
        let rules = parse_list(LIST);
        for path in [
            "kernel/drivers/block/virtio_blk.ko",
            "kernel/drivers/net/virtio_net.ko",
            "kernel/drivers/ata/ahci.ko",
            "kernel/drivers/nvme/host/nvme.ko",
            "kernel/drivers/scsi/megaraid/megaraid_sas.ko",
            "kernel/drivers/net/ethernet/intel/ixgbe/ixgbe.ko",
            "kernel/drivers/md/raid1.ko",
            "kernel/fs/ext4/ext4.ko.xz",
        ] {
            assert!(taken(&rules, path), "{path}");
        }
        assert!(!taken(&rules, "kernel/drivers/net/wireless/ath/ath.ko"));
        assert!(!taken(&rules, "kernel/drivers/net/ethernet/ti/tlan.ko"));
    }

    #[test]
    fn firmware_is_read_from_modinfo() {
        let info = b"license=GPL\0firmware=bnx2/a.fw\0depends=\0firmware=bnx2/*.bin\0\0";
        assert_eq!(parse_firmware(info), ["bnx2/a.fw", "bnx2/*.bin"]);
    }

    #[test]
    fn a_folder_without_exactly_one_kernel_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(release_of(dir.path(), "p").is_err());
        fs::create_dir_all(dir.path().join("usr/lib/modules/6.12")).unwrap();
        let (base, release) = release_of(dir.path(), "p").unwrap();
        assert_eq!((base, release.as_str()), (dir.path().join("usr"), "6.12"));
        fs::create_dir_all(dir.path().join("usr/lib/modules/6.13")).unwrap();
        assert!(release_of(dir.path(), "p").is_err());
    }
}
