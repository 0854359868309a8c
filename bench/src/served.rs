//! What is served lies in memory: between runs the caches are dropped, and no server should then have to read a disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use host::exec::System;
use nix::mount::{MsFlags, mount};

use crate::image::{Form, Image};
use crate::writer::{self, Run};
use testbed::shell;

/// Memory that has to stay free beside what is served: for the tools that are measured.
const SPARE: u64 = 3 << 30;

/// A folder in memory. It is gone with the namespaces.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What the server's root is.
    pub(crate) folder: PathBuf,
}

impl Stage {
    /// Mounts memory below `work`.
    pub(crate) fn open(work: &Path) -> Result<Self> {
        let folder = work.join("served");
        fs::create_dir_all(&folder).context("cannot make the folder that is served")?;
        in_memory(&folder)?;
        Ok(Self { folder })
    }

    /// The place of a tool's own files.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// Removes what a tool has left.
    pub(crate) fn sweep(&self) -> Result<()> {
        let scratch = self.scratch();
        if scratch.exists() {
            fs::remove_dir_all(&scratch).context("cannot clear the scratch folder")?;
        }
        fs::create_dir(&scratch).context("cannot make the scratch folder")
    }

    /// Copies forms of an image, holes as holes.
    pub(crate) fn add(&self, system: &mut System, image: &Image, forms: &[Form]) -> Result<()> {
        let place = self.place(image);
        fs::create_dir_all(&place).context("cannot make a folder that is served")?;
        for name in forms.iter().flat_map(|form| form.files()) {
            let file = image.file(name);
            let needed = allocated(&file)?;
            let free = available()?;
            ensure!(
                free > needed + SPARE,
                "{} MiB of memory are free: too few to serve {} from it",
                free >> 20,
                file.display()
            );
            let copy = format!("cp --sparse=always {name} {}/", place.display());
            shell::run(system, &image.folder, &copy)?;
        }
        Ok(())
    }

    /// Writes the maps of what the image holds and of all of it, for the writers.
    pub(crate) fn add_maps(&self, image: &Image) -> Result<()> {
        let place = self.place(image);
        fs::create_dir_all(&place).context("cannot make a folder that is served")?;
        let data = writer::data_runs(&image.file("disk.raw"), 32 << 10)?;
        let all = [Run {
            start: 0,
            length: image.raw_size(),
        }];
        fs::write(place.join("data.map"), writer::render_map(&data))?;
        fs::write(place.join("all.map"), writer::render_map(&all))?;
        Ok(())
    }

    /// Where the forms of an image are served.
    pub(crate) fn place(&self, image: &Image) -> PathBuf {
        let name = image.folder.file_name().unwrap_or_default();
        self.folder.join(name)
    }
}

/// Mounts memory on a folder, in our own mount namespace.
pub(crate) fn in_memory(folder: &Path) -> Result<()> {
    let none = None::<&str>;
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=90%"),
    )
    .or_else(|_| mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), none))
    .with_context(|| format!("cannot mount memory on {}", folder.display()))
}

/// Bytes that a file really has.
fn allocated(file: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(file).with_context(|| format!("{} is not there", file.display()))?;
    Ok(meta.blocks() * 512)
}

/// Memory that can be had, in bytes.
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    parse_available(&text).context("/proc/meminfo does not tell what is available")
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
    fn available_memory_is_told_in_kib() {
        let text = "MemTotal:  100 kB\nMemAvailable:   20 kB\n";
        assert_eq!(parse_available(text), Some(20 << 10));
        assert_eq!(parse_available("MemTotal: 1 kB\n"), None);
    }
}
