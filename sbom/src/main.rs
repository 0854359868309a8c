//! Entry point: parses the command line, runs the sub-command, sets the exit status.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this file prints results and errors"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use sbom::{agent, shape};
use sha2::{Digest, Sha256};

/// Writes and checks bills of materials (SBOM) in CycloneDX 1.6.
#[derive(Debug, Parser)]
#[command(name = "sbom", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes the bill of a Rust program to PROGRAM.cdx.json.
    Agent(Agent),
    /// Checks bills against the format.
    Check {
        /// The bills.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct Agent {
    /// The program.
    program: PathBuf,
    /// File with the output of `cargo tree` with `--prefix depth --format "{p}<tab>{l}" -e normal,no-proc-macro`.
    #[arg(long, value_name = "FILE")]
    linked: PathBuf,
    /// The same with `-e normal,build`.
    #[arg(long, value_name = "FILE")]
    all: PathBuf,
    /// The lock file of the workspace.
    #[arg(long, value_name = "FILE", default_value = "Cargo.lock")]
    lock: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<String> {
    match command {
        Command::Agent(options) => write_agent(options),
        Command::Check { files } => files.iter().map(|file| check(file)).collect(),
    }
}

fn text_of(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write_agent(options: &Agent) -> Result<String> {
    let path = &options.program;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let digest = Sha256::digest(&bytes);
    let sha256: String = digest
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (linked, all) = (text_of(&options.linked)?, text_of(&options.all)?);
    let bom = agent::bom(&name, &linked, &all, &text_of(&options.lock)?, &sha256)?;
    let out = path.with_file_name(format!("{name}.cdx.json"));
    let new = path.with_file_name(format!(".{name}.cdx.json.partial"));
    fs::write(&new, bom.render())
        .and_then(|()| fs::rename(&new, &out))
        .with_context(|| format!("cannot write {}", out.display()))?;
    Ok(format!(
        "{}: {} crates\n",
        out.display(),
        bom.components.len()
    ))
}

fn check(path: &Path) -> Result<String> {
    let value = serde_json::from_str(&text_of(path)?)
        .with_context(|| format!("{} is not JSON", path.display()))?;
    let problems = shape::problems(&value);
    if !problems.is_empty() {
        bail!(
            "{} is not CycloneDX 1.6:\n  {}",
            path.display(),
            problems.join("\n  ")
        );
    }
    Ok(format!("{}: right\n", path.display()))
}
