//! One function a sub-command, and what they share: settings, listeners, exit status.
//!
//! ```text
//!   context    what they share
//!   preflight   plan, validate, dry runs, inventory: looking only, held by tests/boundaries.rs
//!   install    run
//!   status     status, notify; `installed` compares the disks with what is asked for
//!   write      write, with what it writes to in `target`
//! ```

mod context;
mod install;
mod installed;
mod preflight;
mod stated;
mod status;
mod target;
mod write;

use std::ffi::OsString;

use clap::Parser;

use self::context::{failure, listener};
use crate::cli::{Cli, Command, Dialect, RunOptions};
use crate::events::log;
use crate::events::sink::{Printer, Sink};
use crate::model::error::{Error, render};
use crate::model::stage::Stage;
use crate::sequence::{guarded, remember_panics};

/// Parses the command line, runs the command, and returns the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, mistakes to standard error; clap decides which.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    remember_panics();
    // A defect ends every sub-command with an error of the contract, not with the status of a panic.
    let result = guarded(|| match cli.command {
        None => run(&cli.run),
        Some(Command::Run(options)) => run(&options),
        Some(Command::Plan(options)) => preflight::plan(&options),
        Some(Command::Validate(options)) => preflight::validate(&options),
        Some(Command::Inventory(options)) => preflight::inventory(&options),
        Some(Command::Status(options)) => status::status(&options),
        Some(Command::Stages) => Ok(stages()),
        Some(Command::Notify(options)) => status::notify(&options),
        Some(Command::Write(options)) => write::write(&options),
    });
    let status = result.unwrap_or_else(|error| {
        // The status is what counts: it does not wait for ever for output that is not read.
        if let Ok(printer) = Printer::stderr() {
            printer.text(&render(&error));
        }
        error.kind.exit_status()
    });
    log::flush();
    status
}

fn run(options: &RunOptions) -> Result<u8, Error> {
    let events = listener(options.dialect)?;
    let record = if options.dry_run {
        preflight::dry_run(options, &events)
    } else {
        install::install(options, &events)
    };
    if options.dialect != Dialect::Json {
        return failure(record?);
    }
    // Everything is printed on standard output, including what happened before the first stage.
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
