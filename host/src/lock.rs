//! Locks: one agent at a time on a machine, and udev kept from a disk whose table is being changed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::wait;

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is locked{}", path.display(), holder.map_or_else(String::new, |pid| format!(" by process {pid}")))]
    Held {
        /// Path of the lock file.
        path: PathBuf,
        /// Process number of the holder, where the file has it.
        holder: Option<u32>,
    },
    /// It cannot be opened or locked at all.
    #[error("cannot lock {}", path.display())]
    Io {
        /// Path of the lock file.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
}

/// How long [`Lock::acquire`] retries: [`Lock::holder`] in other processes takes the lock for an instant.
const HOLDER_QUERY: Duration = Duration::from_secs(1);

/// A lock that is held until this is dropped or the process ends.
///
/// The file stays: were it removed, one process could lock a new file while another waits for the old one.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl Lock {
    /// Takes the lock at `path` and writes this process's number into it. Fails with [`LockError::Held`] if another
    /// process holds it for more than the instant that [`Self::holder`] needs.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(failed)?;
        let mut file = Some(file);
        match lock_within(HOLDER_QUERY, &mut file).map_err(failed)? {
            Some(mut locked) => {
                write_holder(&mut locked).map_err(failed)?;
                Ok(Self(locked))
            }
            None => Err(LockError::Held {
                path: path.to_owned(),
                holder: file.as_mut().and_then(read_holder),
            }),
        }
    }

    /// The holder of the lock at `path`; `None` if it is free. To find out, the lock is taken for an instant, which
    /// [`Self::acquire`] tolerates.
    pub fn holder(path: &Path) -> io::Result<Option<u32>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let holder = read_holder(&mut file);
        // A shared lock is refused while another process has the exclusive one; it is released with the descriptor.
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(None),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(holder.or(Some(0))),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A later reader must not take this process for the holder; if this fails, the lock itself shows that it is
        // free.
        let _ = self.0.set_len(0);
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The lock that udev respects (BSD lock on the whole disk's device): while it is held, udev neither probes the disk
/// nor makes the kernel read its table again. Hold it only around a change of the table.
#[derive(Debug)]
pub struct DiskLock {
    _locked: Flock<File>,
}

/// Takes the lock of a whole disk, waiting up to `limit` for udev or another tool to release it.
pub(crate) fn disk_lock(disk: &Path, limit: Duration) -> Result<DiskLock, LockError> {
    let failed = |source| LockError::Io {
        path: disk.to_owned(),
        source,
    };
    // Read-only: closing a writable descriptor makes udev probe the disk again.
    let mut file = Some(File::open(disk).map_err(failed)?);
    match lock_within(limit, &mut file).map_err(failed)? {
        Some(locked) => Ok(DiskLock { _locked: locked }),
        None => Err(LockError::Held {
            path: disk.to_owned(),
            holder: None,
        }),
    }
}

/// Locks `file` exclusively and takes it out of the option; `None`, and `file` stays, where another process holds the
/// lock until `limit`.
fn lock_within(limit: Duration, file: &mut Option<File>) -> io::Result<Option<Flock<File>>> {
    let locked = wait::until(limit, || {
        let Some(unlocked) = file.take() else {
            return Ok(None);
        };
        match Flock::lock(unlocked, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => Ok(Some(locked)),
            Err((unlocked, nix::errno::Errno::EWOULDBLOCK)) => {
                *file = Some(unlocked);
                Ok(None)
            }
            Err((_, errno)) => Err(errno.into()),
        }
    });
    match locked {
        Ok(locked) => Ok(Some(locked)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_holders_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::acquire(&path).unwrap();
        let own = std::process::id();
        assert_eq!(Lock::holder(&path).unwrap(), Some(own));
        let refused = Lock::acquire(&path).unwrap_err().to_string();
        assert!(
            refused.ends_with(&format!("is locked by process {own}")),
            "{refused}"
        );
        drop(first);
        assert_eq!(Lock::holder(&path).unwrap(), None);
        Lock::acquire(&path).unwrap();
    }

    #[test]
    fn a_query_for_the_holder_does_not_keep_a_new_lock_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        File::create(&path).unwrap();
        let asking = File::open(&path).unwrap();
        let asking = Flock::lock(asking, FlockArg::LockSharedNonblock).unwrap();
        let mut file = Some(File::options().write(true).open(&path).unwrap());
        assert!(lock_within(Duration::ZERO, &mut file).unwrap().is_none());
        assert!(file.is_some(), "it can be tried again");
        let new = std::thread::scope(|scope| {
            let new = scope.spawn(|| Lock::acquire(&path));
            drop(asking);
            new.join().unwrap()
        });
        new.unwrap();
    }

    #[test]
    fn a_lock_left_by_a_dead_process_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "4711\n and more").unwrap();
        assert_eq!(Lock::holder(&path).unwrap(), None);
        let _lock = Lock::acquire(&path).unwrap();
        assert_eq!(Lock::holder(&path).unwrap(), Some(std::process::id()));
    }

    #[test]
    fn a_disk_is_locked_once_and_then_free_again() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        let held = disk_lock(disk.path(), Duration::ZERO).unwrap();
        let refused = disk_lock(disk.path(), Duration::from_millis(3)).unwrap_err();
        assert!(matches!(refused, LockError::Held { holder: None, .. }));
        drop(held);
        disk_lock(disk.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_disk_that_is_not_there_is_no_lock() {
        let error = disk_lock(Path::new("/nonexistent"), Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "cannot lock /nonexistent");
    }
}
