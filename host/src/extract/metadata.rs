//! Metadata of unpacked entries. The owner is set first, since chown clears capabilities and set-id bits; then mode,
//! attributes, and the time last.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::sys::stat::{self, FchmodatFlags, Mode, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{self, Gid, Uid};
use xattr::FileExt;

/// Attributes that a new entry inherits from a folder with a default access control list.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Metadata of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// User id of the owner.
    pub user: u32,
    /// Group id.
    pub group: u32,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// Extended attributes: name and value.
    pub attributes: Vec<(&'a OsStr, &'a [u8])>,
}

impl Metadata<'_> {
    pub(super) fn modified(&self) -> TimeSpec {
        TimeSpec::new(self.modified.0, self.modified.1.into())
    }

    fn permissions(&self) -> Mode {
        Mode::from_bits_truncate(self.mode & 0o7777)
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        (Some(user), Some(group))
    }

    /// Whether entries made in a folder with this metadata inherit an access control list.
    pub(super) fn has_default_acl(&self) -> bool {
        self.attributes.iter().any(|(name, _)| *name == ACLS[1])
    }

    /// Sets everything except the time on a file or folder.
    pub(super) fn apply_to(&self, file: &File) -> io::Result<()> {
        let (user, group) = self.owner();
        unistd::fchown(file, user, group)?;
        stat::fchmod(file, self.permissions())?;
        self.set_attributes(|name, value| file.set_xattr(name, value))
    }

    /// Sets everything on a symbolic link, which has no mode.
    pub(super) fn apply_to_link(&self, parent: &File, name: &OsStr) -> io::Result<()> {
        let (user, group) = self.owner();
        unistd::fchownat(parent, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        self.set_by_name(parent, name)
    }

    /// Sets everything on a device or pipe that was just made, without opening it: that could have side effects.
    pub(super) fn apply_to_special(
        &self,
        parent: &File,
        name: &OsStr,
        inherits_acl: bool,
    ) -> io::Result<()> {
        let (user, group) = self.owner();
        unistd::fchownat(parent, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if inherits_acl {
            let path = by_descriptor(parent, name);
            remove_each(|acl| xattr::remove(&path, acl))?;
        }
        // not a symbolic link, since it was just made
        stat::fchmodat(
            parent,
            name,
            self.permissions(),
            FchmodatFlags::FollowSymlink,
        )?;
        self.set_by_name(parent, name)
    }

    fn set_by_name(&self, parent: &File, name: &OsStr) -> io::Result<()> {
        let path = by_descriptor(parent, name);
        self.set_attributes(|attribute, value| xattr::set(&path, attribute, value))?;
        let omitted = TimeSpec::UTIME_OMIT;
        Ok(stat::utimensat(
            parent,
            name,
            &omitted,
            &self.modified(),
            UtimensatFlags::NoFollowSymlink,
        )?)
    }

    fn set_attributes(&self, set: impl Fn(&OsStr, &[u8]) -> io::Result<()>) -> io::Result<()> {
        for (name, value) in &self.attributes {
            set(name, value).map_err(|source| {
                let name = name.display();
                let why = format!("cannot get its attribute `{name}`: {source}");
                io::Error::new(source.kind(), why)
            })?;
        }
        Ok(())
    }
}

/// The path of an entry through its folder's descriptor: the kernel has no `setxattrat` that takes both.
fn by_descriptor(parent: &File, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name)
}

pub(super) fn set_modified(file: &File, modified: TimeSpec) -> io::Result<()> {
    Ok(stat::futimens(file, &TimeSpec::UTIME_OMIT, &modified)?)
}

/// Removes the access control lists that the entry inherited from its folder.
pub(super) fn remove_inherited_acls(file: &File) -> io::Result<()> {
    remove_each(|acl| file.remove_xattr(acl))
}

fn remove_each(remove: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    for acl in ACLS {
        match remove(acl) {
            Err(error) if is_absence(&error) => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP))
}

/// Resets a folder to owner root, mode 0755 and no attributes.
pub(super) fn reset(folder: &File) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    unistd::fchown(folder, Some(user), Some(group))?;
    stat::fchmod(folder, Mode::from_bits_truncate(0o755))?;
    for name in folder.list_xattr()? {
        match folder.remove_xattr(&name) {
            Err(error) if is_absence(&error) => {}
            removed => removed?,
        }
    }
    Ok(())
}
