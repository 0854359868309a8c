//! The door: parse, call, render, exit.
#![expect(clippy::print_stderr, reason = "errors are printed here")]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match testbed::run(&testbed::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", testbed::render_error(&error));
            ExitCode::FAILURE
        }
    }
}
