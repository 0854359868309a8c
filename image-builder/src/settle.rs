//! Takes out of an unpacked system what differs between two installations of the same packages.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

/// Files that the tools write on the way: logs, caches that are made again when they are missing, earlier versions.
const REMOVED: [&str; 11] = [
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/systemd/random-seed",
];

/// Folders whose content belongs to one run of a system.
const EMPTIED: [&str; 4] = ["run", "tmp", "var/log/journal", "var/tmp"];

/// Folders whose files are made by the tools on the way. Folders in them stay, as do empty files: packages deliver some
/// logs, which are empty, with the owners that their writers need.
const CLEARED: [&str; 3] = ["var/cache/apt/archives", "var/lib/apt/lists", "var/log"];

/// Settles the system in `root`, whose files are then none of them newer than `time`, in seconds since 1970.
pub(crate) fn settle(root: &Path, time: u32) -> Result<()> {
    for path in REMOVED {
        remove(&root.join(path))?;
    }
    for folder in EMPTIED {
        empty(&root.join(folder))?;
    }
    for folder in CLEARED {
        clear(&root.join(folder))?;
    }
    clamp(root, time).context("cannot set the times of the image's files")
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Entries of a folder in the order of their names; none where it does not exist, or is a link.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|data| data.is_dir());
    if !is_folder {
        return Ok(Vec::new());
    }
    let read = || -> io::Result<Vec<PathBuf>> {
        let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        paths.collect()
    };
    let mut paths = read().with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

fn empty(folder: &Path) -> Result<()> {
    for path in entries(folder)? {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir());
        let removed = if is_folder {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Removes the files below a folder that are not empty.
fn clear(folder: &Path) -> Result<()> {
    for path in entries(folder)? {
        let data = fs::symlink_metadata(&path)
            .with_context(|| format!("cannot look at {}", path.display()))?;
        if data.is_dir() {
            clear(&path)?;
        } else if data.is_file() && data.len() > 0 {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Sets the time of modification of each file below `path` that has a later one.
fn clamp(path: &Path, time: u32) -> Result<()> {
    let data =
        fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    if data.is_dir() {
        for entry in entries(path)? {
            clamp(&entry, time)?;
        }
    }
    if data.mtime() < i64::from(time) {
        return Ok(());
    }
    utimensat(
        AT_FDCWD,
        path,
        &TimeSpec::UTIME_OMIT,
        &TimeSpec::new(time.into(), 0),
        UtimensatFlags::NoFollowSymlink,
    )
    .with_context(|| format!("cannot set the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A system, made in one order or the other.
    fn system(root: &Path, later: bool) {
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let day = if later { "Tue" } else { "Mon" };
        put("etc/hostname", "localhost\n");
        put("var/log/btmp", "");
        put("var/log/dpkg.log", day);
        put("var/log/apt/term.log", day);
        put("var/log/journal/1/system.journal", day);
        put("var/lib/dpkg/status", "");
        put("var/lib/dpkg/status-old", day);
        put("var/cache/ldconfig/aux-cache", day);
        put("var/cache/apt/archives/partial/x", day);
        put("run/lock/x", day);
        symlink("hostname", root.join("etc/link")).unwrap();
    }

    fn listed(root: &Path) -> Vec<String> {
        fn walk(path: &Path, root: &Path, into: &mut Vec<String>) {
            for entry in entries(path).unwrap() {
                let data = fs::symlink_metadata(&entry).unwrap();
                let name = entry.strip_prefix(root).unwrap().display();
                into.push(format!("{name} {}", data.mtime()));
                walk(&entry, root, into);
            }
        }
        let mut lines = Vec::new();
        walk(root, root, &mut lines);
        lines
    }

    #[test]
    fn two_installations_are_settled_to_the_same_files_and_times() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (folder, later) in [(&one, false), (&two, true)] {
            system(folder.path(), later);
            settle(folder.path(), 1_600_000_000).unwrap();
        }
        assert_eq!(listed(one.path()), listed(two.path()));
        let names = listed(one.path()).join("\n");
        for kept in [
            "var/log/btmp",
            "var/log/apt",
            "archives/partial",
            "var/lib/dpkg/status ",
            "run",
        ] {
            assert!(names.contains(kept), "{kept} in {names}");
        }
        for gone in [
            "dpkg.log",
            "term.log",
            "status-old",
            "aux-cache",
            "journal/1",
            "lock",
        ] {
            assert!(!names.contains(gone), "{gone} in {names}");
        }
    }

    #[test]
    fn an_older_file_keeps_its_time_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let before = outside.as_file().metadata().unwrap().mtime();
        let old = folder.path().join("old");
        fs::write(&old, "").unwrap();
        let time = TimeSpec::new(1_000_000_000, 5);
        utimensat(
            AT_FDCWD,
            &old,
            &time,
            &time,
            UtimensatFlags::NoFollowSymlink,
        )
        .unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        settle(folder.path(), 1_600_000_000).unwrap();
        assert_eq!(listed(folder.path()), ["link 1600000000", "old 1000000000"]);
        assert_eq!(fs::metadata(outside.path()).unwrap().mtime(), before);
    }
}
