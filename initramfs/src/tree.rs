//! The files of a ramdisk in memory: a sorted map of paths, each with the part that it belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{self, Error};

/// Folders below `/usr`; in `/` they are links to them (merged `/usr`).
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Kind of an entry, with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A folder.
    Folder,
    /// A file: its content.
    File(Vec<u8>),
    /// A symbolic link: its target.
    Link(String),
    /// A character device.
    Character {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
}

/// An entry of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Part that it belongs to.
    pub(crate) part: String,
    /// Permission bits.
    pub(crate) permissions: u32,
    /// Kind and content.
    pub(crate) kind: EntryKind,
}

/// All entries: paths have no leading slash, folders come before their entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// The path with merged folders resolved: `bin/x` is `usr/bin/x`.
fn merged(path: &str) -> String {
    let path = path.trim_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

impl Tree {
    /// A tree with only the folders and links of a merged `/usr`.
    pub(crate) fn new() -> Self {
        let mut tree = Self {
            entries: BTreeMap::new(),
        };
        for folder in MERGED {
            tree.entries.insert(
                folder.to_owned(),
                Entry {
                    part: "base".to_owned(),
                    permissions: 0o777,
                    kind: EntryKind::Link(format!("usr/{folder}")),
                },
            );
            tree.entries.insert(format!("usr/{folder}"), folder_entry());
        }
        tree.entries.insert("usr".to_owned(), folder_entry());
        tree
    }

    /// Adds an entry; parents are made. An existing entry is an error, unless both are folders.
    pub(crate) fn insert(
        &mut self,
        part: &str,
        path: &str,
        permissions: u32,
        kind: EntryKind,
    ) -> Result<(), Error> {
        let path = merged(path);
        if let Some(old) = self.entries.get(&path) {
            if old.kind == EntryKind::Folder && kind == EntryKind::Folder {
                return Ok(());
            }
            return Err(Error::PathTaken {
                path,
                first: old.part.clone(),
                second: part.to_owned(),
            });
        }
        let mut parent = path.as_str();
        while let Some((folder, _)) = parent.rsplit_once('/') {
            self.entries
                .entry(folder.to_owned())
                .or_insert_with(folder_entry);
            parent = folder;
        }
        let entry = Entry {
            part: part.to_owned(),
            permissions,
            kind,
        };
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Adds a copy of the file `from`, with mode 0755 if it is executable, else 0644.
    pub(crate) fn copy(&mut self, part: &str, path: &str, from: &Path) -> Result<(), Error> {
        let bytes = fs::read(from).map_err(error::io("read", from))?;
        let mode = fs::metadata(from)
            .map_err(error::io("read", from))?
            .permissions()
            .mode();
        let permissions = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        self.insert(part, path, permissions, EntryKind::File(bytes))
    }

    /// Adds a file with this text.
    pub(crate) fn text(
        &mut self,
        part: &str,
        path: &str,
        permissions: u32,
        text: &str,
    ) -> Result<(), Error> {
        self.insert(
            part,
            path,
            permissions,
            EntryKind::File(text.as_bytes().to_vec()),
        )
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, part: &str, path: &str, target: &str) -> Result<(), Error> {
        self.insert(part, path, 0o777, EntryKind::Link(target.to_owned()))
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, part: &str, path: &str, permissions: u32) -> Result<(), Error> {
        self.insert(part, path, permissions, EntryKind::Folder)
    }

    /// All paths with their entries, parents first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// Whether there is an entry at `path`.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(&merged(path))
    }
}

fn folder_entry() -> Entry {
    Entry {
        part: "base".to_owned(),
        permissions: 0o755,
        kind: EntryKind::Folder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_bin_is_below_usr() {
        let mut tree = Tree::new();
        tree.text("x", "/bin/deep/tool", 0o755, "t").unwrap();
        let paths: Vec<_> = tree.entries().map(|(path, _)| path).collect();
        for (index, path) in paths.iter().enumerate() {
            if let Some((parent, _)) = path.rsplit_once('/') {
                assert!(paths[..index].contains(&parent), "{path} before {parent}");
            }
        }
        assert!(paths.contains(&"usr/bin/deep/tool"));
        assert!(tree.contains("/usr/bin/deep/tool") && tree.contains("bin/deep/tool"));
    }

    #[test]
    fn two_files_at_one_path_are_refused_two_folders_are_one() {
        let mut tree = Tree::new();
        tree.folder("a", "etc", 0o755).unwrap();
        tree.folder("b", "etc", 0o755).unwrap();
        tree.text("a", "sbin/x", 0o755, "1").unwrap();
        let error = tree.text("b", "usr/sbin/x", 0o755, "2").unwrap_err();
        assert_eq!(
            error.to_string(),
            "both `a` and `b` have a file `usr/sbin/x`"
        );
    }
}
