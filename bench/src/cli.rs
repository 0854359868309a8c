//! The command line; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures how fast images get onto a disk, side by side with other tools. Needs root, and leaves only its work folder
/// behind.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    /// What one of the rows starts; `None` for the bench itself.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// What is measured, and with what.
    #[command(flatten)]
    pub(crate) options: Options,
}

/// Sub-commands that rows start.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes to a device as fast as it takes it: a limit that the rows are compared with.
    #[command(hide = true)]
    WriteLimit(WriteLimit),
}

/// Options of the bench.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How often each row is measured; the rows take turns.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Only rows whose name contains WORD; may be given more than once.
    #[arg(long, value_name = "WORD")]
    pub(crate) only: Vec<String>,
    /// A tiny image, once each, and nothing is judged: shows that everything works.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Go on with the samples of a run that was stopped, instead of starting over.
    #[arg(long)]
    pub(crate) resume: bool,
    /// List the rows and what is missing for them, and stop.
    #[arg(long)]
    pub(crate) list: bool,
    /// The agent, as `make release` builds it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/x86_64-unknown-linux-gnu/release/provision"
    )]
    pub(crate) agent: PathBuf,
    /// The program that packs images.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/debug/image-builder"
    )]
    pub(crate) builder: PathBuf,
    /// Folder with the peers, as bench/peers.sh makes it.
    #[arg(long, value_name = "DIR", default_value = "target/bench/peers")]
    pub(crate) peers: PathBuf,
    /// Folder for images, the target, samples and results.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) work: PathBuf,
    /// Folder that gets bench.md and bench.svg.
    #[arg(long, value_name = "DIR")]
    pub(crate) docs: Option<PathBuf>,
}

/// Options of `write-limit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WriteLimit {
    /// The device. What is on it is lost.
    #[arg(long, value_name = "NODE")]
    pub(crate) target: PathBuf,
    /// How many writes are in flight.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) writers: usize,
    /// What is written: lines of offset and length in bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) map: PathBuf,
}
