//! `provision run`: everything is put together here, and the host is within reach.

use std::sync::Arc;

use host::Host;
use host::cancel::{Cancel, ignore_hangup};

use super::context::{
    Places, input, local_files, node, printer, request_entries, stand_ins, start_log,
};
use crate::apply;
use crate::cli::{Dialect, RunOptions};
use crate::events::log::Log;
use crate::events::{Events, FanOut, clock};
use crate::model::error::{Error, Kind};
use crate::model::stage::Stage;
use crate::sequence::host_executor::HostExecutor;
use crate::sequence::preflight::{Discovered, Preflight};
use crate::sequence::request_source::Input;
use crate::sequence::rundir::RunDir;
use crate::sequence::stages::{Run, RunContext};
use crate::sequence::stand_in::StandIn;
use crate::sequence::state_file::StateFile;
use crate::sequence::{RunOutcome, run_stages};
use crate::settings::{End, Settings};

/// Installs this node, and returns the exit status.
pub(super) fn install(
    options: &RunOptions,
    listener: &Arc<dyn Events>,
) -> Result<RunOutcome, Error> {
    let started = clock::now();
    let cancel = Cancel::new();
    on_signals(&cancel)?;
    let places = Places::of_this_machine();
    let folder = open_folder(&places)?;
    start_log(&options.log, Some(folder.log()))?;
    let (mut settings, warnings) = places.settings(request_entries(&options.input))?;
    let disks = stand_ins(&options.input.disk)?;
    if !disks.is_empty() {
        // What was installed is not what this machine would start.
        settings.end.get_or_insert(End::None);
    }
    settings.http.files = local_files(&input(&options.input, &settings), &settings);
    let state_file = Arc::new(StateFile::new(&folder));
    let events = listeners(listener, &state_file);
    let mut node = node(&options.input, &disks, &settings, &places, &events, &cancel)?;
    node.url_wait = settings.url_wait;
    let pulled = matches!(node.input, Input::Url(_));
    let mut preflight = Preflight {
        discovery: &mut node,
        settings: &settings,
        events: &events,
        known: Discovered::default(),
        until: Stage::Validate,
    };
    for warning in warnings {
        preflight.warn(Stage::Init, warning);
    }
    let (stand_ins, stop) = (disks.clone(), cancel.clone());
    let mut executor = HostExecutor::new(
        move || host(&stand_ins, &stop),
        &events,
        apply_options(&settings, &folder),
        &folder,
        cancel.clone(),
    );
    let about = RunContext {
        settings: &settings,
        folder: &folder,
        state_file: &state_file,
        report: options.report.clone(),
        machine: places.machine(),
        pulled,
        started,
        cancel: cancel.clone(),
    };
    let mut run = Run::new(preflight, &mut executor, about);
    let outcome = run_stages(&mut run, &events, &cancel);
    if options.dialect != Dialect::Json
        && let Some(report) = run.last_report()
    {
        // After the last event, and not in the middle of it.
        listener.flush();
        printer()?.text(&report.to_string());
    }
    Ok(outcome)
}

/// The folder of this machine's runs, made where it is not there.
pub(super) fn open_folder(places: &Places) -> Result<RunDir, Error> {
    RunDir::open(&places.run).map_err(|error| {
        let what = format!("cannot make the folder {}", places.run.display());
        Error::new(Kind::Internal, what).because(error)
    })
}

fn listeners(listener: &Arc<dyn Events>, state_file: &Arc<StateFile>) -> FanOut {
    FanOut::new(vec![
        Arc::clone(listener),
        Arc::new(Log),
        Arc::<StateFile>::clone(state_file),
    ])
}

/// A lost ssh session sends `SIGHUP`, and must not stop a run; `SIGTERM` and `SIGINT` do, after clean-up.
pub(super) fn on_signals(cancel: &Cancel) -> Result<(), Error> {
    let listening = cancel.on_signals().and_then(|()| ignore_hangup());
    listening.map_err(|error| Error::new(Kind::Internal, "cannot listen to signals").because(error))
}

pub(super) fn apply_options(settings: &Settings, folder: &RunDir) -> apply::context::Options {
    apply::context::Options {
        work: folder.work(),
        grub: settings.grub.clone(),
        allow_unverified: settings.allow_unverified,
        packed: settings.packed.clone(),
        http: settings.http.clone(),
    }
}

/// What a run may change: this machine, or the files that stand for its disks.
fn host(disks: &[StandIn], cancel: &Cancel) -> Result<Host, Error> {
    if disks.is_empty() {
        return Ok(Host::real(cancel.clone()));
    }
    let disks = disks
        .iter()
        .map(|disk| (disk.name.clone(), disk.file.clone(), disk.size))
        .collect();
    Host::on_files(disks, cancel.clone())
        .map_err(|error| Error::new(Kind::Disk, "cannot let files stand for disks").because(error))
}
