//! Output files that get their names only when all of them are complete.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// A set of files in one folder. If dropped before [`Outputs::place`], its files are removed.
#[derive(Debug)]
pub(crate) struct Outputs {
    folder: PathBuf,
    files: Vec<(String, NamedTempFile)>,
    /// Names of files of an earlier set, to be removed when this one is placed.
    stale: Vec<String>,
}

impl Outputs {
    /// A set in `folder`, which is created if it does not exist.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            files: Vec::new(),
            stale: Vec::new(),
        })
    }

    /// Creates the file that [`Self::place`] will name `name`. Files are named in the order in which they were created.
    pub(crate) fn create(&mut self, name: &str) -> Result<File> {
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".partial")
            // reduced by the umask
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(&self.folder)
            .with_context(|| format!("cannot create a file in {}", self.folder.display()))?;
        let handle = file
            .reopen()
            .with_context(|| format!("cannot open {}", file.path().display()))?;
        self.files.push((name.to_owned(), file));
        Ok(handle)
    }

    /// Creates the file `name` and writes all of it.
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

    /// Marks the file `name` of an earlier set: [`Self::place`] removes it before it names new files.
    pub(crate) fn replaces(&mut self, name: &str) {
        self.stale.push(name.to_owned());
    }

    /// The folder of the files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The final path of the file `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Flushes all files to the disk and names them, in the order in which they were created.
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

/// Flushes the entries of `folder` to the disk.
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
        assert!(crate::error::hint(&error).unwrap().contains("free space"));
        drop(outputs);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}
