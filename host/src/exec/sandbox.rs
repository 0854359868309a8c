//! What the tools that the agent runs on disks see of this machine: not its request, state and keys, and no place to
//! leave anything.
//!
//! They parse what earlier tenants and images left on disks. One that is taken over by such data is root in the
//! ramdisk all the same; it finds no passwords or tokens lying in files, and nothing that it puts into `/tmp` stays.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use super::Cmd;
use crate::ioctl::confine::{Namespace, Visible, confine};
use crate::procfs::parse_mountinfo;

/// Folders that are empty for a tool: where requests are uploaded, the agent's state and work files, root's home.
const HIDDEN: [&str; 3] = ["/tmp", "/run/provision", "/root"];

/// Makes `command`, which starts `program` for `cmd`, start confined.
pub(super) fn apply(command: &mut Command, cmd: &Cmd, program: &Path) -> io::Result<()> {
    let namespace = if !cmd.shares_mounts && is_possible() {
        Some(namespace(cmd, program)?)
    } else {
        None
    };
    confine(command, namespace);
    Ok(())
}

/// Whether children can have mount namespaces of their own: asked once, by a thread that enters one.
fn is_possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let hidden = existing().into_iter().filter_map(|folder| c_string(folder).ok());
        let mut namespace = Namespace {
            hidden: hidden.collect(),
            ..Namespace::default()
        };
        let entered = thread::spawn(move || namespace.enter()).join();
        match entered {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::info!(%error, "tools see all files of this machine: no mount namespace of their own");
                false
            }
            Err(_) => false,
        }
    })
}

fn existing() -> Vec<&'static Path> {
    let folders = HIDDEN.iter().map(Path::new);
    folders.filter(|folder| folder.is_dir()).collect()
}

fn namespace(cmd: &Cmd, program: &Path) -> io::Result<Namespace> {
    let hidden = existing();
    let mut visible = Vec::new();
    let mut seen = BTreeSet::new();
    let paths = cmd.visible.iter().map(PathBuf::as_path);
    for path in paths.chain([program]).chain(cmd.directory.as_deref()) {
        // The program itself says what is missing.
        if !path.exists() {
            continue;
        }
        if let Some((place, folders)) = place(path, &hidden)?
            && seen.insert(place.clone())
        {
            visible.push(Visible {
                source: c_string(path)?,
                folders: folders
                    .iter()
                    .map(|it| c_string(it))
                    .collect::<io::Result<_>>()?,
                place: c_string(&place)?,
                is_folder: fs::metadata(path)?.is_dir(),
                open: None,
            });
        }
    }
    // The empty folder, where the program is not to start elsewhere.
    let directory = match &cmd.directory {
        Some(directory) => Some(directory.as_path()),
        None => hidden.first().copied(),
    };
    Ok(Namespace {
        detached: mounts_in(&hidden, cmd)?,
        hidden: hidden
            .iter()
            .map(|it| c_string(it))
            .collect::<io::Result<_>>()?,
        visible,
        directory: directory.map(c_string).transpose()?,
    })
}

/// Where a path is to be seen, and the folders to make for that; `None` where it is in no hidden folder.
fn place(path: &Path, hidden: &[&Path]) -> io::Result<Option<(PathBuf, Vec<PathBuf>)>> {
    let within = |path: &Path| {
        let mut hidden = hidden.iter();
        hidden.find(|folder| path.starts_with(folder)).copied()
    };
    let place = match within(path) {
        Some(_) => path.to_owned(),
        None => fs::canonicalize(path)?,
    };
    let Some(folder) = within(&place) else {
        return Ok(None);
    };
    let above = place.ancestors().skip(1);
    let above = above.take_while(|above| *above != folder && above.starts_with(folder));
    let mut folders: Vec<PathBuf> = above.map(Path::to_owned).collect();
    folders.reverse();
    Ok(Some((place, folders)))
}

/// What is mounted in hidden folders, without that on which something visible lies; the last mount first.
fn mounts_in(hidden: &[&Path], cmd: &Cmd) -> io::Result<Vec<CString>> {
    let mounts = parse_mountinfo(&fs::read("/proc/self/mountinfo")?);
    let is_needed = |at: &Path| cmd.visible.iter().any(|path| path.starts_with(at));
    let inside = mounts.iter().rev().map(|mount| mount.target.as_path());
    let inside = inside.filter(|at| {
        let below = |folder: &&Path| at.starts_with(folder) && at != folder;
        hidden.iter().any(below) && !is_needed(at)
    });
    inside.map(c_string).collect()
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_visible_gets_the_folders_that_lead_to_it() {
        let hidden = [Path::new("/tmp"), Path::new("/run/provision")];
        let (at, folders) = place(Path::new("/run/provision/work/a/b"), &hidden)
            .unwrap()
            .unwrap();
        assert_eq!(at, Path::new("/run/provision/work/a/b"));
        let expected = ["/run/provision/work", "/run/provision/work/a"].map(PathBuf::from);
        assert_eq!(folders, expected);
        let (_, none) = place(Path::new("/tmp/file"), &hidden).unwrap().unwrap();
        assert!(none.is_empty());
        assert_eq!(place(Path::new("/dev/null"), &hidden).unwrap(), None);
        assert!(place(Path::new("/nowhere/at/all"), &hidden).is_err());
    }
}
