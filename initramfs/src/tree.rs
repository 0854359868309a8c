//! The ramdisk's files before they are bytes: one map, sorted, with the part each belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{self, Error};

/// Folders that live below `/usr`; in `/` they are links, so that every program finds every path.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file with its content.
    File(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// A character device.
    Character {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
}

/// One path of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub part: String,
    /// Permission bits.
    pub permissions: u32,
    /// What is there.
    pub node: Node,
}

/// The whole tree: paths without a leading slash, parents before what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// Where `path` really is: below `usr/`, where the folders in `/` are links.
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
    /// A tree with the links of a merged `/usr` and nothing else.
    pub fn new() -> Self {
        let mut tree = Self {
            entries: BTreeMap::new(),
        };
        for folder in MERGED {
            tree.entries.insert(
                folder.to_owned(),
                Entry {
                    part: "base".to_owned(),
                    permissions: 0o777,
                    node: Node::Link(format!("usr/{folder}")),
                },
            );
            tree.entries.insert(format!("usr/{folder}"), folder_entry());
        }
        tree.entries.insert("usr".to_owned(), folder_entry());
        tree
    }

    /// Puts something at `path`, which must be free, or be a folder already where a folder is wanted.
    pub fn insert(
        &mut self,
        part: &str,
        path: &str,
        permissions: u32,
        node: Node,
    ) -> Result<(), Error> {
        let path = merged(path);
        if let Some(old) = self.entries.get(&path) {
            if old.node == Node::Folder && node == Node::Folder {
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
            node,
        };
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Puts a copy of the file `from` at `path`; executable where it was.
    pub fn copy(&mut self, part: &str, path: &str, from: &Path) -> Result<(), Error> {
        let bytes = fs::read(from).map_err(error::io("read", from))?;
        let mode = fs::metadata(from)
            .map_err(error::io("read", from))?
            .permissions()
            .mode();
        let permissions = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        self.insert(part, path, permissions, Node::File(bytes))
    }

    /// Puts a file with this text at `path`.
    pub fn text(
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
            Node::File(text.as_bytes().to_vec()),
        )
    }

    /// Puts a symbolic link at `path`.
    pub fn link(&mut self, part: &str, path: &str, target: &str) -> Result<(), Error> {
        self.insert(part, path, 0o777, Node::Link(target.to_owned()))
    }

    /// Puts an empty folder at `path`.
    pub fn folder(&mut self, part: &str, path: &str, permissions: u32) -> Result<(), Error> {
        self.insert(part, path, permissions, Node::Folder)
    }

    /// Every path with what is there, parents first.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// Whether something is at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(&merged(path))
    }
}

fn folder_entry() -> Entry {
    Entry {
        part: "base".to_owned(),
        permissions: 0o755,
        node: Node::Folder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_bin_lives_below_usr() {
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
            "`usr/sbin/x` is wanted by `a` and by `b`"
        );
    }
}
