//! What a child does between fork and exec to see less of this machine: no new privileges, no core dumps, and a mount
//! namespace of its own in which some folders are empty.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, mkdir};

/// The mount namespace of a child; everything that takes memory, made before the fork.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    /// Mounts that are taken out of it, those that lie on others first: while the child runs nothing of it holds them.
    pub(crate) detached: Vec<CString>,
    /// Existing folders that are empty in it, and cannot be written to.
    pub(crate) hidden: Vec<CString>,
    /// What is seen in the hidden folders all the same.
    pub(crate) visible: Vec<Visible>,
    /// The working directory, if not the present one.
    pub(crate) directory: Option<CString>,
}

/// A file or folder that is seen in a hidden folder.
#[derive(Debug)]
pub(crate) struct Visible {
    /// Where it is.
    pub(crate) source: CString,
    /// Folders to make for it, the outermost first.
    pub(crate) folders: Vec<CString>,
    /// Where it is seen.
    pub(crate) place: CString,
    /// Whether it is a folder.
    pub(crate) is_folder: bool,
    /// The open mount while it is carried over.
    pub(crate) open: Option<OwnedFd>,
}

/// Makes `command` start confined: in `namespace`, where one can be had.
pub(crate) fn confine(command: &mut Command, mut namespace: Option<Namespace>) {
    let enter = move || {
        nix::sys::prctl::set_no_new_privs()?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        match &mut namespace {
            Some(namespace) => Ok(namespace.enter()?),
            None => Ok(()),
        }
    };
    // SAFETY: between fork and exec the closure makes system calls with memory that was allocated before the fork, and
    // builds errors from numbers: it takes no lock and allocates nothing, so that locks held by other threads at the
    // fork do not matter. What it changes (privileges, limits, namespace, working directory) is the child's own.
    unsafe { command.pre_exec(enter) };
}

impl Namespace {
    /// Moves the calling thread into this namespace: a child before its exec, or a thread that ends afterwards.
    /// Allocates nothing.
    pub(crate) fn enter(&mut self) -> Result<(), Errno> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        set_flags(c"/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        for place in &self.detached {
            // It may be gone by now, with one that it lay on.
            let _ = umount2(&**place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
        for visible in &mut self.visible {
            visible.open = Some(clone_mount(&visible.source)?);
        }
        for folder in &self.hidden {
            empty(folder)?;
        }
        for visible in &mut self.visible {
            visible.appear()?;
        }
        for folder in &self.hidden {
            set_flags(folder, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | LOCKED)?;
        }
        match &self.directory {
            Some(directory) => chdir(&**directory),
            None => Ok(()),
        }
    }
}

/// Flags of a folder that is empty.
const LOCKED: MsFlags = INERT.union(MsFlags::MS_RDONLY);
const INERT: MsFlags = MsFlags::MS_NODEV
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NOEXEC);

fn set_flags(at: &CStr, flags: MsFlags) -> Result<(), Errno> {
    mount(None::<&CStr>, at, None::<&CStr>, flags, None::<&CStr>)
}

/// Covers a folder with an empty one, for now with room for mount points.
fn empty(folder: &CStr) -> Result<(), Errno> {
    let tmpfs = Some(c"tmpfs");
    mount(
        tmpfs,
        folder,
        tmpfs,
        INERT,
        Some(c"size=64k,nr_inodes=256,mode=0755"),
    )
}

impl Visible {
    fn appear(&mut self) -> Result<(), Errno> {
        for folder in &self.folders {
            match mkdir(&**folder, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        if self.is_folder {
            match mkdir(&*self.place, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        } else {
            let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            drop(open(&*self.place, flags, Mode::from_bits_truncate(0o600))?);
        }
        match self.open.take() {
            Some(mount) => move_mount(&mount, &self.place),
            None => Ok(()),
        }
    }
}

/// A mount of its own of what is at `path`, which is nowhere yet.
fn clone_mount(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: open_tree reads the path, which ends with a zero byte and outlives the call.
    let found = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            AT_FDCWD.as_raw_fd(),
            path.as_ptr(),
            flags,
        )
    };
    let descriptor = RawFd::try_from(Errno::result(found)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call has just returned this descriptor; it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn move_mount(mount: &OwnedFd, place: &CStr) -> Result<(), Errno> {
    // SAFETY: move_mount reads two paths, which end with a zero byte and outlive the call.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AT_FDCWD.as_raw_fd(),
            place.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(moved).map(drop)
}
