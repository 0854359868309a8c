//! The command line; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use host::units::Bytes;

/// Makes operating-system images that `provision` writes.
#[derive(Debug, Parser)]
#[command(name = "image-builder", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds an image from a distribution's packages.
    Build(Build),
}

/// The distributions that can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Distribution {
    /// Debian 12.
    Debian,
}

/// Options of `build`.
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// The distribution.
    pub(crate) distribution: Distribution,
    /// Folder that gets NAME.img.zst, NAME.img.gz and NAME.yaml.
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub(crate) out: PathBuf,
    /// Name of the image: its files are called NAME.*
    ///
    /// No dot may be in it: Fuel looks for the YAML of `a.b.img.gz` under `a.yaml`.
    #[arg(long, default_value = "debian-12")]
    pub(crate) name: String,
    /// Debian package of the kernel; linux-image-cloud-amd64 is smaller and knows virtual machines only.
    #[arg(long, value_name = "PACKAGE", default_value = "linux-image-amd64")]
    pub(crate) kernel: String,
    /// One more package; may be given more than once.
    #[arg(long = "package", value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Size of the filesystem, like "2 GiB"; by default what the files need and a quarter more.
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Bytes>,
    /// Archive to take packages from, like `http://mirror/debian`; by default those of this machine's apt.
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Folder for the unpacked system while it is built; needs about 2 GiB.
    #[arg(long, value_name = "DIR", default_value = "target/tmp")]
    pub(crate) work: PathBuf,
    /// Level of zstd, 1 to 19.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
}
