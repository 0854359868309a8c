//! The command line. The doc comments are the help, so they are short and at most 80 columns wide.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::sequence::completion;
use crate::settings;

/// Installs this node as a provision.json asks: partitions its disks, writes
/// images onto them, makes them bootable, and notifies the orchestrator.
///
/// Without a command it runs with /tmp/provision.json, as `provision run` does.
/// In the names of options `-` and `_` are the same.
#[derive(Debug, Parser)]
#[command(
    name = "provision",
    version,
    // written to fit; the tools of the host bring along a clap that would wrap it anew
    term_width = 0,
    verbatim_doc_comment,
    next_line_help = true,
    args_conflicts_with_subcommands = true,
    help_expected = true,
    after_help = "Show what would be done, do it, show the state:\n\
                  \x20 provision plan --input_data_file provision.json\n\
                  \x20 provision\n\
                  \x20 provision status\n\n\
                  Exit status: 0 done, 1 internal, 2 usage, 3 request, 4 hardware, 5 refused,\n\
                  6 image, 7 tool, 8 disk, 9 completion not accepted, 10 incomplete,\n\
                  130 interrupted. docs/commands.md has the details."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`, for a call without a command.
    #[command(flatten)]
    pub run: RunOptions,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install this node.
    #[command(next_line_help = true, after_long_help = settings())]
    Run(RunOptions),
    /// Show what `run` would do. Writes nothing.
    #[command(next_line_help = true)]
    Plan(PlanOptions),
    /// Check what can be known before a run: request, disks, images, tools.
    #[command(next_line_help = true)]
    Validate(ValidateOptions),
    /// Show what this node has: disks, firmware, interfaces.
    #[command(next_line_help = true)]
    Inventory(InventoryOptions),
    /// Show the state of this node as text, JSON and exit status.
    #[command(next_line_help = true, after_help = STATUS)]
    Status(StatusOptions),
    /// List the stages of a run, in their order.
    Stages,
    /// Repeat the completion call that the orchestrator did not accept.
    #[command(next_line_help = true)]
    Notify(NotifyOptions),
    /// Write one image to one disk, partition or file, and nothing else.
    #[command(next_line_help = true)]
    Write(WriteOptions),
}

/// The settings, since there is no manual on a node.
fn settings() -> String {
    let mut text = settings::manual::help();
    text.push_str(
        "\nNames that are replaced in URLs, headers and bodies of callbacks, in braces;\n\
         the default body is a JSON object of all of them:\n\n",
    );
    for (name, meaning) in completion::NAMES {
        let name = format!("{{{name}}}");
        let meaning = meaning.replace('`', "");
        let _ = writeln!(text, "  {name:<17}{meaning}");
    }
    text
}

const STATUS: &str = "Exit status: 0 installed and ready, 20 installed but the completion call is\n\
                      still pending, 21 not installed, 22 a run is in progress; after a failed run\n\
                      the status of that run.";

/// Where the request, the inventory and the sources come from.
#[derive(Clone, Debug, Default, Args)]
pub struct InputOptions {
    /// The request (default: /tmp/provision.json).
    #[arg(
        long = "input_data_file",
        alias = "input-data-file",
        value_name = "FILE"
    )]
    pub input_data_file: Option<PathBuf>,
    /// The request itself, JSON or YAML; wins over the file.
    #[arg(long = "input_data", alias = "input-data", value_name = "TEXT")]
    pub input_data: Option<String>,
    /// The dialect of the request.
    #[arg(
        long = "data_driver",
        alias = "data-driver",
        value_name = "auto|nailgun|nailgun_simple|ironic",
        value_enum,
        hide_possible_values = true,
        default_value_t
    )]
    pub data_driver: DataDriver,
    /// Fetch the request from there: the run is pulled, not pushed.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Read the inventory of this node from a file.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Read the facts of the images from a file instead of from their servers.
    #[arg(long, value_name = "FILE")]
    pub sources: Option<PathBuf>,
    /// Do not contact the servers of the images.
    #[arg(long)]
    pub offline: bool,
    /// Use a file as the disk of that name, created if a size is given
    /// (`sda=/tmp/a.img:20GiB`); the node's own disks are then invisible.
    #[arg(long, value_name = "NAME=FILE[:SIZE]", verbatim_doc_comment)]
    pub disk: Vec<String>,
    /// Write images for which no digest is known.
    #[arg(long, alias = "allow_unverified")]
    pub allow_unverified: bool,
    /// A setting, as `provision.KEY=VALUE` on the command line of the kernel;
    /// may be given more than once. `provision run --help` lists them all.
    #[arg(long, value_name = "KEY=VALUE", verbatim_doc_comment)]
    pub set: Vec<String>,
}

/// Where an orchestrator puts the request.
pub const UPLOADED: &str = "/tmp/provision.json";

impl InputOptions {
    /// The file that holds the request.
    pub fn file(&self) -> PathBuf {
        self.input_data_file
            .clone()
            .unwrap_or_else(|| PathBuf::from(UPLOADED))
    }
}

/// The dialects of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum DataDriver {
    /// Detected by the fields of the request.
    #[default]
    Auto,
    /// The dialect of Fuel's orchestrator.
    Nailgun,
    /// `nailgun` with an explicit layout.
    NailgunSimple,
    /// Disks and images only.
    Ironic,
}

/// Where the log goes.
#[derive(Clone, Debug, Default, Args)]
pub struct LogOptions {
    /// Also write the log there (a run always logs to /run/provision).
    #[arg(long, alias = "log_file", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Log all output of programs.
    #[arg(long)]
    pub debug: bool,
    /// Accepted and ignored: a file of settings of other agents.
    #[arg(long, alias = "config_file", value_name = "FILE")]
    pub config_file: Vec<PathBuf>,
    /// Accepted and ignored, like the file.
    #[arg(long, alias = "config_dir", value_name = "FOLDER", hide = true)]
    pub config_dir: Vec<PathBuf>,
    /// Accepted and ignored: the log's folder follows from its file.
    #[arg(long, alias = "log_dir", value_name = "FOLDER", hide = true)]
    pub log_dir: Option<PathBuf>,
    /// Accepted and ignored: there is one level besides `--debug`.
    #[arg(long, alias = "nodebug", hide = true)]
    pub verbose: bool,
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// Request, inventory and sources.
    #[command(flatten)]
    pub input: InputOptions,
    /// Format of the output.
    #[arg(
        long,
        value_name = "auto|human|plain|json",
        value_enum,
        hide_possible_values = true,
        default_value_t
    )]
    pub dialect: Dialect,
    /// Also write the report there, as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Plan and validate, then stop. Writes nothing.
    #[arg(long, alias = "dry_run")]
    pub dry_run: bool,
    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// Output formats of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// `human` on a terminal, else `plain`.
    #[default]
    Auto,
    /// One line a stage, and a bar while bytes move.
    Human,
    /// Lines with times.
    Plain,
    /// One JSON object a line, and nothing else.
    Json,
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanOptions {
    /// Request, inventory and sources.
    #[command(flatten)]
    pub input: InputOptions,
    /// Format of the output.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub format: Format,
    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// Options of `validate`.
#[derive(Clone, Debug, Args)]
pub struct ValidateOptions {
    /// Request, inventory and sources.
    #[command(flatten)]
    pub input: InputOptions,
    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// Options of `inventory`.
#[derive(Clone, Debug, Args)]
pub struct InventoryOptions {
    /// Use a file as the disk of that name, as for `run`.
    #[arg(long, value_name = "NAME=FILE[:SIZE]")]
    pub disk: Vec<String>,
    /// Format of the output.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusOptions {
    /// The request to compare the node with; without one any installation
    /// counts (default: /tmp/provision.json, if it exists).
    #[arg(
        long = "input_data_file",
        alias = "input-data-file",
        value_name = "FILE",
        verbatim_doc_comment
    )]
    pub input_data_file: Option<PathBuf>,
    /// Do not contact servers: images are not compared with those installed.
    #[arg(long)]
    pub offline: bool,
    /// Format of the output.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `notify`.
#[derive(Clone, Debug, Args)]
pub struct NotifyOptions {
    /// Repeat the call until it is accepted, then do what the run would have
    /// done at its end.
    #[arg(long, verbatim_doc_comment)]
    pub until_accepted: bool,
}

/// Options of `write`.
#[derive(Clone, Debug, Args)]
pub struct WriteOptions {
    /// The image (http, https or file); its container is detected.
    #[arg(long, value_name = "URL")]
    pub image: String,
    /// The disk, the partition, or an existing file.
    #[arg(long, value_name = "DEVICE", required_unless_present = "check")]
    pub target: Option<PathBuf>,
    /// Only fetch, unpack and verify the image. Writes nothing.
    #[arg(long, conflicts_with = "target")]
    pub check: bool,
    /// Digest of the unpacked image; computed over all that is written.
    #[arg(long, value_name = "sha256:HEX|blake3:HEX|md5:HEX")]
    pub digest: Option<String>,
    /// Write the image although no digest is known.
    #[arg(long, alias = "allow_unverified")]
    pub allow_unverified: bool,
    /// A setting of docs/commands.md; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Format of the output.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub format: Format,
    /// Write a log there.
    #[arg(long, alias = "log_file", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// Output formats of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    fn parsed(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_calls_of_orchestrators_are_accepted() {
        let cli = parsed("provision");
        assert!(cli.command.is_none());
        assert_eq!(cli.run.input.file(), PathBuf::from("/tmp/provision.json"));
        let cli = parsed(
            "provision --data_driver ironic --config-file /etc/fuel-agent/fuel-agent.conf --debug",
        );
        assert_eq!(cli.run.input.data_driver, DataDriver::Ironic);
        assert!(cli.run.log.debug);
        let cli = parsed("provision --input_data_file a --log-file /var/log/fuel-agent.log");
        assert_eq!(cli.run.input.file(), PathBuf::from("a"));
    }

    #[test]
    fn dashes_and_underscores_are_no_difference() {
        for (one, other) in [
            ("--input_data_file", "--input-data-file"),
            ("--input_data", "--input-data"),
            ("--data_driver", "--data-driver"),
            ("--log_file", "--log-file"),
        ] {
            let value = if one == "--data_driver" {
                "nailgun"
            } else {
                "x"
            };
            let debug =
                |option| format!("{:?}", parsed(&format!("provision run {option} {value}")));
            assert_eq!(debug(one), debug(other));
        }
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
