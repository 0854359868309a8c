//! The installed system's tree for code that writes files into it: confined, and with errors that name the file.

use host::tree::Tree;

use super::context::Context;
use super::outcome::Outcome;
use crate::model::error::{Error, Kind};

/// The tree of the installed system while it is mounted.
#[derive(Debug)]
pub(super) struct TargetTree(Tree);

/// Why there may be no tree, and the run goes on: a regular file cannot be mounted without a loop device.
pub(super) const NOT_MOUNTED: &str =
    "a disk is a regular file, and files cannot be written into a filesystem that is not mounted";

/// The tree, or the outcome of a step that needs one where there can be none.
pub(super) fn open(context: &Context<'_>) -> Result<Result<TargetTree, Outcome>, Error> {
    let Some(target) = &context.state.target else {
        if context.on_files() {
            let why = NOT_MOUNTED.to_owned();
            return Ok(Err(Outcome::Skipped { why }));
        }
        let what = "the installed system's filesystems are not mounted";
        return Err(Error::new(Kind::Internal, what));
    };
    match Tree::open(&target.root) {
        Ok(tree) => Ok(Ok(TargetTree(tree))),
        Err(source) => Err(failed("open", &target.root.to_string_lossy(), source)),
    }
}

fn failed(doing: &str, path: &str, source: std::io::Error) -> Error {
    let what = format!("cannot {doing} {path} of the installed system");
    Error::new(Kind::Disk, what).because(source)
}

impl TargetTree {
    #[cfg(test)]
    pub(super) fn at(root: &std::path::Path) -> Self {
        Self(Tree::open(root).unwrap())
    }

    /// Writes a file whole.
    pub(super) fn write(
        &self,
        path: &str,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<(), Error> {
        let written = self.0.write(path, content, mode);
        written.map_err(|source| failed("write", path, source))
    }

    /// What is in a file, if there is one.
    pub(super) fn read(&self, path: &str) -> Result<Option<String>, Error> {
        self.0.read(path).map_err(|e| failed("read", path, e))
    }

    /// Where a file really is: links lead where they will lead in the installed system.
    pub(super) fn real_file(&self, path: &str) -> Result<std::path::PathBuf, Error> {
        let found = self.0.real_file(path);
        found.map_err(|e| failed("find", path, e))
    }

    /// Whether there is such a file.
    pub(super) fn has_file(&self, path: &str) -> Result<bool, Error> {
        self.0
            .is_file(path)
            .map_err(|e| failed("look for", path, e))
    }

    /// Whether one of these is a file.
    pub(super) fn has_any(&self, paths: &[&str]) -> Result<bool, Error> {
        for path in paths {
            if self.has_file(path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is such a folder.
    pub(super) fn has_folder(&self, path: &str) -> Result<bool, Error> {
        let found = self.0.is_folder(path);
        found.map_err(|e| failed("look for", path, e))
    }

    /// Names in a folder, sorted.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        self.0.list(path).map_err(|e| failed("list", path, e))
    }

    /// Length of a file, if there is one.
    pub(super) fn length_of(&self, path: &str) -> Result<Option<u64>, Error> {
        if !self.has_file(path)? {
            return Ok(None);
        }
        let length = self.0.length(path);
        length.map(Some).map_err(|e| failed("look at", path, e))
    }

    /// Removes a file or link, if there is one.
    pub(super) fn remove(&self, path: &str) -> Result<bool, Error> {
        self.0.remove(path).map_err(|e| failed("remove", path, e))
    }

    /// Makes a symbolic link unless something is there.
    pub(super) fn link(&self, path: &str, to: &str) -> Result<(), Error> {
        self.0.link(path, to).map_err(|e| failed("make", path, e))
    }

    /// Copies files of this machine into one of its folders.
    pub(super) fn copy_in(
        &self,
        from: &std::path::Path,
        to: &str,
        chosen: impl Fn(&str) -> bool,
    ) -> Result<usize, Error> {
        let copied = self.0.copy_in(from, to, chosen);
        copied.map_err(|source| {
            let what = format!(
                "cannot copy {} to {to} of the installed system",
                from.display()
            );
            Error::new(Kind::Disk, what).because(source)
        })
    }
}

/// The text without characters that would end its line: what comes from a request stays in its place in a file.
pub(super) fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
