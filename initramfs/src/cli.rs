//! The command line: what was typed, and what it means.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::apt::Proxies;
use crate::compose::Order;
use crate::error::Error;

/// Makes the ramdisk that a node boots to be provisioned, and looks into it.
#[derive(Debug, Parser)]
#[command(name = "initramfs", version, help_expected = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compose kernel, ramdisk and manifest from the static agent and Debian packages.
    Build(Box<Build>),
    /// List the parts of a ramdisk with their sizes, and the packages they came from.
    Inspect(Inspect),
}

/// Options of `build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The static agent, which becomes /usr/bin/provision.
    #[arg(long, value_name = "FILE")]
    pub agent: PathBuf,
    /// Where vmlinuz, ramdisk.img and ramdisk.manifest.json go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The kernel: a package, or one that depends on it.
    #[arg(long, value_name = "PACKAGE", default_value = "linux-image-amd64")]
    pub kernel_package: String,
    /// A package with firmware, of which the ramdisk takes what its drivers may ask for. May be repeated.
    #[arg(long, value_name = "PACKAGE")]
    pub firmware: Vec<String>,
    /// Kernel modules to take (or `!` not to) beside those of the built-in list: a path like `drivers/scsi/qla2xxx/`. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub module: Vec<String>,
    /// How hard zstd works: 19 saves a tenth and takes ten times as long.
    #[arg(long, value_name = "LEVEL", default_value_t = crate::archive::LEVEL, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd_level: i32,
    /// The lock file: exact packages, written by the first build and obeyed by the next.
    #[arg(long, value_name = "FILE", default_value = "target/initramfs.lock")]
    pub lock: PathBuf,
    /// Take today's package versions and write the lock anew.
    #[arg(long)]
    pub renew_lock: bool,
    /// Where package files are kept.
    #[arg(long, value_name = "DIR", default_value = "target/cache/debs")]
    pub cache: PathBuf,
    /// Public keys that may log in, beside those of the kernel command line.
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Option<PathBuf>,
    /// Settings of the agent, which become /etc/provision.conf.
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,
    /// A Debian mirror, instead of this machine's apt entries. May be repeated; one whose address ends in `-security` has the security suite.
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
    /// Debian's release, by its code name.
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    pub suite: String,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The ramdisk.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Build {
    /// What was typed, with what the environment adds: proxies, and `SOURCE_DATE_EPOCH` for the time.
    pub fn order(self) -> Result<Order, Error> {
        let given = std::env::var("SOURCE_DATE_EPOCH").ok();
        let now_is_given = given.is_some();
        let now = match given {
            Some(text) => text.trim().parse().map_err(|_| Error::Usage {
                what: format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"),
            })?,
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|age| u32::try_from(age.as_secs()).ok())
                .unwrap_or_default(),
        };
        Ok(Order {
            agent: self.agent,
            out: self.out,
            kernel_package: self.kernel_package,
            firmware: self.firmware,
            modules: self.module,
            level: self.zstd_level,
            lock: self.lock,
            renew_lock: self.renew_lock,
            cache: self.cache,
            authorized_keys: self.authorized_keys,
            conf: self.conf,
            mirrors: self.mirror,
            suite: self.suite,
            proxies: Proxies::of_environment(),
            now,
            now_is_given,
        })
    }
}
