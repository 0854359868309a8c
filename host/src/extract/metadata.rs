//! What belongs to a file beside its data. Owner first, since that takes capabilities and set-id bits away; then mode,
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

/// Attributes that what is made in a folder may get from it.
const LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// What belongs to a file beside its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// Number of its owner.
    pub user: u32,
    /// Number of its group.
    pub group: u32,
    /// When it was changed last: seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// Its extended attributes: name and value.
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

    /// Whether a folder with them passes an access control list on to what is made in it.
    pub(super) fn are_passed_on(&self) -> bool {
        self.attributes.iter().any(|(name, _)| *name == LISTS[1])
    }

    /// To a file or folder; its time is still to be set.
    pub(super) fn give_to(&self, file: &File) -> io::Result<()> {
        let (user, group) = self.owner();
        unistd::fchown(file, user, group)?;
        stat::fchmod(file, self.permissions())?;
        self.set_attributes(|name, value| file.set_xattr(name, value))
    }

    /// To a symbolic link, which has no mode.
    pub(super) fn give_to_link(&self, parent: &File, name: &OsStr) -> io::Result<()> {
        let (user, group) = self.owner();
        unistd::fchownat(parent, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        self.set_by_name(parent, name)
    }

    /// To a device or a pipe that was made just now: opening it could have side effects.
    pub(super) fn give_to_special(
        &self,
        parent: &File,
        name: &OsStr,
        is_passed_on: bool,
    ) -> io::Result<()> {
        let (user, group) = self.owner();
        unistd::fchownat(parent, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if is_passed_on {
            let path = by_descriptor(parent, name);
            forget(|list| xattr::remove(&path, list))?;
        }
        // no link, since it was made just now
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

/// The kernel has no way to set an attribute from an open folder, a name and no link followed, but for this one.
fn by_descriptor(parent: &File, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name)
}

pub(super) fn set_modified(file: &File, modified: TimeSpec) -> io::Result<()> {
    Ok(stat::futimens(file, &TimeSpec::UTIME_OMIT, &modified)?)
}

/// Takes away what the folder above has passed on.
pub(super) fn forget_lists(file: &File) -> io::Result<()> {
    forget(|list| file.remove_xattr(list))
}

fn forget(remove: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    for list in LISTS {
        match remove(list) {
            Err(error) if is_absence(&error) => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP))
}

/// Makes a folder what a new one is.
pub(super) fn take_from(folder: &File) -> io::Result<()> {
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
