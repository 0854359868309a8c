//! Entry point: parses the command line, runs the sub-command, prints its result, sets the exit status.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this file prints results and errors"
)]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use host::cancel::Cancel;
use host::exec::System;
use initramfs::cli::{Cli, Command, Format};
use initramfs::error::{self, Error};
use initramfs::{compose, inspect};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
    match run(Cli::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("{}", host::error::render(&error, error.hint().as_deref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, Error> {
    match command {
        Command::Build(build) => {
            let options = build.options()?;
            let cancel = Cancel::new();
            cancel
                .on_signals()
                .map_err(error::io("catch signals for", Path::new("this program")))?;
            let manifest = compose::build(&mut System::new(cancel), &options)?;
            Ok(format!(
                "{}: kernel {}, {} bytes packed, {} in memory, {} packages\n",
                options.out.join(&manifest.ramdisk.file).display(),
                manifest.contents.kernel,
                manifest.ramdisk.size_bytes,
                manifest.raw_bytes,
                manifest.contents.packages.len(),
            ))
        }
        Command::Inspect(options) => {
            let report = inspect::inspect(&options.file)?;
            Ok(match options.format {
                Format::Text => inspect::render(&report),
                Format::Json => inspect::to_json(&report)?,
            })
        }
    }
}
