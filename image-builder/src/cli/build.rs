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
    ///
    /// Its suites with updates are used where it has them. Security fixes come from `--security-mirror`, else from
    /// URL-security if that answers, else from where this machine's apt has its own.
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Archive of the suite with security fixes, like `http://mirror/debian-security`.
    #[arg(long, value_name = "URL", requires = "mirror")]
    pub(crate) security_mirror: Option<String>,
    /// Lock file with exact package versions: written if it does not exist, else used.
    ///
    /// The same lock and options give the same bytes. Without it the current versions are used.
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
    /// Use current package versions and rewrite the lock file.
    #[arg(long, visible_alias = "update-lock", requires = "lock")]
    pub(crate) renew_lock: bool,
    /// Cache folder for package files.
    #[arg(long, value_name = "DIR", default_value = "target/cache/debs")]
    pub(crate) cache: PathBuf,
    /// Have nodes install security updates on their own, by unattended-upgrades. By default apt's timers are off.
    #[arg(long)]
    pub(crate) unattended_upgrades: bool,
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
