//! The state of a run: where it is, for `provision status` and other processes, and what it came to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::rundir::RunDir;
use super::small_file::{overwrite, replace};
use crate::events::joint::Joint;
use crate::events::{Event, Events, clock};
use crate::model::stage::Stage;

/// Bytes of the state file, at least: spaces at its end. A file of one length can be written anew where nothing is
/// free.
const STATE_LENGTH: usize = 4096;

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

/// Puts a state there: in one piece, or where there is no room for a second file, over the old one, which is as long.
fn record(path: &Path, state: &State) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(state)?;
    bytes.resize(bytes.len().max(STATE_LENGTH), b' ');
    replace(path, &bytes).or_else(|_| overwrite(path, &bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
}
