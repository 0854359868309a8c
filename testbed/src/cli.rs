//! The command line; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Nodes in QEMU, a provisioning network, and a reference orchestrator. Needs root, and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Takes a bare node from power-on to a login, and shows it.
    Demo(Demo),
    /// Runs end-to-end scenarios; without a name, the default one.
    Test(Test),
    /// Lists the scenarios.
    Scenarios,
    /// Measures how fast images get onto a disk, side by side with other tools.
    Bench(Bench),
    /// Writes to a device as fast as it takes it: a limit that `bench` measures against.
    #[command(hide = true)]
    WriteLimit(WriteLimit),
}

/// What was built beforehand.
#[derive(Args, Clone, Debug)]
pub(crate) struct Artefacts {
    /// Folder with vmlinuz and ramdisk.img, as `initramfs build` makes it.
    #[arg(long, value_name = "DIR", default_value = "target/ramdisk")]
    pub(crate) ramdisk: PathBuf,
    /// Folder with the image, as `image-builder build` makes it.
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub(crate) images: PathBuf,
    /// File name of the image.
    #[arg(long, value_name = "NAME", default_value = "demo.img.zst")]
    pub(crate) image: String,
    /// Folder for disks, logs and sockets of the runs.
    #[arg(long, value_name = "DIR", default_value = "target/testbed")]
    pub(crate) work: PathBuf,
    /// Never use KVM, even where it works.
    #[arg(long)]
    pub(crate) no_kvm: bool,
}

/// Options of `demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Demo {
    /// What was built beforehand.
    #[command(flatten)]
    pub(crate) artefacts: Artefacts,
    /// Leave the node running, and say how to reach it and how to switch it off.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Memory of the node, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,
}

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Test {
    /// What was built beforehand.
    #[command(flatten)]
    pub(crate) artefacts: Artefacts,
    /// The scenario, by name; `make test-slow` runs every one, a process for each.
    pub(crate) names: Vec<String>,
}

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bench {
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
    /// Folder with the peers, as testbed/bench/peers.sh makes it.
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
