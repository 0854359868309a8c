//! Disks that no request names: what is on them is compared before and after.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::vm::VmDisk;

/// A disk that has to stay as it is.
#[derive(Debug)]
pub(crate) struct Bystander {
    disk: VmDisk,
    digest: [u8; 32],
}

impl Bystander {
    /// A disk of `size_gib` GiB in `folder`, with this serial number. Its first and its last MiB, where tables and
    /// superblocks would be, are full; the rest is zeros.
    pub(crate) fn make(folder: &Path, serial: &str, size_gib: u64) -> Result<Self> {
        let file = folder.join(format!("{serial}.raw"));
        fill(&file, size_gib << 30).with_context(|| format!("cannot fill {}", file.display()))?;
        Ok(Self {
            digest: digest(&file)?,
            disk: VmDisk {
                file,
                size_gib,
                serial: serial.to_owned(),
            },
        })
    }

    /// The disk, for a VM.
    pub(crate) fn disk(&self) -> VmDisk {
        self.disk.clone()
    }

    /// Fails unless every byte is as it was. The VM has to be off, or the disk out of it.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            digest(&self.disk.file)? == self.digest,
            "{} was written to: no request names that disk",
            self.disk.file.display()
        );
        Ok(())
    }
}

/// The length of what is full at each end.
const EDGE: u64 = 1 << 20;

fn fill(file: &Path, size: u64) -> std::io::Result<()> {
    let file = File::create(file)?;
    file.set_len(size)?;
    for start in [0, size - EDGE] {
        file.write_all_at(&pattern(start), start)?;
    }
    Ok(())
}

/// Bytes that no tool takes for a table or a filesystem: offsets, so that no block is like another.
fn pattern(start: u64) -> Vec<u8> {
    let offsets = (start..start + EDGE).step_by(8);
    offsets.flat_map(u64::to_be_bytes).collect()
}

fn digest(path: &Path) -> Result<[u8; 32]> {
    let read = || {
        let mut file = File::open(path)?;
        let mut sha256 = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                return std::io::Result::Ok(sha256.finalize().into());
            }
            sha256.update(&buffer[..n]);
        }
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_that_differs_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let bystander = Bystander::make(folder.path(), "OTHER", 1).unwrap();
        bystander.check().unwrap();
        let file = File::options()
            .write(true)
            .open(bystander.disk().file)
            .unwrap();
        file.write_all_at(&[1], 1 << 29).unwrap();
        let error = bystander.check().unwrap_err();
        assert!(error.to_string().contains("OTHER.raw was written to"));
    }
}
