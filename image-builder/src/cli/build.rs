//! Options of `build`.

use std::path::PathBuf;

use clap::Args;
use host::units::Bytes;

use super::Packing;

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
    /// Output folder for NAME.img.zst, NAME.manifest.json, NAME.img.gz and NAME.yaml.
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub(crate) out: PathBuf,
    /// Name of the image: its files are called NAME.*
    ///
    /// It must not contain a dot: Fuel looks for the YAML of `a.b.img.gz` under `a.yaml`.
    #[arg(long, default_value = "debian-12")]
    pub(crate) name: String,
    /// Debian package of the kernel; linux-image-cloud-amd64 is smaller but supports virtual machines only.
    #[arg(long, value_name = "PACKAGE", default_value = "linux-image-amd64")]
    pub(crate) kernel: String,
    /// Additional package; may be given more than once.
    #[arg(long = "package", value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Size of the filesystem, like "2 GiB"; by default the size of the files and a quarter more.
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Bytes>,
    /// Debian mirror to take packages from, like `http://mirror/debian`; by default those of this machine's apt.
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Use an archive of this machine's apt even where apt is told not to check its signature (`trusted=yes`).
    #[arg(long)]
    pub(crate) allow_unsigned_archive: bool,
    /// Folder for the unpacked system while it is built; needs about 2 GiB.
    #[arg(long, value_name = "DIR", default_value = "target/tmp")]
    pub(crate) work: PathBuf,
    /// Options of packing.
    #[command(flatten)]
    pub(crate) packing: Packing,
}
