//! Files that appear under their names when all of them are right, and not at all otherwise.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// A set of files in one folder. Dropped before [`Outputs::place`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Outputs {
    folder: PathBuf,
    files: Vec<(String, NamedTempFile)>,
    /// Names of files that would belong to the set and that are wrong once it is there.
    stale: Vec<String>,
}

impl Outputs {
    /// A set in `folder`, which is made where it is not there.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            files: Vec::new(),
            stale: Vec::new(),
        })
    }

    /// A file that is to be called `name`, to be written; those that are made later get their names later.
    pub(crate) fn create(&mut self, name: &str) -> Result<File> {
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".partial")
            // less what the user's umask takes away
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(&self.folder)
            .with_context(|| format!("cannot create a file in {}", self.folder.display()))?;
        let handle = file
            .reopen()
            .with_context(|| format!("cannot open {}", file.path().display()))?;
        self.files.push((name.to_owned(), file));
        Ok(handle)
    }

    /// A small file with all that is in it.
    pub(crate) fn write(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<()> {
        let what = || format!("cannot write {}", self.path(name).display());
        let what = what();
        let mut file = BufWriter::new(self.create(name)?);
        write(&mut file).and_then(|()| file.flush()).context(what)
    }

    /// The file `name` of an earlier set does not belong to this one: it goes first.
    pub(crate) fn replaces(&mut self, name: &str) {
        self.stale.push(name.to_owned());
    }

    /// Where they will be.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file `name` will be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Flushes all files to the disk and gives them their names, in the order in which they were made.
    pub(crate) fn place(self) -> Result<()> {
        for (name, file) in &self.files {
            let sync = file.as_file().sync_all();
            sync.with_context(|| format!("cannot flush {}", self.folder.join(name).display()))?;
        }
        for name in &self.stale {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context(format!("cannot remove the old {name}"));
                }
                _ => {}
            }
        }
        for (name, file) in self.files {
            let path = self.folder.join(name);
            file.persist(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        sync_folder(&self.folder)
    }
}

/// Returns when the names in `folder` are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot flush {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep/out");
        for name in ["a", "old"] {
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join(name), "before").unwrap();
        }
        let mut outputs = Outputs::new(&out).unwrap();
        outputs.create("a").unwrap().write_all(b"A").unwrap();
        outputs.write("b", |file| file.write_all(b"B")).unwrap();
        outputs.replaces("old");
        outputs.replaces("never there");
        assert_eq!(fs::read(out.join("a")).unwrap(), b"before");
        outputs.place().unwrap();
        assert_eq!(names(&out), ["a", "b"]);
        assert_eq!(fs::read(out.join("a")).unwrap(), b"A");

        let mut outputs = Outputs::new(&out).unwrap();
        outputs.create("c").unwrap().write_all(b"C").unwrap();
        drop(outputs);
        assert_eq!(names(&out), ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::new(folder.path()).unwrap();
        let error = outputs
            .write("x", |_| Err(std::io::ErrorKind::StorageFull.into()))
            .unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error:#}");
        assert!(crate::error::hint(&error).unwrap().contains("make room"));
        drop(outputs);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}
