//! The firmware's variables on a UEFI node, as the kernel's efivarfs shows them: a file each, called `NAME-VENDOR`,
//! whose first four bytes are the variable's attributes (UEFI 2.10, section 8.2). Only UEFI's own variables are reached
//! here.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::libc::{ENOTTY, EOPNOTSUPP};

use crate::ioctl::flags;

/// Mount point of efivarfs.
const FOLDER: &str = "/sys/firmware/efi/efivars";
/// The vendor GUID of UEFI's own variables: `EFI_GLOBAL_VARIABLE`.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, boot-service and run-time access: required of the boot list's variables.
const ATTRIBUTES: [u8; 4] = 7_u32.to_le_bytes();

/// The variables that UEFI itself defines: `BootOrder`, `Boot0000` and their like. Contents are without attributes.
#[derive(Clone, Debug)]
pub struct Variables {
    folder: Option<PathBuf>,
}

impl Variables {
    /// The variables of this machine.
    pub(crate) fn real() -> Self {
        Self::at(FOLDER)
    }

    /// The variables in a folder laid out like efivarfs.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(folder.into()),
        }
    }

    /// No variables: nothing is found, and writing is an error.
    pub const fn none() -> Self {
        Self { folder: None }
    }

    /// All names, sorted. Empty on a BIOS node, or where efivarfs is not mounted.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(VENDOR));
            names.extend(name.and_then(|name| name.strip_suffix('-').map(str::to_owned)));
        }
        names.sort();
        Ok(names)
    }

    /// Content of a variable; `None` where it does not exist.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.path(name) else {
            return Ok(None);
        };
        let mut bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if bytes.len() < ATTRIBUTES.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(Some(bytes.split_off(ATTRIBUTES.len())))
    }

    /// Creates or replaces a variable and reads it back.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(name).ok_or(io::ErrorKind::NotFound)?;
        let guarded = set_immutable(&path, false)?;
        let written = write_whole(&path, &[&ATTRIBUTES, content].concat());
        if guarded {
            set_immutable(&path, true)?;
        }
        written?;
        if self.read(name)?.as_deref() != Some(content) {
            return Err(io::Error::other(format!(
                "the firmware's variable `{name}` reads back differently"
            )));
        }
        Ok(())
    }

    /// Removes a variable; one that is not there is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let Some(path) = self.path(name) else {
            return Ok(());
        };
        set_immutable(&path, false)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("{name}-{VENDOR}")))
    }
}

/// The firmware takes a variable in one piece: one call of `write`, and no truncation before it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if file.write(bytes)? != bytes.len() {
        return Err(io::Error::from(io::ErrorKind::WriteZero));
    }
    // efivarfs has set this length already; a test's folder would keep the end of a longer old content
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    if file.metadata()?.len() != length {
        file.set_len(length)?;
    }
    Ok(())
}

/// Sets or clears the immutable flag with which efivarfs protects a variable; returns whether it was set. `false` where
/// the file does not exist or its filesystem has no such flags.
fn set_immutable(path: &Path, immutable: bool) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match flags::set_immutable(&file, immutable) {
        Err(error) if matches!(error.raw_os_error(), Some(ENOTTY | EOPNOTSUPP)) => Ok(false),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> (tempfile::TempDir, Variables) {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables::at(folder.path());
        (folder, variables)
    }

    #[test]
    fn what_is_written_is_found_with_its_attributes_on_disk_and_without_them_here() {
        let (folder, variables) = some();
        variables.write("BootOrder", &[2, 0, 1, 0]).unwrap();
        variables.write("Boot0001", b"entry").unwrap();
        fs::write(folder.path().join("Boot0002-of-another-vendor"), "").unwrap();
        assert_eq!(variables.names().unwrap(), ["Boot0001", "BootOrder"]);
        let file = folder.path().join(format!("BootOrder-{VENDOR}"));
        assert_eq!(fs::read(file).unwrap(), [7, 0, 0, 0, 2, 0, 1, 0]);
        assert_eq!(variables.read("BootOrder").unwrap().unwrap(), [2, 0, 1, 0]);
        variables.write("BootOrder", &[1, 0]).unwrap();
        assert_eq!(variables.read("BootOrder").unwrap().unwrap(), [1, 0]);
        variables.remove("Boot0001").unwrap();
        variables.remove("Boot0001").unwrap();
        assert_eq!(variables.names().unwrap(), ["BootOrder"]);
    }

    /// Lets the folder of a test be removed, also after a panic.
    struct Unguarded(PathBuf);

    impl Drop for Unguarded {
        fn drop(&mut self) {
            let _ = set_immutable(&self.0, false);
        }
    }

    #[test]
    fn a_guarded_variable_is_written_and_guarded_again() {
        let (folder, variables) = some();
        variables.write("Boot0001", b"old").unwrap();
        let path = folder.path().join(format!("Boot0001-{VENDOR}"));
        let _unguarded = Unguarded(path.clone());
        // only root may, and only where the filesystem has flags
        if set_immutable(&path, true).is_err() || !set_immutable(&path, true).unwrap_or(false) {
            crate::fake::skipped("no immutable files here");
            return;
        }
        variables.write("Boot0001", b"new").unwrap();
        assert_eq!(variables.read("Boot0001").unwrap().unwrap(), b"new");
        assert!(set_immutable(&path, true).unwrap(), "it is guarded again");
        variables.remove("Boot0001").unwrap();
        assert_eq!(variables.names().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_node_without_such_firmware_has_none_and_takes_none() {
        let folder = tempfile::tempdir().unwrap();
        for variables in [
            Variables::none(),
            Variables::at(folder.path().join("absent")),
        ] {
            assert_eq!(variables.names().unwrap(), Vec::<String>::new());
            assert_eq!(variables.read("BootOrder").unwrap(), None);
            variables.remove("BootOrder").unwrap();
            let error = variables.write("BootOrder", &[1, 0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_variable_without_attributes_is_an_error() {
        let (folder, variables) = some();
        fs::write(folder.path().join(format!("BootOrder-{VENDOR}")), [7]).unwrap();
        let error = variables.read("BootOrder").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
