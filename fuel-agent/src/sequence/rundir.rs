//! `/run/provision`: state that a run leaves for other processes while it goes on, and afterwards.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::completion::PendingCompletion;
use crate::events::joint::Joint;
use crate::events::{Event, Events, clock};
use crate::model::stage::Stage;

/// Bytes of the state file, at least: spaces at its end. A file of one length can be written anew where nothing is
/// free.
const STATE_LENGTH: usize = 4096;

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

/// Writes a file there in one piece: readers see the old one or the new one. Only its owner may read it.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let put = create(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&new, path));
    if put.is_err() {
        // Half of it would only take room.
        let _ = fs::remove_file(&new);
    }
    put
}

/// A file of so many bytes, or none.
fn fill(path: &Path, bytes: usize) -> io::Result<()> {
    let taken = create(path).and_then(|mut file| file.write_all(&vec![0x5a; bytes]));
    if taken.is_err() {
        let _ = fs::remove_file(path);
    }
    taken
}

/// Gives a file other content without giving its room back first.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}

/// An empty file that only its owner may read.
fn create(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Puts a state there: in one piece, or where there is no room for a second file, over the old one, which is as long.
fn record(path: &Path, state: &State) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(state)?;
    bytes.resize(bytes.len().max(STATE_LENGTH), b' ');
    replace(path, &bytes).or_else(|_| overwrite(path, &bytes))
}

/// Whether so many bytes more can be written under the name `path`: what is found out now does not stop a run at its
/// end.
/// Nothing is left of the try, and what has that name stays as it is.
pub fn room_for(path: &Path, bytes: usize) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".try");
    let tried = create(Path::new(&name)).and_then(|mut file| file.write_all(&vec![0x5a; bytes]));
    match fs::remove_file(&name) {
        Err(error) if tried.is_ok() => Err(error),
        _ => tried,
    }
}

/// State of a run while it goes on, and its result.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Process id of the run.
    pub pid: u32,
    /// Start, UTC.
    pub started: String,
    /// Identity of the request, once it has been read.
    pub request_digest: Option<String>,
    /// The stage it is in, or ended in.
    pub stage: Option<String>,
    /// The transfer that is going on.
    pub progress: Option<Moving>,
    /// End, UTC.
    pub ended: Option<String>,
    /// Exit status, once it has ended.
    pub exit_status: Option<u8>,
}

/// A transfer that is going on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Moving {
    /// In a word or two.
    pub what: String,
    /// Bytes done so far.
    pub done_bytes: u64,
    /// Bytes in all, where known.
    pub total_bytes: Option<u64>,
}

/// Keeps the state file of a run, and records the warnings of all stages for its report.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    now: Mutex<Option<(State, Instant)>>,
    /// What moves since the last step.
    joint: Mutex<Joint>,
    warnings: Mutex<Vec<String>>,
}

/// Between two writes for progress only.
const PROGRESS: Duration = Duration::from_secs(1);

impl StateFile {
    /// A file that is left as it is until [`Self::begin`]: another run may be writing it.
    pub fn new(folder: &RunDir) -> Self {
        Self {
            path: folder.state_file(),
            now: Mutex::new(None),
            joint: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Every warning of this run so far, in the order in which they came.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock();
        warnings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This run begins, and has the lock. An error is returned: from here on the state must be that of this run.
    pub fn begin(&self) -> io::Result<()> {
        let state = State {
            pid: std::process::id(),
            started: clock::now(),
            ..State::default()
        };
        record(&self.path, &state)?;
        *self.lock() = Some((state, Instant::now()));
        Ok(())
    }

    /// Records the digest of the request.
    pub fn request(&self, digest: &str) {
        self.change(|state| state.request_digest = Some(digest.to_owned()));
    }

    /// Records the end of the run.
    pub fn end(&self, exit_status: u8) {
        self.change(|state| {
            state.ended = Some(clock::now());
            state.exit_status = Some(exit_status);
            state.progress = None;
        });
    }

    /// A state that cannot be written stops nothing: the report and the log have it too.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut now = self.lock();
        let Some((state, at)) = now.as_mut() else {
            return;
        };
        change(state);
        *at = Instant::now();
        if let Err(error) = record(&self.path, state) {
            tracing::warn!(%error, path = %self.path.display(), "cannot write the state of the run");
        }
    }

    fn stage(&self, stage: Stage) {
        self.change(|state| {
            // What failed stays visible while clean-up and report go on.
            if stage < Stage::Cleanup {
                state.stage = Some(stage.name().to_owned());
            }
            state.progress = None;
        });
    }

    /// Notes how far everything is that moves now.
    fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        let moving = {
            let mut joint = self.joint();
            joint.moved(what, done, total);
            Moving {
                what: joint.what(),
                done_bytes: joint.done(),
                total_bytes: joint.total(),
            }
        };
        let is_due = self.lock().as_ref().is_some_and(|(state, at)| {
            let is_over = moving.total_bytes == Some(moving.done_bytes);
            state.progress.is_none() || at.elapsed() >= PROGRESS || is_over
        });
        if is_due {
            self.change(|state| state.progress = Some(moving));
        }
    }

    fn joint(&self) -> MutexGuard<'_, Joint> {
        self.joint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(State, Instant)>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for StateFile {
    fn emit(&self, event: &Event) {
        match event {
            Event::Warning { message, .. } => {
                let warnings = self.warnings.lock();
                let mut warnings = warnings.unwrap_or_else(PoisonError::into_inner);
                warnings.push(message.clone());
            }
            Event::StageStart { stage } => {
                self.joint().clear();
                self.stage(*stage);
            }
            Event::Step { .. } => self.joint().clear(),
            Event::Progress {
                what,
                done_bytes,
                total_bytes,
                ..
            } => self.progress(what, *done_bytes, *total_bytes),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_tells_where_a_run_is_and_what_it_came_to() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path().join("run/provision")).unwrap();
        assert!(run.state().unwrap().is_none());
        let file = StateFile::new(&run);
        file.request("of a run without the lock");
        assert!(run.state().unwrap().is_none());
        file.begin().unwrap();
        file.request("abc");
        file.emit(&Event::StageStart {
            stage: Stage::Image,
        });
        let moved = |done_bytes| Event::Progress {
            stage: Stage::Image,
            what: "/".to_owned(),
            done_bytes,
            total_bytes: Some(9),
        };
        file.emit(&moved(1));
        file.emit(&moved(2));
        let state = run.state().unwrap().unwrap();
        assert_eq!(state.pid, std::process::id());
        assert_eq!(state.request_digest.as_deref(), Some("abc"));
        assert_eq!(state.stage.as_deref(), Some("image"));
        assert_eq!(state.progress.unwrap().done_bytes, 1);
        file.emit(&moved(9));
        assert_eq!(
            run.state().unwrap().unwrap().progress.unwrap().done_bytes,
            9
        );
        // a second image at the same time
        file.emit(&Event::Progress {
            stage: Stage::Image,
            what: "/srv".to_owned(),
            done_bytes: 5,
            total_bytes: Some(5),
        });
        let both = run.state().unwrap().unwrap().progress.unwrap();
        assert_eq!((both.what.as_str(), both.done_bytes), ("2 images", 14));
        file.emit(&Event::Step {
            stage: Stage::Image,
            number: 2,
            of: 2,
            what: "grow".to_owned(),
        });
        file.emit(&moved(9));
        assert_eq!(run.state().unwrap().unwrap().progress.unwrap().what, "/");
        file.emit(&Event::StageStart {
            stage: Stage::Cleanup,
        });
        file.end(6);
        let state = run.state().unwrap().unwrap();
        assert_eq!(state.stage.as_deref(), Some("image"));
        assert_eq!(state.exit_status, Some(6));
        assert!(state.progress.is_none());
    }

    #[test]
    fn where_nothing_can_be_made_any_more_the_state_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path().join("p")).unwrap();
        let file = StateFile::new(&run);
        file.begin().unwrap();
        let length = fs::metadata(run.state_file()).unwrap().len();
        // A folder under the name of the new file keeps it from being made, as a full disk does.
        fs::create_dir(folder.path().join("p/state.json.new")).unwrap();
        file.emit(&Event::StageStart {
            stage: Stage::Image,
        });
        file.end(8);
        let state = run.state().unwrap().unwrap();
        assert_eq!(state.stage.as_deref(), Some("image"));
        assert_eq!(state.exit_status, Some(8));
        // nothing more was taken
        assert_eq!(fs::metadata(run.state_file()).unwrap().len(), length);
    }

    #[test]
    fn a_state_that_cannot_be_written_is_an_error_at_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path().join("p")).unwrap();
        fs::create_dir(run.state_file()).unwrap();
        StateFile::new(&run).begin().unwrap_err();
        assert!(run.state().is_err());
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("y"), "").unwrap();
        replace(&path, b"new").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

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
    fn room_is_tried_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, "an older one").unwrap();
        room_for(&path, 1 << 20).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"an older one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        room_for(&folder.path().join("nowhere/report.json"), 1).unwrap_err();
        // A file that is always full.
        std::os::unix::fs::symlink("/dev/full", folder.path().join("full.try")).unwrap();
        let error = room_for(&folder.path().join("full"), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(Path::new("/dev/full").exists());
    }

    #[test]
    fn what_was_odd_is_remembered_from_the_first_moment_on() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path().join("p")).unwrap();
        let file = StateFile::new(&run);
        let odd = |message: &str| Event::Warning {
            stage: None,
            message: message.to_owned(),
        };
        file.emit(&odd("a setting"));
        file.begin().unwrap();
        file.emit(&odd("a step"));
        assert_eq!(file.warnings(), ["a setting", "a step"]);
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
