//! The agent's door: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(fuel_agent::run::main(std::env::args_os()))
}
