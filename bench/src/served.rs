//! The files that the server serves, in a tmpfs: caches are dropped between runs, and the server must not read a disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use host::exec::System;
use nix::mount::{MsFlags, mount};

use crate::image::{Form, Image};
use crate::writer::{self, ByteRange};
use testbed::shell;

/// Bytes of memory that must stay free for the tools that are measured.
const FREE_MEMORY: u64 = 3 << 30;

/// The tmpfs; it goes with the namespaces.
#[derive(Debug)]
pub(crate) struct ServedFiles {
    /// Root of the server.
    pub(crate) folder: PathBuf,
}

impl ServedFiles {
    /// Mounts it in `work`.
    pub(crate) fn open(work: &Path) -> Result<Self> {
        let folder = work.join("served");
        fs::create_dir_all(&folder).context("cannot make the folder to serve")?;
        mount_tmpfs(&folder)?;
        Ok(Self { folder })
    }

    /// Folder for files of the tools that are measured.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// Empties the scratch folder.
    pub(crate) fn clear_scratch(&self) -> Result<()> {
        let scratch = self.scratch();
        if scratch.exists() {
            fs::remove_dir_all(&scratch).context("cannot clear the scratch folder")?;
        }
        fs::create_dir(&scratch).context("cannot make the scratch folder")
    }

    /// Copies forms of an image, holes included.
    pub(crate) fn add(&self, system: &mut System, image: &Image, forms: &[Form]) -> Result<()> {
        let place = self.folder_of(image);
        fs::create_dir_all(&place).context("cannot make a folder to serve")?;
        for name in forms.iter().flat_map(|form| form.files()) {
            let file = image.file(name);
            let needed = allocated(&file)?;
            let free = available()?;
            ensure!(
                free > needed + FREE_MEMORY,
                "{} MiB of memory are free: not enough to serve {} from memory",
                free >> 20,
                file.display()
            );
            let copy = format!("cp --sparse=always {name} {}/", place.display());
            shell::run(system, &image.folder, &copy)?;
        }
        Ok(())
    }

    /// Writes the maps for `write-limit`: the ranges of the image that are not zero, and all of it.
    pub(crate) fn add_maps(&self, image: &Image) -> Result<()> {
        let place = self.folder_of(image);
        fs::create_dir_all(&place).context("cannot make a folder to serve")?;
        let data = writer::data_ranges(&image.file("disk.raw"), 32 << 10)?;
        let all = [ByteRange {
            start: 0,
            length: image.raw_size(),
        }];
        fs::write(place.join("data.map"), writer::render_map(&data))?;
        fs::write(place.join("all.map"), writer::render_map(&all))?;
        Ok(())
    }

    /// The folder in which the forms of an image are served.
    pub(crate) fn folder_of(&self, image: &Image) -> PathBuf {
        let name = image.folder.file_name().unwrap_or_default();
        self.folder.join(name)
    }
}

/// Mounts a tmpfs on a folder: in the mount namespace of the run.
pub(crate) fn mount_tmpfs(folder: &Path) -> Result<()> {
    let none = None::<&str>;
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=90%"),
    )
    .or_else(|_| mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), none))
    .with_context(|| format!("cannot mount a tmpfs on {}", folder.display()))
}

/// Bytes that are allocated to a file.
fn allocated(file: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(file).with_context(|| format!("{} does not exist", file.display()))?;
    Ok(meta.blocks() * 512)
}

/// Available memory in bytes.
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    parse_available(&text).context("/proc/meminfo has no MemAvailable")
}

fn parse_available(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_kib() {
        let text = "MemTotal:  100 kB\nMemAvailable:   20 kB\n";
        assert_eq!(parse_available(text), Some(20 << 10));
        assert_eq!(parse_available("MemTotal: 1 kB\n"), None);
    }
}
