//! `bench`: how fast images get onto a disk, with the agent and with other tools.
//!
//! ```text
//!   run              a whole run: rows, images, rounds, report
//!   row, rows, peers what is measured: a shell command for each row; the programs of other tools
//!   image, changed   the image in every form, made once; a newer version of it
//!   served, server   the files that are served, in memory; nginx on loopback and behind links of limited rate
//!   target, writer   the disk; writes to it without anything else, as a limit
//!   env, measure     server, target and meter; one run of a command
//!   record           samples, appended to a file; medians
//!   goals            ratios of rows, and the most that they may be
//!   table, plot, page   results as text, drawing and manual page
//! ```
//!
//! A run has namespaces of its own, as in the testbed: nothing is left on the machine but the work folder. Rows take
//! turns, so that a disturbance of the machine affects all of them.
#![expect(clippy::print_stderr, reason = "errors are printed here")]

mod changed;
mod cli;
mod env;
mod goals;
mod image;
mod measure;
mod page;
mod peers;
mod plot;
mod record;
mod row;
mod rows;
mod run;
mod served;
mod server;
mod table;
mod target;
mod writer;

use std::process::ExitCode;

use clap::Parser;
use testbed::namespace;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", testbed::render_error(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Some(Command::WriteLimit(options)) = &cli.command {
        return writer::run(options).map(|()| ExitCode::SUCCESS);
    }
    if !namespace::is_inside() {
        return namespace::enter(None);
    }
    namespace::init()?;
    run::run(&cli.options).map(|()| ExitCode::SUCCESS)
}
