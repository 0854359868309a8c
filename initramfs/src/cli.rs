//! The command line: what was typed, and what it means.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::apt::Proxies;
use crate::compose::BuildOptions;
use crate::error::Error;

/// Makes the ramdisk that a node boots to be provisioned, and looks into it.
#[derive(Debug, Parser)]
#[command(
    name = "initramfs",
    version,
    // written to fit; the tools of the host bring along a clap that would wrap it anew
    term_width = 0,
    help_expected = true,
    next_line_help = true
)]
pub struct Cli {
    /// What to do.
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
    /// The static agent, which becomes /usr/bin/provision; by default
    /// `target/x86_64-unknown-linux-gnu/release/provision`.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/x86_64-unknown-linux-gnu/release/provision",
        hide_default_value = true,
        verbatim_doc_comment
    )]
    pub agent: PathBuf,
    /// Where kernel, ramdisk and manifest go.
    #[arg(long, value_name = "DIR", default_value = "target/ramdisk")]
    pub out: PathBuf,
    /// The kernel: its package, or one that depends on it; by default
    /// `linux-image-amd64`.
    #[arg(
        long,
        value_name = "PACKAGE",
        default_value = "linux-image-amd64",
        hide_default_value = true,
        verbatim_doc_comment
    )]
    pub kernel_package: String,
    /// A package with firmware, of which the ramdisk takes what its drivers
    /// may ask for. May be repeated.
    #[arg(long, value_name = "PACKAGE", verbatim_doc_comment)]
    pub firmware: Vec<String>,
    /// Kernel modules to take (or `!` not to) beside those of the built-in
    /// list: a path like `drivers/scsi/qla2xxx/`. May be repeated.
    #[arg(long, value_name = "PATTERN", verbatim_doc_comment)]
    pub module: Vec<String>,
    /// How hard zstd works; 19 saves a tenth, ten times slower.
    #[arg(long, value_name = "LEVEL", default_value_t = crate::archive::LEVEL, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd_level: i32,
    /// The lock file: exact packages, written by the first build and obeyed
    /// by the next.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/initramfs.lock",
        verbatim_doc_comment
    )]
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
    /// A Debian mirror, instead of this machine's apt entries. May be
    /// repeated; one whose address ends in `-security` has that suite.
    #[arg(long, value_name = "URL", verbatim_doc_comment)]
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
    pub fn options(self) -> Result<BuildOptions, Error> {
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
            conf: self.conf,
            mirrors: self.mirror,
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
    fn the_command_line_is_well_formed_and_needs_nothing_said() {
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
