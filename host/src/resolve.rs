//! Resolves paths in a tree that is not trusted as if its folder were the root: an absolute link begins there, and no
//! `..` leads out of it.
//!
//! Links are read and followed here, component by component, and never by the kernel: what an image brings is mounted
//! with `nosymfollow`, so that no path of this process or of a tool it starts can be led astray there, and an installed
//! system is full of links that have to be followed all the same (`/lib`, `/etc/resolv.conf`, `/boot` of some).
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

/// Links that one path may lead through: the kernel's own limit.
const LINKS_MAX: usize = 40;
/// Maximum depth of folders: each is an open file descriptor while a path is resolved.
const DEPTH_MAX: usize = 256;

/// Opens what `path` leads to below `root`; `flags` are for that alone.
pub(crate) fn open(root: &OwnedFd, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // Names that are still to be looked up, the next one last; folders from the root to where the lookup is.
    let mut names = reversed(Path::new(path));
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut links = 0_usize;
    while let Some(name) = names.pop() {
        let here = folders.last().unwrap_or(root);
        if name == ".." {
            folders.pop();
            continue;
        }
        match fcntl::readlinkat(here, &*name) {
            Ok(target) => {
                links = links.saturating_add(1);
                if links > LINKS_MAX {
                    return Err(Errno::ELOOP.into());
                }
                let target = Path::new(&target);
                if target.is_absolute() {
                    folders.clear();
                }
                names.extend(reversed(target));
            }
            // It is there and no link.
            Err(Errno::EINVAL) if names.is_empty() => return open_entry(here, &name, flags),
            Err(Errno::EINVAL) => {
                if folders.len() >= DEPTH_MAX {
                    return Err(Errno::ENAMETOOLONG.into());
                }
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
                let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                folders.push(open_entry(here, &name, flags)?);
            }
            Err(error) => return Err(error.into()),
        }
    }
    open_entry(folders.last().unwrap_or(root), OsStr::new("."), flags)
}

fn open_entry(folder: &OwnedFd, name: &OsStr, flags: OFlag) -> io::Result<OwnedFd> {
    Ok(fcntl::openat(folder, name, flags, Mode::empty())?)
}

/// The names of a path, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<OsString> = parts.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{OpenHow, ResolveFlag};
    use nix::sys::stat::fstat;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(folder: &Path) -> OwnedFd {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        fcntl::open(folder, flags, Mode::empty()).unwrap()
    }

    /// What the kernel finds where it follows links itself.
    fn by_the_kernel(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(fcntl::openat2(root, path, how)?)
    }

    fn identity(found: io::Result<OwnedFd>) -> Result<(u64, u64), Option<i32>> {
        let found = found.map_err(|error| error.raw_os_error())?;
        let found = fstat(&found).unwrap();
        Ok((found.st_dev, found.st_ino))
    }

    #[test]
    fn as_many_links_are_followed_as_the_kernel_follows() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("0"), "end").unwrap();
        for n in 1..=41 {
            symlink((n - 1).to_string(), folder.path().join(n.to_string())).unwrap();
        }
        symlink("self", folder.path().join("self")).unwrap();
        let root = root(folder.path());
        for name in ["40", "41", "self", "self/x"] {
            let found = identity(open(&root, name, OFlag::O_PATH));
            assert_eq!(found, identity(by_the_kernel(&root, name)), "{name}");
        }
        let error = open(&root, "41", OFlag::O_PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_path_of_endless_depth_ends() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("d/".repeat(300))).unwrap();
        let root = root(folder.path());
        let error = open(&root, &"d/".repeat(300), OFlag::O_PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        open(&root, &"d/".repeat(DEPTH_MAX), OFlag::O_PATH).unwrap();
    }

    /// Paths of few names, so that they meet; absolute ones, and ones that lead out.
    fn paths() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec!["a", "b", "c", "..", "."]);
        let path = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
        (any::<bool>(), path).prop_map(
            |(absolute, path)| {
                if absolute { format!("/{path}") } else { path }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_path_leads_where_the_kernel_would_lead(
            entries in prop::collection::vec((paths(), prop::option::of(paths())), 1..12),
            asked in prop::collection::vec(paths(), 1..12),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let root = root(folder.path());
            for (path, target) in entries {
                // Made where the kernel says that its folder is, so never outside.
                let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
                let above = if above.is_empty() { "." } else { above };
                let Ok(above) = by_the_kernel(&root, above) else { continue };
                let _ = match target {
                    Some(target) => nix::unistd::symlinkat(&*target, &above, name),
                    None => nix::sys::stat::mkdirat(&above, name, Mode::S_IRWXU),
                };
            }
            for path in asked {
                let ours = identity(open(&root, &path, OFlag::O_PATH));
                prop_assert_eq!(ours, identity(by_the_kernel(&root, &path)), "{}", path);
            }
        }
    }
}
