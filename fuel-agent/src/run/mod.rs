//! One function a sub-command, and what they share: settings, listeners, exit status.
//!
//! ```text
//!   preflight   plan, validate, dry runs, inventory: looking only, held by tests/boundaries.rs
//!   install    run
//!   status     status, notify; `installed` compares the disks with what is asked for
//!   write      write, with what it writes to in `target`
//! ```

mod fit;
mod install;
mod installed;
mod preflight;
mod stated;
mod status;
mod target;
mod write;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use host::cancel::Cancel;

use crate::cli::{
    Cli, Command, DataDriver, Dialect, InputOptions, LogOptions, RunOptions, UPLOADED,
};
use crate::events::Events;
use crate::events::bars::Bars;
use crate::events::json::Json;
use crate::events::lines::Lines;
use crate::events::log;
use crate::events::outbox::Background;
use crate::events::sink::{Printer, Sink};
use crate::inventory::Reader;
use crate::model::error::{Error, Kind, render};
use crate::model::stage::Stage;
use crate::request::Driver;
use crate::sequence::machine::Machine;
use crate::sequence::node_discovery::{Input, NodeDiscovery, StandIn};
use crate::sequence::{RunOutcome, remember_panics};
use crate::settings::{self, Entry, Place, Settings};

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
        Some(Command::Plan(options)) => preflight::plan(&options),
        Some(Command::Validate(options)) => preflight::validate(&options),
        Some(Command::Inventory(options)) => preflight::inventory(&options),
        Some(Command::Status(options)) => status::status(&options),
        Some(Command::Stages) => Ok(stages()),
        Some(Command::Notify(options)) => status::notify(&options),
        Some(Command::Write(options)) => write::write(&options),
    };
    let status = result.unwrap_or_else(|error| {
        // The status is what counts: it does not wait for ever for those who do not read.
        if let Ok(printer) = Printer::stderr() {
            printer.text(&render(&error));
        }
        error.kind.exit_status()
    });
    log::flush();
    status
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
        (Some(url), ..) => Input::Url(url.as_str().into()),
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
    events: &'a dyn Events,
    cancel: &Cancel,
) -> Result<NodeDiscovery<'a>, Error> {
    Ok(NodeDiscovery {
        input: input(options, settings),
        driver: driver(options.data_driver),
        inventory: options.inventory.clone(),
        sources: options.sources.clone(),
        offline: options.offline,
        disks,
        settings,
        url_wait: Duration::ZERO,
        events,
        machine: places.machine(),
        cancel: cancel.clone(),
        reader: reader(disks, cancel)?,
    })
}

/// What looks at the node, or at the files that stand for its disks.
fn reader(disks: &[StandIn], cancel: &Cancel) -> Result<Reader, Error> {
    if disks.is_empty() {
        return Ok(Reader::real(cancel));
    }
    let files: Vec<_> = disks
        .iter()
        .map(|disk| (disk.name.clone(), disk.file.clone(), disk.size))
        .collect();
    Reader::on_files(&files, cancel).map_err(|error| {
        Error::new(Kind::Hardware, "cannot let a file stand for a disk")
            .because(error)
            .hint("with a size, like `--disk sda=FILE:20GiB`, a run makes it")
    })
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

/// The listener that prints to standard output, behind a queue: an output that is not read stops no run.
fn told(dialect: Dialect) -> Result<Arc<dyn Events>, Error> {
    let listener = match dialect {
        Dialect::Human => Background::new(Bars::stdout()),
        Dialect::Auto if std::io::stdout().is_terminal() => Background::new(Bars::stdout()),
        Dialect::Auto | Dialect::Plain => Background::new(Lines::new(Sink::stdout())),
        Dialect::Json => Background::new(Json::new(Sink::stdout())),
    };
    Ok(Arc::new(listener.map_err(no_thread)?))
}

/// The printer of results of a command that must end though its output is not read.
fn printer() -> Result<Printer, Error> {
    Printer::stdout().map_err(no_thread)
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(Kind::Internal, "cannot start a thread for the output").because(error)
}

/// The error of a walk, if it has one.
fn failure(outcome: RunOutcome) -> Result<u8, Error> {
    match outcome.failure {
        None => Ok(0),
        Some((_, error)) => Err(error),
    }
}

fn run(options: &RunOptions) -> Result<u8, Error> {
    let events = told(options.dialect)?;
    let record = if options.dry_run {
        preflight::dry_run(options, &events)
    } else {
        install::install(options, &events)
    };
    if options.dialect != Dialect::Json {
        return failure(record?);
    }
    // Everything is told on standard output; what happened before the first stage is told there too.
    let error = match record {
        Ok(outcome) => outcome.failure.map(|(_, error)| error),
        Err(error) => {
            crate::sequence::tell(&error, Stage::Init, false, &*events);
            Some(error)
        }
    };
    Ok(error.map_or(0, |error| error.kind.exit_status()))
}

fn stages() -> u8 {
    let out = Sink::stdout();
    for stage in Stage::ALL {
        out.line(stage.name());
    }
    0
}
