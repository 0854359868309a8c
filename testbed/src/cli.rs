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
