//! `bench`: how fast an image gets onto a disk, by us and by what people use today, side by side.
//!
//! ```text
//!   run              the whole of it: rows, images, rounds, report
//!   image, changed   one realistic image in every form, made once; a newer version of it
//!   served, server   what is served, in memory; nginx on loopback and behind links of limited rate
//!   target, writer   the disk, and how fast it can be written at all
//!   rows, peers      what is measured: a line of shell each; which programs are here
//!   env, measure     what rows are measured on; one run of a row
//!   record           samples, kept as they come; medians
//!   goals            which row is compared with which
//!   table, plot, page   how it is shown
//! ```
//!
//! Everything runs in namespaces of its own, as the nodes of the testbed do: nothing is left on the machine but the
//! work folder. The rows take turns, so that what disturbs the machine disturbs all of them.
#![expect(clippy::print_stderr, reason = "this is where people are told")]

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
