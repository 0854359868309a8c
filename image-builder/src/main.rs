//! Entry point: parses the command line, runs the sub-command, prints its result, sets the exit status.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this file prints results and errors"
)]

mod build;
mod cli;
mod debian;
mod error;
mod file_digest;
mod filesystem;
mod inspect;
mod installed;
mod keys;
mod metadata;
mod output;
mod pack;
mod pipeline;
mod publish;
mod repository;
mod settle;
mod signable;
mod signed_manifest;
mod sources;
mod tools;

use std::process::ExitCode;

use clap::Parser;
use host::cancel::Cancel;
use host::exec::System;

use crate::cli::{Command, OutputFormat};
use crate::error::Interrupted;

/// Exit status of an interrupted run, as shells expect it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let cli = cli::Cli::parse();
    let cancel = Cancel::new();
    match run(&cli, &cancel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error::hint(&error);
            eprint!("{}", host::error::render(error.as_ref(), hint.as_deref()));
            if cancel.was_cancelled() || error.is::<Interrupted>() {
                return ExitCode::from(INTERRUPTED);
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &cli::Cli, cancel: &Cancel) -> anyhow::Result<()> {
    cancel.on_signals()?;
    let mut exec = System::new(cancel.clone());
    match &cli.command {
        Command::Build(options) => print_packed(&build::build(options, &mut exec, cancel)?),
        Command::Pack(options) => print_packed(&pack::pack(options, &mut exec, cancel)?),
        Command::Inspect(options) => {
            let image = signed_manifest::SignedManifest::read(
                &options.image,
                &signed_manifest::keys(&options.key)?,
            )?;
            match options.format {
                OutputFormat::Text => print!("{}", inspect::text(&image)),
                OutputFormat::Json => println!("{:#}", inspect::json(&image)),
            }
            if options.check {
                inspect::check(&image, cancel)?;
                if options.format == OutputFormat::Text {
                    println!("\nchecked: every chunk and the whole image, packed and unpacked");
                }
            }
        }
        Command::Keygen(options) => {
            let (key, path) = keys::keygen(options)?;
            println!("{}  the secret key", options.key.display());
            println!("{}  the public key, {}: {key}", path.display(), key.id());
        }
        Command::Sign(options) => {
            let (key, paths) = keys::sign(options)?;
            for path in paths {
                println!("{}  signed by key {key}", path.display());
            }
        }
        Command::Verify(options) => {
            for line in keys::verify(options)? {
                println!("{line}");
            }
        }
        Command::Publish(options) => {
            let published = publish::publish(options, cancel)?;
            let before = if published.before {
                " (already published)"
            } else {
                ""
            };
            println!("{}{before}", published.folder.display());
        }
    }
    Ok(())
}

fn print_packed(packed: &pack::Packed) {
    for (name, size) in &packed.files {
        println!("{}  {size} bytes", packed.folder.join(name).display());
    }
    let manifest = &packed.manifest;
    for image in &manifest.images {
        let sha256 = os_image::hex::text(&image.raw_sha256);
        println!("sha256 of the {} bytes they hold: {sha256}", image.raw_size);
    }
}
