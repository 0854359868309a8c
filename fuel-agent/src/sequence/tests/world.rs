//! A world of fakes that a whole run is played in, and what is left of it afterwards.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host::cancel::Cancel;
use host::exec::Program;
use host::units::Bytes;
use serde_json::Value;

use super::super::completion::Call;
use super::super::discovery::Discovery;
use super::super::executor::{Executor, Geometry};
use super::super::machine::Machine;
use super::super::preflight::{Discovered, Preflight};
use super::super::rundir::RunDir;
use super::super::stages::{Run, RunContext};
use super::super::state_file::StateFile;
use super::super::{RunOutcome, run_stages};
use crate::apply::context::State;
use crate::apply::outcome::{Outcome, StepResult, StepRun};
use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::inventory::Inventory;
use crate::model::plan::Plan;
use crate::model::report::ReverifiedImage;
use crate::model::request::Request;
use crate::model::sources::Sources;
use crate::model::step::PlannedStep;
use crate::plan::approve::ApprovedPlan;
use crate::settings::{End, Settings};
use crate::testing::sample_request;

/// What happens at the nth thing that a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    Fails,
    Panics,
    IsCancelled,
}

/// Both halves of the world share it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that can go wrong by itself"
)]
#[derive(Default)]
pub(super) struct Script {
    pub(super) done: Vec<String>,
    pub(super) mishap: Option<(usize, Mishap)>,
    /// What happens at the thing after that.
    pub(super) then: Option<Mishap>,
    pub(super) cancel: Cancel,
    /// Answers of `notify` by URL: whether it is accepted.
    pub(super) refuses: Vec<&'static str>,
    pub(super) installed: Option<String>,
    pub(super) skips: Option<&'static str>,
    pub(super) changes: bool,
    pub(super) locked_out: bool,
    /// Where there is a second image for: `/var/lib/data`.
    pub(super) second_image: Option<&'static str>,
    /// No server answers at any callback's URL.
    pub(super) deaf: bool,
    /// The note of the completion cannot be written once the stamp is: its name is taken.
    pub(super) owed_is_blocked: bool,
    /// The run's folder.
    pub(super) folder: Option<PathBuf>,
    /// What a comparison of the images finds.
    pub(super) reverified: Vec<(ReverifiedImage, Option<Error>)>,
    /// Facts of a disk when it is opened; as planned, where there are none.
    pub(super) geometry: Option<Geometry>,
}

#[derive(Clone, Default)]
pub(super) struct World(pub(super) Arc<Mutex<Script>>);

impl World {
    pub(super) fn with(change: impl FnOnce(&mut Script)) -> Self {
        let world = Self::default();
        change(&mut world.0.lock().unwrap());
        world
    }

    /// Notes that something is done, and lets the mishap happen if it is its turn.
    fn does(&self, what: impl Into<String>) -> Result<(), Error> {
        let (mishap, cancel) = {
            let mut script = self.0.lock().unwrap();
            let turn = script.done.len();
            script.done.push(what.into());
            let mishap = script.mishap.and_then(|(at, it)| match turn {
                _ if turn == at => Some(it),
                _ if turn == at + 1 => script.then,
                _ => None,
            });
            (mishap, script.cancel.clone())
        };
        match mishap {
            None => Ok(()),
            Some(Mishap::Fails) => Err(Error::new(Kind::Tool, "injected")),
            Some(Mishap::Panics) => panic!("injected"),
            Some(Mishap::IsCancelled) => {
                cancel.cancel();
                // As a tool does that is ended by it.
                Err(Error::new(Kind::Tool, "stopped while `mkfs.ext4` ran"))
            }
        }
    }

    pub(super) fn done(&self) -> Vec<String> {
        self.0.lock().unwrap().done.clone()
    }
}

impl Discovery for World {
    fn request(&mut self) -> Result<Request, Error> {
        self.does("read the request")?;
        let mut request = sample_request::lvm_request();
        if let Some(mount) = self.0.lock().unwrap().second_image {
            let partitions = &mut request.storage.disks[0].partitions;
            partitions[4].size = sample_request::mib(4096);
            partitions[5].start = partitions[4]
                .start
                .saturating_add(sample_request::mib(4097));
            request.images.push(sample_request::image(mount, 1));
        }
        Ok(request)
    }

    fn inventory(&mut self, _: &Request) -> Result<Inventory, Error> {
        self.does("look at the node")?;
        let mut disk = sample_request::empty_disk("/dev/sda", 20 << 10);
        let script = self.0.lock().unwrap();
        let looks = script.done.iter().filter(|it| *it == "look at the node");
        if script.changes && looks.count() > 1 {
            "another".clone_into(&mut disk.serial);
        }
        Ok(sample_request::node(vec![disk]))
    }

    fn sources(&mut self, _: &Request) -> Result<Sources, Error> {
        self.does("look at the images")?;
        Ok(sample_request::known())
    }

    fn plan(&mut self, request: &Request, node: &Inventory, _: &Sources) -> Result<Plan, Error> {
        Ok(sample_request::plan_of(request, node).unwrap())
    }

    fn missing(&self, _: &Plan) -> Vec<Program> {
        Vec::new()
    }

    fn reality(&mut self) -> Result<Option<Inventory>, Error> {
        Ok(None)
    }

    fn bootable(&self, _: &Plan) -> Result<(), Error> {
        Ok(())
    }

    fn answers(&mut self, _: &str) -> Result<(), Error> {
        if self.0.lock().unwrap().deaf {
            return Err(Error::new(Kind::Image, "no connection").because("connection refused"));
        }
        Ok(())
    }
}

impl Executor for World {
    fn begin(&mut self) -> Result<(), Error> {
        if self.0.lock().unwrap().locked_out {
            return Err(Error::new(Kind::Refused, "another agent is running"));
        }
        self.does("begin")
    }

    fn make_room(&mut self) -> Result<(), Error> {
        self.does("make room")
    }

    fn installed(&mut self, _: &Plan) -> Result<Option<String>, Error> {
        self.does("look at the stamps")?;
        Ok(self.0.lock().unwrap().installed.clone())
    }

    fn reverify(&mut self, _: &Plan) -> Result<Vec<(ReverifiedImage, Option<Error>)>, Error> {
        self.does("compare the images")?;
        let mut script = self.0.lock().unwrap();
        Ok(std::mem::take(&mut script.reverified))
    }

    fn hold(&mut self, disk: &Path) -> Result<(), Error> {
        self.does(format!("hold {}", disk.display()))
    }

    fn probe_exclusive(&mut self, disk: &Path) -> Result<Geometry, Error> {
        self.does(format!("claim {}", disk.display()))?;
        self.geometry(disk)
    }

    fn geometry(&mut self, _: &Path) -> Result<Geometry, Error> {
        let other = self.0.lock().unwrap().geometry;
        Ok(other.unwrap_or(Geometry {
            size: sample_request::mib(20 << 10),
            sector_size: Bytes(512),
        }))
    }

    fn probe_kept(&mut self, _: &ApprovedPlan, _: &mut State) -> Result<(), Error> {
        self.does("look at what is kept")
    }

    fn step(
        &mut self,
        _: &ApprovedPlan,
        step: &PlannedStep,
        _: &mut State,
    ) -> Result<Outcome, Error> {
        self.does(format!("step {}", step.what))?;
        let blocked = {
            let script = self.0.lock().unwrap();
            let is_stamp = step.what.starts_with("write the identity stamp");
            script
                .folder
                .clone()
                .filter(|_| is_stamp && script.owed_is_blocked)
        };
        if let Some(folder) = blocked {
            std::fs::create_dir_all(folder.join("owed.json/x")).unwrap();
        }
        match self.0.lock().unwrap().skips {
            Some(start) if step.what.starts_with(start) => Ok(Outcome::Skipped {
                why: "it is a file".to_owned(),
            }),
            _ => Ok(Outcome::Changed),
        }
    }

    fn together(
        &mut self,
        plan: &ApprovedPlan,
        steps: &[&PlannedStep],
        state: &mut State,
    ) -> Vec<StepRun> {
        let mut has_failed = false;
        let each = steps.iter().map(|step| {
            let ending = if has_failed {
                StepResult::Stopped
            } else {
                self.step(plan, step, state).into()
            };
            has_failed |= matches!(ending, StepResult::Failed(_));
            let took = Duration::ZERO;
            StepRun { ending, took }
        });
        each.collect()
    }

    fn disarm_again(&mut self, _: &ApprovedPlan) -> Vec<Error> {
        self.does("disarm again").err().into_iter().collect()
    }

    fn clean_up(&mut self, _: Option<&ApprovedPlan>, _: &mut State) -> Vec<Error> {
        self.does("clean up").err().into_iter().collect()
    }

    fn notify(&mut self, call: &Call, _: Duration) -> Result<(), Error> {
        self.does(format!("call {}", call.url.reveal()))?;
        if self.0.lock().unwrap().refuses.contains(&call.url.reveal()) {
            return Err(Error::new(Kind::Notify, "it answers 500"));
        }
        Ok(())
    }

    fn end(&mut self, end: End) -> Result<(), Error> {
        self.does(format!("end: {end:?}"))
    }
}

/// Keeps the messages of errors.
#[derive(Default)]
pub(super) struct RecordedEvents(pub(super) Mutex<Vec<String>>);

impl Events for RecordedEvents {
    fn emit(&self, event: &Event) {
        if let Event::Error { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// Everything that a run leaves: events, calls and files.
pub(super) struct Left {
    pub(super) outcome: RunOutcome,
    pub(super) done: Vec<String>,
    pub(super) report: Value,
    pub(super) folder: RunDir,
    pub(super) recorded: Vec<String>,
    _temporary: tempfile::TempDir,
}

impl Left {
    pub(super) fn exit_status(&self) -> u8 {
        let error = self.outcome.failure.as_ref();
        error.map_or(0, |(_, error)| error.kind.exit_status())
    }

    pub(super) fn did(&self, what: &str) -> bool {
        self.done.iter().any(|done| done.starts_with(what))
    }
}

pub(super) const BUILT: &str = "http://o/built";
pub(super) const FAILED: &str = "http://o/failed";

pub(super) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.success.url = Some(BUILT.into());
    settings.failure.url = Some(FAILED.into());
    settings
}

pub(super) fn run(world: &World, settings: &Settings, pulled: bool) -> Left {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunDir::open(temporary.path().join("run")).unwrap();
    let state_file = StateFile::new(&folder);
    let recorded = RecordedEvents::default();
    let cancel = {
        let mut script = world.0.lock().unwrap();
        script.folder = Some(temporary.path().join("run"));
        script.cancel.clone()
    };
    let (mut look, mut act) = (world.clone(), world.clone());
    let report: PathBuf = temporary.path().join("report.json");
    let preflight = Preflight {
        discovery: &mut look,
        settings,
        events: &recorded,
        known: Discovered::default(),
        until: crate::model::stage::Stage::Validate,
    };
    let about = RunContext {
        settings,
        folder: &folder,
        state_file: &state_file,
        report: Some(report.clone()),
        machine: Machine::default(),
        pulled,
        started: String::new(),
        cancel: cancel.clone(),
    };
    let mut run = Run::new(preflight, &mut act, about);
    let outcome = run_stages(&mut run, &recorded, &cancel);
    let report = std::fs::read(&report).unwrap();
    drop(run);
    Left {
        outcome,
        done: world.done(),
        report: serde_json::from_slice(&report).unwrap(),
        folder,
        recorded: recorded.0.into_inner().unwrap(),
        _temporary: temporary,
    }
}
