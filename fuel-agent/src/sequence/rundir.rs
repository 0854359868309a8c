//! `/run/provision`: state that a run leaves for other processes while it goes on, and afterwards.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::completion::PendingCompletion;
use super::small_file::{fill, overwrite, replace};
use super::state_file::State;

/// Bytes that are kept for the report.
const RESERVE: usize = 512 << 10;

/// By how much the note of a completion may grow after its room was reserved: the stages that are still to come, the
/// times, and warnings.
const RESERVE_MORE: usize = 64 << 10;

/// The folder of a run's state. It is in memory: after a reboot nothing of it is left, and only the stamp on the disks
/// remains.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The folder at `path`, made if it does not exist; readable for its owner only.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        Ok(Self(path))
    }

    /// The folder at `path`, as it is: for commands that only read.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file that is locked while a run goes on.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The run's log.
    pub fn log(&self) -> PathBuf {
        self.0.join("provision.log")
    }

    /// The last run's report.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.json")
    }

    /// Path of the state of the run.
    pub fn state_file(&self) -> PathBuf {
        self.0.join("state.json")
    }

    fn owed_file(&self) -> PathBuf {
        self.0.join("owed.json")
    }

    /// The folder for mounts and temporary files.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The state of the last run, if there was one since the node started. An error is one that cannot be read: what
    /// the run came to is not known.
    pub fn state(&self) -> io::Result<Option<State>> {
        match fs::read(self.state_file()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is owed to the orchestrator.
    pub fn owed(&self) -> Option<PendingCompletion> {
        read(&self.owed_file())
    }

    fn reserve_file(&self) -> PathBuf {
        self.0.join("reserve")
    }

    fn owed_reserve_file(&self) -> PathBuf {
        self.0.join("reserve.owed")
    }

    /// Reserves the room that the end of a run needs for the report, against other writers of the filesystem.
    pub fn reserve(&self) -> io::Result<()> {
        fill(&self.reserve_file(), RESERVE)
    }

    /// Reserves the room that the note of a pending completion needs, which becomes at most `RESERVE_MORE` longer than
    /// `draft` by the time that it is written.
    pub fn reserve_pending(&self, draft: &PendingCompletion) -> io::Result<()> {
        let length = serde_json::to_vec(draft)?.len();
        fill(&self.owed_reserve_file(), length + RESERVE_MORE)
    }

    /// Gives back what was reserved; nothing may have been.
    pub fn give_back_reserve(&self) {
        for file in [self.reserve_file(), self.owed_reserve_file()] {
            let _ = fs::remove_file(file);
        }
    }

    /// Notes what is owed, or that nothing is any more.
    pub fn set_pending(&self, owed: Option<&PendingCompletion>) -> io::Result<()> {
        match owed {
            Some(owed) => {
                let (bytes, reserved) = (serde_json::to_vec(owed)?, self.owed_reserve_file());
                if !reserved.exists() {
                    return replace(&self.owed_file(), &bytes);
                }
                // In the room that the file has: a full filesystem gives no other.
                overwrite(&reserved, &bytes)?;
                fs::rename(reserved, self.owed_file())
            }
            None => match fs::remove_file(self.owed_file()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_reserve_is_taken_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path().join("p")).unwrap();
        run.reserve().unwrap();
        run.reserve().unwrap();
        let taken = fs::metadata(folder.path().join("p/reserve")).unwrap();
        assert_eq!(taken.len(), 512 << 10);
        run.give_back_reserve();
        run.give_back_reserve();
        assert_eq!(fs::read_dir(folder.path().join("p")).unwrap().count(), 0);
    }

    fn pending(body: &str) -> PendingCompletion {
        let callback = crate::settings::Callback {
            url: Some("http://h/".into()),
            body: Some(body.to_owned()),
            ..Default::default()
        };
        let call = super::super::completion::call(&callback, &super::super::completion::sample());
        PendingCompletion {
            call: call.unwrap().unwrap(),
            request_digest: "abc".to_owned(),
            end: crate::settings::End::Reboot,
        }
    }

    /// A filesystem in memory of 1 MiB; unmounted when dropped.
    struct Small(tempfile::TempDir);

    impl Small {
        fn mount() -> Option<Self> {
            use host::exec::{Cmd, Exec, Program, System};
            let folder = tempfile::tempdir().unwrap();
            let cmd = Cmd::new(Program::new("mount", "mount"))
                .args(["-t", "tmpfs", "-o", "size=1m", "small"])
                .arg(folder.path());
            let mounted = System::new(host::cancel::Cancel::new()).run(&cmd);
            if let Err(error) = mounted {
                host::fake::skipped(format_args!("cannot mount: {error}"));
                return None;
            }
            Some(Self(folder))
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            use host::mount::{KernelMounts, Mounts};
            let _ = KernelMounts.unmount(self.0.path());
        }
    }

    #[test]
    fn a_full_filesystem_takes_the_note_in_the_room_that_was_reserved_for_it() {
        let Some(small) = Small::mount() else { return };
        let run = RunDir::open(small.0.path().join("p")).unwrap();
        let owed = pending(&"x".repeat(100_000));
        run.reserve_pending(&owed).unwrap();
        let mut other = fs::File::create(small.0.path().join("log")).unwrap();
        let full = std::iter::repeat_with(|| other.write_all(&[0; 4096])).find_map(Result::err);
        assert_eq!(full.unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(run.reserve().is_err(), "nothing more goes in");
        let longer = pending(&"x".repeat(110_000));
        run.set_pending(Some(&longer)).unwrap();
        assert_eq!(run.owed().unwrap(), longer);
        run.set_pending(None).unwrap();
        assert!(run.owed().is_none());
        let full = std::iter::repeat_with(|| other.write_all(&[0; 4096])).find_map(Result::err);
        assert_eq!(full.unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(run.reserve_pending(&owed).is_err());
        run.set_pending(Some(&owed)).unwrap_err();
        assert!(run.owed().is_none());
    }

    #[test]
    fn what_is_owed_is_for_its_owner_only_and_goes_when_it_is_accepted() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path().join("p")).unwrap();
        run.set_pending(None).unwrap();
        let owed = PendingCompletion {
            call: super::super::completion::call(
                &crate::settings::Callback {
                    url: Some("http://h/".into()),
                    ..Default::default()
                },
                &super::super::completion::sample(),
            )
            .unwrap()
            .unwrap(),
            request_digest: "abc".to_owned(),
            end: crate::settings::End::Reboot,
        };
        run.set_pending(Some(&owed)).unwrap();
        assert_eq!(run.owed().unwrap().call, owed.call);
        let mode = fs::metadata(folder.path().join("p/owed.json")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        run.set_pending(None).unwrap();
        assert!(run.owed().is_none());
    }
}
