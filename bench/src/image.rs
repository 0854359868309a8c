//! The image in every form that a tool reads: a GPT disk with an ESP and ext4, filled with files of this machine.
//!
//! Forms are made when a row first needs them, and kept. A form gets its name when it is complete.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use host::exec::System;

use crate::changed;
use testbed::shell;

/// Folders whose files are copied, in this order, until there are enough.
const SOURCES: [&str; 5] = ["/etc", "/usr/bin", "/usr/sbin", "/usr/share", "/usr/lib"];

/// Where the ESP starts; the root partition follows.
const ESP_START_MIB: u64 = 1;

/// A form of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// As on the disk.
    Raw,
    /// zstd -9, one frame.
    Zst,
    /// gzip, by pigz -6.
    Gz,
    /// qcow2 with zlib.
    Qcow2,
    /// Block map of bmap-tools: the ranges that hold data, and their checksums.
    Bmap,
    /// Packed by `image-builder`.
    Packed,
    /// Packed, with 5 % of the chunks that are not zero changed.
    Newer,
}

impl Form {
    /// File names in the image folder; messages name the first.
    pub(crate) const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["disk.raw"],
            Self::Zst => &["disk.raw.zst"],
            Self::Gz => &["disk.raw.gz"],
            Self::Qcow2 => &["disk.qcow2"],
            Self::Bmap => &["disk.raw.bmap"],
            Self::Packed => &["packed.img.zst", "packed.manifest.json"],
            Self::Newer => &["newer.img.zst", "newer.manifest.json"],
        }
    }

    /// The command that makes it; a file called `$part` is renamed afterwards. `None` where it takes more than a
    /// command.
    const fn command(self) -> Option<&'static str> {
        match self {
            Self::Raw | Self::Newer => None,
            Self::Zst => Some("zstd -q -f -9 -T0 disk.raw -o \"$part\""),
            Self::Gz => Some("pigz -6 -c disk.raw >\"$part\""),
            Self::Qcow2 => Some("qemu-img convert -f raw -O qcow2 -c disk.raw \"$part\""),
            Self::Bmap => Some("bmaptool -q create disk.raw -o \"$part\""),
            Self::Packed => Some(
                "image-builder pack disk.raw --name packed --out . --architecture \"$(uname -m)\"",
            ),
        }
    }
}

/// The size of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// 3 GiB, of which about 1.4 GiB is data.
    Whole,
    /// Half of that.
    Half,
    /// A quarter of that.
    Quarter,
}

impl Size {
    /// Name of its folder.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Half => "half",
            Self::Quarter => "quarter",
        }
    }

    const fn divisor(self) -> u64 {
        match self {
            Self::Whole => 1,
            Self::Half => 2,
            Self::Quarter => 4,
        }
    }
}

/// The images of one size.
#[derive(Debug)]
pub(crate) struct Image {
    /// The folder of its files.
    pub(crate) folder: PathBuf,
    raw_mib: u64,
    data_mib: u64,
    esp_mib: u64,
}

impl Image {
    /// The image of `size` in `work`; with `quick`, a tiny one.
    pub(crate) fn new(work: &Path, size: Size, quick: bool) -> Self {
        let (raw, data, esp, kind) = if quick {
            (96, 24, 8, "tiny")
        } else {
            (3072, 1390, 64, "images")
        };
        Self {
            folder: work.join(kind).join(size.name()),
            raw_mib: raw / size.divisor(),
            data_mib: data / size.divisor(),
            esp_mib: esp,
        }
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Unpacked size in bytes.
    pub(crate) fn raw_size(&self) -> u64 {
        self.raw_mib << 20
    }

    /// The digest of the unpacked image by `program` (`sha256sum`, `md5sum`); computed once.
    pub(crate) fn digest(&self, system: &mut System, program: &str) -> Result<String> {
        let kept = self.file(&format!("disk.{program}"));
        if !kept.exists() {
            let script = format!("{program} disk.raw >part && mv part {}", kept.display());
            shell::run(system, &self.folder, &script)?;
        }
        let text = fs::read_to_string(&kept).context("cannot read a digest of the image")?;
        let digest = text.split_whitespace().next().unwrap_or_default();
        Ok(digest.to_owned())
    }

    /// Makes a form if it does not exist yet.
    pub(crate) fn make(&self, system: &mut System, form: Form) -> Result<()> {
        fs::create_dir_all(&self.folder).context("cannot make the folder of the image")?;
        if form.files().iter().all(|name| self.file(name).exists()) {
            return Ok(());
        }
        if form != Form::Raw {
            self.make(system, Form::Raw)?;
        }
        let Some(script) = form.command() else {
            return match form {
                Form::Newer => self.make_newer(system),
                _ => self.make_raw(system),
            };
        };
        let name = form.files()[0];
        let script = if script.contains("$part") {
            format!("part=part.{name}; {script} && mv \"$part\" {name}")
        } else {
            script.to_owned()
        };
        shell::run(system, &self.folder, &script).with_context(|| format!("cannot make {name}"))
    }

    fn make_raw(&self, system: &mut System) -> Result<()> {
        let tree = self.file("tree");
        remove(&tree)?;
        let copied = copy_files(&tree, self.data_mib << 20);
        let made = copied.and_then(|()| shell::run(system, &self.folder, &self.raw_script()));
        remove(&tree)?;
        made.context("cannot make the image")
    }

    /// mkfs overwrites the first sectors of the file even with an offset, so the partition table is written last.
    fn raw_script(&self) -> String {
        let root_start = ESP_START_MIB + self.esp_mib;
        let root_length = self.raw_mib - root_start - 1;
        format!(
            "part=part.raw; rm -f $part; truncate -s {raw}M $part\n\
             mkfs.vfat -F {fat} --offset={esp_sector} $part {esp_kib} >/dev/null\n\
             mkfs.ext4 -q -F -L root -d tree -E offset={root_offset} $part {root_kib}k\n\
             sgdisk -o -n 1:{esp_sector}:+{esp}M -t 1:ef00 -n 2:{root_sector}:0 $part >/dev/null\n\
             mv $part disk.raw",
            raw = self.raw_mib,
            esp = self.esp_mib,
            // the default depends on the size of the file, which is that of the whole disk
            fat = if self.esp_mib < 16 { 12 } else { 16 },
            esp_sector = ESP_START_MIB * 2048,
            esp_kib = self.esp_mib * 1024,
            root_offset = root_start << 20,
            root_kib = root_length * 1024,
            root_sector = root_start * 2048,
        )
    }

    /// Makes and packs the newer version.
    fn make_newer(&self, system: &mut System) -> Result<()> {
        self.make(system, Form::Packed)?;
        let newer = self.file("newer.raw");
        shell::run(
            system,
            &self.folder,
            "cp --sparse=always --reflink=auto disk.raw newer.raw",
        )?;
        changed::change(&self.file("packed.manifest.json"), &newer)?;
        let pack =
            "image-builder pack newer.raw --name newer --out . --architecture \"$(uname -m)\"";
        shell::run(system, &self.folder, pack).context("cannot pack the newer image")
    }
}

/// Removes a folder if it exists.
fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Fills `tree` with about `budget` bytes of this machine's files in the order of their names, as hard links where
/// possible.
fn copy_files(tree: &Path, budget: u64) -> Result<()> {
    let mut copier = Copier {
        left: budget,
        links: true,
    };
    for source in SOURCES {
        let source = Path::new(source);
        let target = tree.join(source.strip_prefix("/").unwrap_or(source));
        if source.is_dir() {
            copier
                .folder(source, &target)
                .with_context(|| format!("cannot copy files of {}", source.display()))?;
        }
    }
    if copier.left > budget / 4 {
        bail!(
            "this machine has too few files to fill {} MiB",
            budget >> 20
        );
    }
    Ok(())
}

struct Copier {
    left: u64,
    links: bool,
}

impl Copier {
    fn folder(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        fs::create_dir_all(target)?;
        let mut entries = fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if self.left == 0 {
                break;
            }
            let (from, to) = (entry.path(), target.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.folder(&from, &to)?;
            } else if kind.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
            } else if kind.is_file() {
                self.file(&from, &to)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let size = fs::metadata(from)?.size();
        // skipped: smaller ones may fit
        if size > self.left {
            self.left = self.left.saturating_sub(1 << 20);
            return Ok(());
        }
        self.left -= size;
        if self.links && fs::hard_link(from, to).is_ok() {
            return Ok(());
        }
        self.links = false;
        fs::copy(from, to).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_copied_until_there_are_enough() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        fs::create_dir_all(source.join("b")).unwrap();
        fs::write(source.join("a"), [1; 600]).unwrap();
        fs::write(source.join("b/c"), [2; 300]).unwrap();
        fs::write(source.join("d"), [3; 600]).unwrap();
        std::os::unix::fs::symlink("a", source.join("e")).unwrap();
        let mut copier = Copier {
            left: 1000,
            links: true,
        };
        copier.folder(&source, &target).unwrap();
        assert!(target.join("a").exists() && target.join("b/c").exists());
        assert!(!target.join("d").exists());
        assert_eq!(copier.left, 0);
    }

    #[test]
    fn the_partition_table_is_written_after_the_filesystems() {
        let image = Image::new(Path::new("/w"), Size::Half, false);
        insta::assert_snapshot!(image.raw_script(), @r"
        part=part.raw; rm -f $part; truncate -s 1536M $part
        mkfs.vfat -F 16 --offset=2048 $part 65536 >/dev/null
        mkfs.ext4 -q -F -L root -d tree -E offset=68157440 $part 1505280k
        sgdisk -o -n 1:2048:+64M -t 1:ef00 -n 2:133120:0 $part >/dev/null
        mv $part disk.raw
        ");
        assert_eq!(image.raw_size(), 1536 << 20);
    }
}
