//! Unpacks package files into a temporary folder and finds files in them, without following links out of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use host::exec::{Cmd, Exec};
use tempfile::TempDir;

use crate::error::{self, Error};
use crate::recipe;
use crate::tools::Tool;

/// Folders of shared libraries, in order of preference.
const LIBRARY_FOLDERS: [&str; 6] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
];

/// Unpacked packages, each in its own folder. The folders are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Unpacked {
    folder: TempDir,
    packages: BTreeMap<String, PathBuf>,
}

impl Unpacked {
    /// An empty set; packages will be unpacked below `parent`, which needs some hundred MiB.
    pub(crate) fn new(parent: &Path) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix(".unpacked-")
            .tempdir_in(parent)
            .map_err(error::io("create a folder in", parent))?;
        Ok(Self {
            folder,
            packages: BTreeMap::new(),
        })
    }

    /// The folder of all packages, which may also be used for other temporary files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Unpacks one package file.
    pub(crate) fn add(
        &mut self,
        exec: &mut dyn Exec,
        package: &str,
        file: &Path,
    ) -> Result<(), Error> {
        let into = self.folder.path().join(package);
        let cmd = Cmd::new(Tool::DpkgDeb).arg("-x").arg(file).arg(&into);
        exec.run(&cmd)
            .map_err(error::tool(format!("unpack the package `{package}`")))?;
        self.packages.insert(package.to_owned(), into);
        Ok(())
    }

    /// The folder of `package`.
    pub(crate) fn root(&self, package: &str) -> Option<&Path> {
        self.packages.get(package).map(PathBuf::as_path)
    }

    /// The names of the packages, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.packages.keys().map(String::as_str)
    }

    /// The files of `package` that `path` (a path, a pattern or a folder) matches: path in the package, real path.
    ///
    /// Releases with and without merged `/usr` are supported: the path is tried with and without `usr/`.
    pub(crate) fn entry(&self, package: &str, path: &str) -> Result<Vec<(String, PathBuf)>, Error> {
        let nothing = || Error::NoFile {
            package: package.to_owned(),
            file: path.to_owned(),
        };
        let root = self.root(package).ok_or_else(nothing)?;
        let relative = path.trim_start_matches('/');
        let other = match relative.strip_prefix("usr/") {
            Some(rest) => rest.to_owned(),
            None => format!("usr/{relative}"),
        };
        for candidate in [relative, &other] {
            let found = pick_below(root, candidate)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(nothing())
    }

    /// Package and path of the library `soname`.
    pub(crate) fn library(&self, soname: &str) -> Option<(&str, PathBuf)> {
        self.packages.iter().find_map(|(package, root)| {
            LIBRARY_FOLDERS.iter().find_map(|folder| {
                real_file(root, &Path::new(folder).join(soname))
                    .map(|file| (package.as_str(), file))
            })
        })
    }
}

/// The files below `root` that `path` matches.
fn pick_below(root: &Path, path: &str) -> Result<Vec<(String, PathBuf)>, Error> {
    if !path.contains('*') && !path.ends_with('/') {
        return Ok(real_file(root, Path::new(path))
            .map(|file| vec![(path.to_owned(), file)])
            .unwrap_or_default());
    }
    let (folder, pattern) = path.rsplit_once('/').unwrap_or(("", path));
    let mut found = Vec::new();
    let below = root.join(folder);
    if !below.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(&below).map_err(error::io("list", &below))? {
        let entry = entry.map_err(error::io("list", &below))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let full = format!("{folder}/{name}");
        if pattern.is_empty() && entry.path().is_dir() {
            found.extend(pick_below(root, &format!("{full}/"))?);
        } else if (pattern.is_empty() || recipe::matches(pattern, &name))
            && let Some(file) = real_file(root, Path::new(&full))
        {
            found.push((full, file));
        }
    }
    found.sort();
    Ok(found)
}

/// The regular file at `path`, with links resolved as if `root` were the root; `None` where there is none.
pub(crate) fn real_file(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..16 {
        let full = inside(root, &path)?;
        let kind = fs::symlink_metadata(&full).ok()?.file_type();
        if kind.is_file() {
            return Some(full);
        }
        if !kind.is_symlink() {
            return None;
        }
        let target = fs::read_link(&full).ok()?;
        path = if target.is_absolute() {
            target
        } else {
            path.parent()?.join(target)
        };
    }
    None
}

/// Whether the file has an execute bit.
pub(crate) fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|facts| facts.permissions().mode() & 0o111 != 0)
}

/// `path` below `root`, with `..` resolved; the result is always below `root`.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir => {}
            Component::Prefix(_) => return None,
        }
    }
    Some(
        parts
            .into_iter()
            .fold(root.to_owned(), |at, name| at.join(name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> Unpacked {
        let mut unpacked = Unpacked::new(&std::env::temp_dir()).unwrap();
        let root = unpacked.folder().join("p");
        for folder in [
            "usr/bin",
            "lib/x86_64-linux-gnu",
            "lib64",
            "usr/lib/grub/deep",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("usr/bin/tool"), "t").unwrap();
        fs::write(root.join("lib/x86_64-linux-gnu/libx.so.1.2"), "x").unwrap();
        symlink("libx.so.1.2", root.join("lib/x86_64-linux-gnu/libx.so.1")).unwrap();
        symlink("/lib/x86_64-linux-gnu/libx.so.1", root.join("lib64/ld.so")).unwrap();
        symlink("../../../../../etc/passwd", root.join("usr/bin/escape")).unwrap();
        symlink("loop", root.join("usr/bin/loop")).unwrap();
        for name in ["a.mod", "b.mod", "c.lst", "deep/d.mod"] {
            fs::write(root.join("usr/lib/grub").join(name), name).unwrap();
        }
        unpacked.packages.insert("p".to_owned(), root);
        unpacked
    }

    #[test]
    fn programs_are_found_with_and_without_usr() {
        let unpacked = tree();
        for path in ["/usr/bin/tool", "/bin/tool"] {
            assert_eq!(unpacked.entry("p", path).unwrap()[0].0, "usr/bin/tool");
        }
    }

    #[test]
    fn patterns_stay_in_a_folder_and_a_slash_takes_all() {
        let unpacked = tree();
        let names = |path: &str| -> Vec<String> {
            let found = unpacked.entry("p", path).unwrap();
            found.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(
            names("/usr/lib/grub/*.mod"),
            ["usr/lib/grub/a.mod", "usr/lib/grub/b.mod"]
        );
        assert_eq!(names("/usr/lib/grub/").len(), 4);
    }

    #[test]
    fn links_are_followed_inside_the_package_only() {
        let unpacked = tree();
        let (package, file) = unpacked.library("ld.so").unwrap();
        assert_eq!(package, "p");
        assert!(file.ends_with("libx.so.1.2"));
        for path in ["/usr/bin/escape", "/usr/bin/loop", "/usr/bin/none"] {
            let error = unpacked.entry("p", path).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the package `p` has no file `{path}`")
            );
        }
    }
}
