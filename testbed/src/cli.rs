//! The command line; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Nodes in QEMU, a provisioning network and a reference orchestrator. Needs root; leaves nothing behind but its work
/// folder.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, max_term_width = 100)]
pub struct Cli {
    /// The sub-command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Installs a bare node, from power-on to a login, and shows its progress.
    Demo(Demo),
    /// Runs an end-to-end scenario.
    Test(Test),
    /// Lists the scenarios.
    Scenarios,
}

/// The files that a run needs, and where it works.
#[derive(Args, Clone, Debug)]
pub(crate) struct Artifacts {
    /// Folder with vmlinuz and ramdisk.img, as `initramfs build` makes it.
    #[arg(long, value_name = "DIR", default_value = "target/ramdisk")]
    pub(crate) ramdisk: PathBuf,
    /// Folder with the image, as `image-builder build` makes it.
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub(crate) images: PathBuf,
    /// File name of the image.
    #[arg(long, value_name = "NAME", default_value = "demo.img.zst")]
    pub(crate) image: String,
    /// Folder for disks, logs and sockets of runs, a folder for each.
    #[arg(long, value_name = "DIR", default_value = "target/testbed")]
    pub(crate) work: PathBuf,
    /// Never use KVM, even where it works.
    #[arg(long)]
    pub(crate) no_kvm: bool,
}

/// Options of `demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Demo {
    /// Ramdisk, image and work folder.
    #[command(flatten)]
    pub(crate) artifacts: Artifacts,
    /// Leave the node running; print how to log in and how to switch it off.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Memory of the node, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,
}

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Test {
    /// Ramdisk, image and work folder.
    #[command(flatten)]
    pub(crate) artifacts: Artifacts,
    /// The scenario, as `testbed scenarios` lists it; the default one if none is given.
    #[arg(value_name = "SCENARIO")]
    pub(crate) name: Option<String>,
}
