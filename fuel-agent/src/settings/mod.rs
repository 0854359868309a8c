//! Settings of the agent: layers of `KEY=VALUE`, strongest first, and one table of keys ([`keys::all`]).
//!
//! The layers are the command line, the kernel command line (`provision.KEY=VALUE`) and `/etc/provision.conf`. The
//! strongest layer that sets a key counts, except for keys that a command line must not weaken (`Layers`): `protect`
//! and `ca` are united over all layers, the largest `min_release` counts, of switches such as `require_signature` and
//! `allow_unverified` the stricter value of any layer, and trusted keys and keys of requests come from the weakest
//! layer that names any, which is the ramdisk's if it does.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod cmdline;
pub mod file;
mod key;
pub mod keys;
pub mod manual;
mod merge;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use os_image::signature::TrustedKey;

use crate::http::HttpSettings;
use crate::model::error::Error;
use crate::model::first_boot::FirstBootSwitches;
use crate::model::url::RedactedUrl;
use crate::source::policy::PackedPolicy;
pub use key::Key;
pub use merge::merge;
pub(crate) use value::boot_mac;

/// All settings.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and a key of the table"
)]
#[derive(Clone, Debug)]
pub struct Settings {
    /// URL that `provision.json` is pulled from; `{mac}`, `{uuid}` and `{serial}` are replaced. `None`: pushed.
    pub url: Option<RedactedUrl>,
    /// Keys of which one has to have signed the request; without any it need not be signed.
    pub request_keys: Vec<TrustedKey>,
    /// How long a run polls for a request that its server does not have yet.
    pub url_wait: Duration,
    /// Install again although the node is installed as requested.
    pub reinstall: bool,
    /// What comes of a node that is installed as requested: whether its disks are compared with the images.
    pub reverify: Reverify,
    /// What to do after a successful run; default: `none` when pushed, `reboot` when pulled.
    pub end: Option<End>,
    /// Whether a disk may be chosen by name although the request gives ids and none matches.
    pub match_by_name: bool,
    /// Whether images without a digest may be written.
    pub allow_unverified: bool,
    /// Whether removable disks may be chosen.
    pub allow_removable: bool,
    /// Whether other cloud-init data may stay within reach of the installed system.
    pub allow_other_seeds: bool,
    /// Policy for packed images.
    pub packed: PackedPolicy,
    /// Folder below which a request may name files as images; an empty path: none. `None`: the request's own folder.
    pub images_dir: Option<PathBuf>,
    /// Disks that are never chosen: names, links, serial numbers, wwns.
    pub protect: Vec<String>,
    /// Whether an entry of `protect` that is not a disk of this node is refused.
    pub protect_strict: bool,
    /// Callback after a successful run.
    pub success: Callback,
    /// Callback after a failed run.
    pub failure: Callback,
    /// URL that cloud-init of the installed system calls when it is done.
    pub phone_home: Option<RedactedUrl>,
    /// What the installed system may change of itself at its first boot.
    pub first_boot: FirstBootSwitches,
    /// Whether BIOS nodes get the protective MBR entry of a disk with boot code marked active.
    pub gpt_active: bool,
    /// How long a run repeats the completion callback.
    pub notify_budget: Duration,
    /// How long to wait for the disks that the request names.
    pub discover_wait: Duration,
    /// Folder of GRUB's platforms.
    pub grub: PathBuf,
    /// Network limits.
    pub http: HttpSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            request_keys: Vec::new(),
            url_wait: Duration::from_mins(5),
            reinstall: false,
            reverify: Reverify::default(),
            end: None,
            match_by_name: false,
            allow_unverified: false,
            allow_removable: false,
            allow_other_seeds: false,
            packed: PackedPolicy::default(),
            images_dir: None,
            protect: Vec::new(),
            protect_strict: false,
            success: Callback::default(),
            failure: Callback::default(),
            phone_home: None,
            first_boot: FirstBootSwitches::default(),
            gpt_active: true,
            notify_budget: Duration::from_mins(5),
            discover_wait: Duration::from_secs(30),
            grub: PathBuf::from("/usr/lib/grub"),
            http: HttpSettings::default(),
        }
    }
}

/// A callback: `success.*` or `failure.*`. Without `url` there is none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Callback {
    /// URL.
    pub url: Option<RedactedUrl>,
    /// Method; default: `POST`.
    pub method: Option<String>,
    /// Additional headers.
    pub headers: Vec<(String, String)>,
    /// Template of the body; default: a JSON object of the agent's.
    pub body: Option<String>,
    /// Accepted statuses; default: 200 to 299.
    pub expect_status: Vec<u16>,
    /// Expected body, without surrounding white space; default: any.
    pub expect_body: Option<String>,
}

impl fmt::Debug for Callback {
    /// Omits header values, bodies and the URL's query, which may hold tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("url", &self.url)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What to do after a successful run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Exit; the caller decides.
    None,
    /// Reboot.
    Reboot,
    /// Power off.
    Poweroff,
    /// Start the installed system's kernel without a firmware reset.
    Kexec,
}

/// What a pulled run does before it ends because the node is installed as requested, each stricter than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reverify {
    /// Nothing: the stamp is believed.
    #[default]
    No,
    /// Compares the images with the disks and reports what differs.
    Report,
    /// Installs again where an image differs that an installation leaves as it wrote it.
    Reinstall,
    /// Refuses there, so that the node stays as it is until an operator has looked at it.
    Fail,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The command line of `provision`.
    CommandLine,
    /// The kernel's command line.
    Kernel,
    /// A line of a file.
    File(PathBuf, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("the command line"),
            Self::Kernel => f.write_str("the kernel command line"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// A `KEY=VALUE` entry and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key with `_` for `-`, without `provision.`.
    pub key: String,
    /// The value; `None` without `=`.
    pub value: Option<String>,
    /// Its source.
    pub place: Place,
}

impl Entry {
    /// Parses `KEY=VALUE` or `KEY`.
    pub fn parse(text: &str, place: Place) -> Self {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        let key = key.trim();
        Self {
            key: key
                .strip_prefix("provision.")
                .unwrap_or(key)
                .replace('-', "_"),
            value,
            place,
        }
    }
}

/// Reads the layers below the command line: the kernel's command line and the file. A missing file is empty.
pub fn read(
    command_line: Vec<Entry>,
    kernel: &Path,
    config: &Path,
) -> Result<(Settings, Vec<String>), Error> {
    let kernel_text = std::fs::read_to_string(kernel).unwrap_or_default();
    let layers = [
        command_line,
        cmdline::entries(&kernel_text),
        file::read(config)?,
    ];
    merge(&layers)
}

#[cfg(test)]
mod tests;
