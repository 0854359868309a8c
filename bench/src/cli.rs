//! The command line; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures how fast images get onto a disk, with the agent and with other tools. Needs root; leaves nothing behind but
/// its work folder.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    /// A sub-command that a row runs; `None` for the bench.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Options of the bench.
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The sub-commands, for rows.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes to a device and does nothing else: a limit that rows are compared with.
    #[command(hide = true)]
    WriteLimit(WriteLimit),
}

/// Options of the bench.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How often each row is measured; rows take turns.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Measure only rows whose name contains WORD; can be repeated.
    #[arg(long, value_name = "WORD")]
    pub(crate) only: Vec<String>,
    /// Use a tiny image, measure each row once and compare with no goal: a test that everything works.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Keep the samples of an interrupted run with the same agent, and measure what is missing.
    #[arg(long)]
    pub(crate) resume: bool,
    /// List the rows and the programs that are missing for them, and exit.
    #[arg(long)]
    pub(crate) list: bool,
    /// The agent, as `make release` builds it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/x86_64-unknown-linux-gnu/release/provision"
    )]
    pub(crate) agent: PathBuf,
    /// `image-builder`, which packs the image.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/debug/image-builder"
    )]
    pub(crate) builder: PathBuf,
    /// Folder with the tools that bench/peers.sh installs.
    #[arg(long, value_name = "DIR", default_value = "target/bench/peers")]
    pub(crate) peers: PathBuf,
    /// Folder for images, target, samples and results.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) work: PathBuf,
    /// Folder with bench.md: its results are replaced, and bench.svg is written.
    #[arg(long, value_name = "DIR")]
    pub(crate) docs: Option<PathBuf>,
}

/// Options of `write-limit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WriteLimit {
    /// The device; its content is lost.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) target: PathBuf,
    /// Number of writes in flight.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) writers: usize,
    /// File with the ranges to write: lines of offset and length in bytes, multiples of 4096.
    #[arg(long, value_name = "FILE")]
    pub(crate) map: PathBuf,
}
