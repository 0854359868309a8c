//! The door: parse, call, render, exit.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where people are told"
)]

mod build;
mod cli;
mod debian;
mod metadata;
mod tally;

use std::process::ExitCode;

use clap::Parser;
use host::cancel::Cancel;
use host::exec::System;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let cli = cli::Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  cause: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &cli::Cli) -> anyhow::Result<()> {
    let cancel = Cancel::new();
    cancel.on_signals()?;
    let mut exec = System::new(cancel);
    match &cli.command {
        cli::Command::Build(options) => {
            let built = build::build(options, &mut exec)?;
            let base = built.base.display();
            println!("{base}.img.zst  {:>12} bytes", built.tallies.zst.size.0);
            println!("{base}.img.gz   {:>12} bytes", built.tallies.gz.size.0);
            println!(
                "{base}.yaml     sha256 of the {} bytes they hold: {}",
                built.tallies.raw.size.0, built.tallies.raw.sha256
            );
        }
    }
    Ok(())
}
