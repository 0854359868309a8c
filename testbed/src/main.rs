//! The door: parse, call, render, exit.
#![expect(clippy::print_stderr, reason = "this is where people are told")]

mod bench;
mod cli;
mod demo;
mod events;
mod kvm;
mod lab;
mod namespace;
mod network;
mod node;
mod orchestrator;
mod request;
mod scenario;
mod shell;
mod timeline;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use host::exec::ExecError;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            let hint = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<ExecError>()?.hint());
            eprint!("{}", host::error::render(error.as_ref(), hint.as_deref()));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &cli::Cli) -> anyhow::Result<ExitCode> {
    if let cli::Command::Scenarios = cli.command {
        scenario::list();
        return Ok(ExitCode::SUCCESS);
    }
    if let cli::Command::WriteLimit(options) = &cli.command {
        return bench::writer::run(options).map(|()| ExitCode::SUCCESS);
    }
    if !namespace::inside() {
        return namespace::enter(kept_note(&cli.command)?.as_deref());
    }
    namespace::settle_in()?;
    match &cli.command {
        cli::Command::Demo(options) => demo::run(options).map(|()| ExitCode::SUCCESS),
        cli::Command::Test(options) => scenario::run(options),
        cli::Command::Bench(options) => bench::run(options).map(|()| ExitCode::SUCCESS),
        cli::Command::Scenarios | cli::Command::WriteLimit(_) => Ok(ExitCode::SUCCESS),
    }
}

/// The file that says that the demo's node is to be left running, where that is asked for. An old one is removed.
fn kept_note(command: &cli::Command) -> anyhow::Result<Option<PathBuf>> {
    let cli::Command::Demo(cli::Demo {
        keep: true,
        artefacts,
        ..
    }) = command
    else {
        return Ok(None);
    };
    let note = namespace::kept_note(&std::path::absolute(artefacts.work.join("demo"))?);
    match std::fs::remove_file(&note) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(Some(note)),
    }
}
