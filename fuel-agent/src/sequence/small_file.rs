//! Files of a few kilobytes that are written in one piece, or into room that was taken before.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file there in one piece: readers see the old one or the new one. Only its owner may read it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let put = create(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&new, path));
    if put.is_err() {
        // Half of it would only take room.
        let _ = fs::remove_file(&new);
    }
    put
}

/// A file of so many bytes, or none.
pub(super) fn fill(path: &Path, bytes: usize) -> io::Result<()> {
    let taken = create(path).and_then(|mut file| file.write_all(&vec![0x5a; bytes]));
    if taken.is_err() {
        let _ = fs::remove_file(path);
    }
    taken
}

/// Gives a file other content without giving its room back first.
pub(super) fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}

/// An empty file that only its owner may read.
fn create(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Whether so many bytes more can be written under the name `path`: what is found out now does not stop a run at its
/// end.
/// Nothing is left of the try, and what has that name stays as it is.
pub(super) fn room_for(path: &Path, bytes: usize) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".try");
    let tried = create(Path::new(&name)).and_then(|mut file| file.write_all(&vec![0x5a; bytes]));
    match fs::remove_file(&name) {
        Err(error) if tried.is_ok() => Err(error),
        _ => tried,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("y"), "").unwrap();
        replace(&path, b"new").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn room_is_tried_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, "an older one").unwrap();
        room_for(&path, 1 << 20).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"an older one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        room_for(&folder.path().join("nowhere/report.json"), 1).unwrap_err();
        // A file that is always full.
        std::os::unix::fs::symlink("/dev/full", folder.path().join("full.try")).unwrap();
        let error = room_for(&folder.path().join("full"), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(Path::new("/dev/full").exists());
    }
}
