//! One function a sub-command, and what they share: settings, listeners, exit status.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use host::Host;
use host::cancel::{Cancel, ignore_hangup};

use crate::cli::{
    Cli, Command, DataDriver, Dialect, Format, InputOptions, InventoryOptions, LogOptions,
    PlanOptions, RunOptions, UPLOADED, ValidateOptions,
};
use crate::error::{Error, Kind, render};
use crate::events::bars::Bars;
use crate::events::json::Json;
use crate::events::lines::Lines;
use crate::events::log::{self, Log};
use crate::events::sink::Sink;
use crate::events::{Events, FanOut, Silence, clock};
use crate::plan::Plan;
use crate::request::Driver;
use crate::sequence::hands::Hands;
use crate::sequence::machine::Machine;
use crate::sequence::node::{Input, Node, StandIn};
use crate::sequence::rehearsal::{Known, Rehearsal};
use crate::sequence::rundir::{RunDir, StateFile};
use crate::sequence::stages::{Circumstances, Run};
use crate::sequence::{Walk, remember_panics, walk};
use crate::settings::{self, Entry, Place, Settings};
use crate::stage::Stage;
use crate::{apply, status};

/// Parses the command line, does what it says, and returns the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, mistakes to standard error; clap knows which.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    remember_panics();
    let result = match cli.command {
        None => run(&cli.run),
        Some(Command::Run(options)) => run(&options),
        Some(Command::Plan(options)) => plan(&options),
        Some(Command::Validate(options)) => validate(&options),
        Some(Command::Inventory(options)) => inventory(&options),
        Some(Command::Status(options)) => status::status(&options),
        Some(Command::Stages) => Ok(stages()),
        Some(Command::Notify(options)) => status::notify(&options),
    };
    result.unwrap_or_else(|error| {
        Sink::stderr().text(&render(&error));
        error.kind.exit_status()
    })
}

/// Files that tests put elsewhere, by environment variables; a node has them where they belong.
pub(crate) struct Places {
    /// `PROVISION_RUN_DIR`.
    pub(crate) run: PathBuf,
    /// `PROVISION_KERNEL_COMMAND_LINE`.
    pub(crate) kernel: PathBuf,
    /// `PROVISION_CONF`.
    pub(crate) config: PathBuf,
}

impl Places {
    pub(crate) fn of_this_machine() -> Self {
        let place = |name: &str, default: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        Self {
            run: place("PROVISION_RUN_DIR", "/run/provision"),
            kernel: place("PROVISION_KERNEL_COMMAND_LINE", "/proc/cmdline"),
            config: place("PROVISION_CONF", "/etc/provision.conf"),
        }
    }

    pub(crate) fn machine(&self) -> Machine {
        let kernel = std::fs::read_to_string(&self.kernel).unwrap_or_default();
        Machine::read(Path::new("/sys"), &kernel)
    }

    /// The settings of all layers, with what is odd about them.
    pub(crate) fn settings(&self, said: Vec<Entry>) -> Result<(Settings, Vec<String>), Error> {
        settings::read(said, &self.kernel, &self.config)
    }
}

/// What the command line says as settings.
fn said(input: &InputOptions) -> Vec<Entry> {
    let mut entries: Vec<Entry> = input
        .set
        .iter()
        .map(|text| Entry::parse(text, Place::CommandLine))
        .collect();
    if input.allow_unverified {
        entries.push(Entry::parse("allow_unverified", Place::CommandLine));
    }
    if let Some(url) = &input.url {
        entries.push(Entry::parse(&format!("url={url}"), Place::CommandLine));
    }
    entries
}

fn driver(name: DataDriver) -> Driver {
    match name {
        DataDriver::Auto => Driver::Auto,
        DataDriver::Nailgun => Driver::Nailgun,
        DataDriver::NailgunSimple => Driver::NailgunSimple,
        DataDriver::Ironic => Driver::Ironic,
    }
}

/// The command line's own text or file, or what an orchestrator has uploaded, goes before the URL of a weaker layer: what is
/// pushed is not pulled.
fn input(options: &InputOptions, settings: &Settings) -> Input {
    let uploaded = Path::new(UPLOADED).exists();
    let text = options.input_data.as_ref().filter(|it| !it.is_empty());
    match (&options.url, text, &settings.url) {
        (Some(url), ..) => Input::Url(url.clone()),
        (None, Some(text), _) => Input::Text(text.clone()),
        (None, None, Some(url)) if options.input_data_file.is_none() && !uploaded => {
            Input::Url(url.clone())
        }
        _ => Input::File(options.file()),
    }
}

fn stand_ins(disks: &[String]) -> Result<Vec<StandIn>, Error> {
    disks.iter().map(|text| StandIn::parse(text)).collect()
}

fn node<'a>(
    options: &InputOptions,
    disks: &'a [StandIn],
    settings: &'a Settings,
    places: &Places,
    cancel: &Cancel,
) -> Node<'a> {
    Node {
        input: input(options, settings),
        driver: driver(options.data_driver),
        inventory: options.inventory.clone(),
        sources: options.sources.clone(),
        offline: options.offline,
        disks,
        settings,
        machine: places.machine(),
        cancel: cancel.clone(),
    }
}

fn start_log(options: &LogOptions, also: Option<PathBuf>) -> Result<(), Error> {
    let mut files = Vec::new();
    if let Some(path) = &options.log_file {
        files.push(log::open(path).map_err(|error| {
            let what = format!("cannot write the log to {}", path.display());
            Error::new(Kind::Usage, what).because(error)
        })?);
    }
    files.extend(also.and_then(|path| log::open(&path).ok()));
    if !files.is_empty() {
        log::start(files, options.debug);
    }
    Ok(())
}

fn told(dialect: Dialect) -> Arc<dyn Events> {
    match dialect {
        Dialect::Human => Arc::new(Bars::stdout()),
        Dialect::Auto if std::io::stdout().is_terminal() => Arc::new(Bars::stdout()),
        Dialect::Auto | Dialect::Plain => Arc::new(Lines::new(Sink::stdout())),
        Dialect::Json => Arc::new(Json::new(Sink::stdout())),
    }
}

/// The error of a walk, if it has one.
fn failure(walk: Walk) -> Result<u8, Error> {
    match walk.failure {
        None => Ok(0),
        Some((_, error)) => Err(error),
    }
}

fn run(options: &RunOptions) -> Result<u8, Error> {
    let events = told(options.dialect);
    let walked = if options.dry_run {
        dry_run(options, &events)
    } else {
        install(options, &events)
    };
    if options.dialect != Dialect::Json {
        return failure(walked?);
    }
    // Everything is told on standard output; what happened before the first stage is told there too.
    let error = match walked {
        Ok(walk) => walk.failure.map(|(_, error)| error),
        Err(error) => {
            crate::sequence::tell(&error, Stage::Init, false, &*events);
            Some(error)
        }
    };
    Ok(error.map_or(0, |error| error.kind.exit_status()))
}

/// Plans and validates. No host is made here, nor anywhere below: what cannot be reached cannot be written to.
fn dry_run(options: &RunOptions, events: &Arc<dyn Events>) -> Result<Walk, Error> {
    let places = Places::of_this_machine();
    let rehearsed = rehearse(
        &options.input,
        &options.log,
        Stage::Validate,
        events,
        &places,
    )?;
    if options.dialect != Dialect::Json
        && let Some(plan) = &rehearsed.known.plan
    {
        Sink::stdout().text(&text(plan));
    }
    Ok(rehearsed.walk)
}

/// What a rehearsal came to.
struct Rehearsed {
    known: Known,
    walk: Walk,
}

fn rehearse(
    input: &InputOptions,
    log: &LogOptions,
    until: Stage,
    events: &Arc<dyn Events>,
    places: &Places,
) -> Result<Rehearsed, Error> {
    start_log(log, None)?;
    let (settings, warnings) = places.settings(said(input))?;
    let disks = stand_ins(&input.disk)?;
    let cancel = Cancel::new();
    let mut node = node(input, &disks, &settings, places, &cancel);
    let events = FanOut::new(vec![Arc::clone(events), Arc::new(Log)]);
    let mut rehearsal = Rehearsal {
        look: &mut node,
        settings: &settings,
        events: &events,
        known: Known::default(),
        until,
    };
    for warning in warnings {
        rehearsal.warn(Stage::Init, warning);
    }
    let walk = walk(&mut rehearsal, &events, &cancel);
    Ok(Rehearsed {
        known: rehearsal.known,
        walk,
    })
}

fn text(plan: &Plan) -> String {
    let mut text = plan.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn plan(options: &PlanOptions) -> Result<u8, Error> {
    let places = Places::of_this_machine();
    let events: Arc<dyn Events> = Arc::new(Silence);
    let rehearsed = rehearse(&options.input, &options.log, Stage::Plan, &events, &places)?;
    // A plan that is refused is printed too: it shows why.
    if let Some(plan) = &rehearsed.known.plan {
        let out = Sink::stdout();
        match options.format {
            Format::Text => out.text(&text(plan)),
            Format::Json => out.line(&format!("{:#}", plan.to_json())),
        }
    }
    failure(rehearsed.walk)
}

fn validate(options: &ValidateOptions) -> Result<u8, Error> {
    let places = Places::of_this_machine();
    let events: Arc<dyn Events> = Arc::new(Silence);
    let rehearsed = rehearse(
        &options.input,
        &options.log,
        Stage::Validate,
        &events,
        &places,
    )?;
    let known = rehearsed.known;
    failure(rehearsed.walk)?;
    let out = Sink::stdout();
    for warning in &known.warnings {
        out.line(&format!("warning: {warning}"));
    }
    let disks = known.plan.map_or(0, |plan| plan.disks.len());
    out.line(&format!("`run` would go ahead, on {disks} disks"));
    Ok(0)
}

fn inventory(options: &InventoryOptions) -> Result<u8, Error> {
    let _ = options;
    Err(Error::new(
        Kind::Internal,
        "the node cannot be looked at yet",
    ))
}

fn stages() -> u8 {
    let out = Sink::stdout();
    for stage in Stage::ALL {
        out.line(stage.name());
    }
    0
}

fn install(options: &RunOptions, told: &Arc<dyn Events>) -> Result<Walk, Error> {
    let started = clock::now();
    let cancel = Cancel::new();
    on_signals(&cancel)?;
    let places = Places::of_this_machine();
    let folder = RunDir::open(&places.run).map_err(|error| {
        let what = format!("cannot make the folder {}", places.run.display());
        Error::new(Kind::Internal, what).because(error)
    })?;
    start_log(&options.log, Some(folder.log()))?;
    let (settings, warnings) = places.settings(said(&options.input))?;
    let disks = stand_ins(&options.input.disk)?;
    let mut node = node(&options.input, &disks, &settings, &places, &cancel);
    let pulled = matches!(node.input, Input::Url(_));
    let state_file = Arc::new(StateFile::new(&folder));
    let listeners: Vec<Arc<dyn Events>> = vec![
        Arc::clone(told),
        Arc::new(Log),
        Arc::<StateFile>::clone(&state_file),
    ];
    let events = FanOut::new(listeners);
    let mut rehearsal = Rehearsal {
        look: &mut node,
        settings: &settings,
        events: &events,
        known: Known::default(),
        until: Stage::Validate,
    };
    for warning in warnings {
        rehearsal.warn(Stage::Init, warning);
    }
    let (stand_ins, stop) = (disks.clone(), cancel.clone());
    let mut hands = Hands::new(
        move || host(&stand_ins, &stop),
        &events,
        apply_options(&settings, &folder),
        &folder,
    );
    let about = Circumstances {
        settings: &settings,
        folder: &folder,
        state_file: &state_file,
        report: options.report.clone(),
        machine: places.machine(),
        pulled,
        started,
        cancel: cancel.clone(),
    };
    let mut run = Run::new(rehearsal, &mut hands, about);
    let walk = walk(&mut run, &events, &cancel);
    if options.dialect != Dialect::Json
        && let Some(report) = run.last_report()
    {
        Sink::stdout().text(&report.to_string());
    }
    Ok(walk)
}

/// A lost ssh session sends `SIGHUP`, and must not stop a run; `SIGTERM` and `SIGINT` do, after clean-up.
fn on_signals(cancel: &Cancel) -> Result<(), Error> {
    let listening = cancel.on_signals().and_then(|()| ignore_hangup());
    listening.map_err(|error| Error::new(Kind::Internal, "cannot listen to signals").because(error))
}

fn apply_options(settings: &Settings, folder: &RunDir) -> apply::Options {
    apply::Options {
        work: folder.work(),
        grub: settings.grub.clone(),
        allow_unverified: settings.allow_unverified,
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
