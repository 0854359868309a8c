//! All files of a filesystem that may be damaged, or made to do harm: bounded in depth, number and length.

use hadris_fat::sync::{Read, Seek};
use hadris_fat::{DirectoryEntry, FatDir, FatVolume, FatVolumeReadExt, FileEntry};

use super::{FatError, failed};

type Visit<'a> = dyn FnMut(&str, &FileEntry) -> Result<(), FatError> + 'a;

/// Folders nest at most this deep, so that a damaged filesystem that loops ends.
const DEEPEST: usize = 16;

/// Entries of all folders together: with several loops the depth alone is no bound.
const MOST_ENTRIES: usize = 1 << 16;

pub(super) fn damaged(path: &str, problem: &'static str) -> FatError {
    FatError::Damaged {
        path: path.to_owned(),
        problem,
    }
}

/// Opens a folder. One without a place of its own is refused: cluster 0 stands for the root where it is not a chain of
/// clusters, and the library panics when it writes to that.
pub(super) fn folder_of<'v, V: Read + Seek>(
    volume: &'v FatVolume<V>,
    entry: &FileEntry,
    path: &str,
    failed: impl FnOnce(hadris_fat::Error) -> FatError,
) -> Result<FatDir<'v, V>, FatError> {
    if entry.cluster().0 < 2 {
        return Err(damaged(path, "is a folder without a place"));
    }
    volume.open_dir_entry(entry).map_err(failed)
}

/// Visits each file, with its path.
pub(super) fn walk<V: Read + Seek>(
    volume: &FatVolume<V>,
    visit: &mut Visit<'_>,
) -> Result<(), FatError> {
    let mut left = MOST_ENTRIES;
    walk_folder(volume, &volume.root_dir(), "", &mut left, visit)
}

fn walk_folder<V: Read + Seek>(
    volume: &FatVolume<V>,
    folder: &FatDir<'_, V>,
    prefix: &str,
    left: &mut usize,
    visit: &mut Visit<'_>,
) -> Result<(), FatError> {
    let doing = || failed(format!("cannot list `/{prefix}`"));
    if prefix.matches('/').count() > DEEPEST {
        return Err(FatError::Path(prefix.to_owned()));
    }
    let mut entries = folder.entries();
    while let Some(entry) = entries.next_entry() {
        let DirectoryEntry::Entry(entry) = entry.map_err(doing())?;
        let name = entry.name().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{prefix}{name}");
        *left = left
            .checked_sub(1)
            .ok_or_else(|| damaged(&path, "is one entry too many"))?;
        if entry.is_directory() {
            let inside = format!("{path}/");
            let inner = folder_of(volume, &entry, &inside, doing())?;
            walk_folder(volume, &inner, &inside, left, visit)?;
        } else if entry.is_file() {
            visit(&path, &entry)?;
        }
    }
    Ok(())
}

/// Reads a file.
pub(super) fn content<V: Read + Seek>(
    volume: &FatVolume<V>,
    path: &str,
    entry: &FileEntry,
) -> Result<Vec<u8>, FatError> {
    let doing = || failed(format!("cannot read `{path}`"));
    let mut reader = volume.read_file(entry).map_err(doing())?;
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = reader.read(&mut buffer).map_err(doing())?;
        if read == 0 {
            return Ok(content);
        }
        content.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}
