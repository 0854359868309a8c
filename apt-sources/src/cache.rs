//! The folder of package files, which builds share.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{self, ArchiveError};

/// A folder of package files and of apt's private state. It is locked against other builds until this is dropped.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    _lock: fs::File,
}

impl Cache {
    /// Creates the folder if it does not exist, and locks it; waits for a build that uses it.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let folder = created(folder)?;
        let path = folder.join(".in-use");
        let lock = fs::File::create(&path).map_err(error::io("create", &path))?;
        if lock.try_lock().is_err() {
            tracing::info!(cache = %folder.display(), "waiting for another build that uses the cache");
            lock.lock().map_err(error::io("lock", &path))?;
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// The folder: an absolute path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of apt's state, which is created if it does not exist.
    pub fn apt_state(&self) -> Result<PathBuf, ArchiveError> {
        created(&self.folder.join("apt"))
    }
}

/// Creates the folder if it does not exist; returns its absolute path.
fn created(folder: &Path) -> Result<PathBuf, ArchiveError> {
    fs::create_dir_all(folder).map_err(error::io("create", folder))?;
    folder.canonicalize().map_err(error::io("find", folder))
}
