//! The command line; the doc comments are the help texts.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use apt_sources::Proxies;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compose::BuildOptions;
use crate::error::Error;

/// Makes the ramdisk that a node boots to be provisioned, and lists its content.
#[derive(Debug, Parser)]
#[command(
    name = "initramfs",
    version,
    // lines are written to fit 80 columns; other crates may enable a feature of clap that wraps them again
    term_width = 0,
    help_expected = true,
    next_line_help = true
)]
pub struct Cli {
    /// The sub-command.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compose kernel and ramdisk from the static agent and Debian packages.
    #[command(next_line_help = true)]
    Build(Box<Build>),
    /// List the parts of a ramdisk, their sizes and their packages.
    Inspect(Inspect),
}

/// Options of `build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The static agent, installed as /usr/bin/provision; by default
    /// `target/x86_64-unknown-linux-gnu/release/provision`.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/x86_64-unknown-linux-gnu/release/provision",
        hide_default_value = true,
        verbatim_doc_comment
    )]
    pub agent: PathBuf,
    /// Folder for kernel, ramdisk and manifest.
    #[arg(long, value_name = "DIR", default_value = "target/ramdisk")]
    pub out: PathBuf,
    /// Package of the kernel, or one that depends on it; by default
    /// `linux-image-amd64`.
    #[arg(
        long,
        value_name = "PACKAGE",
        default_value = "linux-image-amd64",
        hide_default_value = true,
        verbatim_doc_comment
    )]
    pub kernel_package: String,
    /// Package with firmware; the files that drivers in the ramdisk may
    /// request are added. May be repeated.
    #[arg(long, value_name = "PACKAGE", verbatim_doc_comment)]
    pub firmware: Vec<String>,
    /// Kernel modules to add to the built-in list, or, after `!`, to remove
    /// from it: a path like `drivers/scsi/qla2xxx/`. May be repeated.
    #[arg(long, value_name = "PATTERN", verbatim_doc_comment)]
    pub module: Vec<String>,
    /// zstd level; 19 is a tenth smaller, ten times slower.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value_t = crate::archive::LEVEL,
        value_parser = clap::value_parser!(i32).range(1..=19)
    )]
    pub zstd_level: i32,
    /// Lock file with exact package versions, written by the first build and
    /// used by later ones.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/initramfs.lock",
        verbatim_doc_comment
    )]
    pub lock: PathBuf,
    /// Use current package versions and rewrite the lock file.
    #[arg(long, alias = "update-lock")]
    pub renew_lock: bool,
    /// Cache folder for package files.
    #[arg(long, value_name = "DIR", default_value = "target/cache/debs")]
    pub cache: PathBuf,
    /// File of public keys that may log in, besides `provision.key`.
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Option<PathBuf>,
    /// Private key of the ssh server, ed25519 of OpenSSH or any of dropbear.
    /// By default each boot makes one. A reader of the ramdisk can read it.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub host_key: Option<PathBuf>,
    /// Settings of the agent, installed as /etc/provision.conf.
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,
    /// Certificate authorities (PEM) that the agent trusts for https, besides
    /// the public ones unless the settings say `ca_only`.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub ca: Option<PathBuf>,
    /// Debian mirror to use instead of this machine's apt sources. May be
    /// repeated; a URL that ends in `-security` is used for that suite.
    #[arg(long, value_name = "URL", verbatim_doc_comment)]
    pub mirror: Vec<String>,
    /// Use an archive even where apt is told not to check its signature.
    #[arg(long)]
    pub allow_unsigned_archive: bool,
    /// Code name of the Debian release.
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    pub suite: String,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The ramdisk.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Output format.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// Lines of text.
    Text,
    /// One JSON object.
    Json,
}

impl Build {
    /// The options, completed from the environment: proxies, and `SOURCE_DATE_EPOCH` for the time.
    pub fn options(self) -> Result<BuildOptions, Error> {
        let given = std::env::var("SOURCE_DATE_EPOCH").ok();
        let now_is_given = given.is_some();
        let now = match given {
            Some(text) => text.trim().parse().map_err(|_| Error::Usage {
                what: format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds"),
            })?,
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|age| u32::try_from(age.as_secs()).ok())
                .unwrap_or_default(),
        };
        Ok(BuildOptions {
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
            host_key: self.host_key,
            conf: self.conf,
            ca: self.ca,
            mirrors: self.mirror,
            allow_unsigned: self.allow_unsigned_archive,
            suite: self.suite,
            proxies: Proxies::of_environment(),
            now,
            now_is_given,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_build_has_no_required_option() {
        Cli::command().debug_assert();
        Cli::try_parse_from(["initramfs", "build"]).unwrap();
    }

    #[test]
    fn no_line_of_the_help_is_wider_than_a_console() {
        let mut command = Cli::command();
        command.build();
        let mut texts = vec![command.render_help(), command.render_long_help()];
        for sub in command.get_subcommands_mut() {
            texts.extend([sub.render_help(), sub.render_long_help()]);
        }
        for text in texts {
            for line in text.to_string().lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
