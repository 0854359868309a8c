//! Settings of the agent: layers of `KEY=VALUE`, strongest first, and one table of keys ([`keys::KEYS`]).
//!
//! The layers are the command line, the kernel command line (`provision.KEY=VALUE`) and `/etc/provision.conf`. The
//! strongest layer that sets a key counts, except for keys that a command line must not weaken: `protect` and `ca` are
//! united over all layers, `require_signature` holds if any layer sets it, the largest `min_release` counts, and
//! trusted keys and keys of requests come from the weakest layer that names any, which is the ramdisk's if it does.

pub mod cmdline;
pub mod file;
mod key;
pub mod keys;
pub mod manual;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use os_image::signature::TrustedKey;

use crate::http::HttpSettings;
use crate::model::error::{Error, Kind};
use crate::model::first_boot::FirstBootSwitches;
use crate::model::url::RedactedUrl;
use crate::source::policy::PackedPolicy;
pub use key::Key;
use key::Layers;
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
            end: None,
            match_by_name: false,
            allow_unverified: false,
            allow_removable: false,
            allow_other_seeds: false,
            packed: PackedPolicy::default(),
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

/// Merges layers, strongest first; returns the settings and warnings.
pub fn merge(layers: &[Vec<Entry>]) -> Result<(Settings, Vec<String>), Error> {
    let mut settings = Settings::default();
    let mut warnings = Vec::new();
    let mut set_keys: Vec<&'static str> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let mut here: Vec<&'static str> = Vec::new();
        for entry in layer {
            let Some(key) = Key::named(&entry.key) else {
                unknown(entry, &mut warnings)?;
                continue;
            };
            let weaker = layers.get(index + 1..).unwrap_or_default();
            match key.layers {
                Layers::Strongest if set_keys.contains(&key.name) => continue,
                Layers::Weakest if weaker.iter().any(|layer| names(layer, key)) => {
                    warnings.push(format!(
                        "`{}` of {} is ignored: the ramdisk's value cannot be changed",
                        key.name, entry.place
                    ));
                    continue;
                }
                Layers::Strongest | Layers::United | Layers::Weakest => {}
            }
            if here.contains(&key.name) && !key.many {
                warnings.push(format!(
                    "`{}` is set more than once by {}; the last one counts",
                    key.name, entry.place
                ));
            }
            here.push(key.name);
            set(key, entry, &mut settings)?;
        }
        set_keys.extend(here);
    }
    Ok((settings, warnings))
}

/// Whether any of the entries sets a key.
fn names(layer: &[Entry], key: &Key) -> bool {
    layer.iter().any(|entry| entry.key == key.name)
}

/// Keys with the same prefix that the ramdisk's init reads: docs/ramdisk.md.
const RAMDISK_KEYS: [&str; 3] = ["bootif", "key", "shell"];

/// An unknown key. On the kernel's command line it is a warning, since others read it too and it may be for another
/// version of the agent; on our own command line and in our file it is an error.
fn unknown(entry: &Entry, warnings: &mut Vec<String>) -> Result<(), Error> {
    if entry.place == Place::Kernel && RAMDISK_KEYS.contains(&entry.key.as_str()) {
        let value = entry.value.as_deref().unwrap_or_default();
        if entry.key == "bootif" && boot_mac(value).is_none() {
            warnings.push(format!(
                "`provision.bootif` of {} is not a MAC address and is ignored; BOOTIF is used if it is set",
                entry.place
            ));
        }
        return Ok(());
    }
    let near = Key::nearest(&entry.key);
    let hint = near.map_or_else(
        || "`provision run --help` and docs/commands.md name all settings".to_owned(),
        |key| format!("did you mean `{}`?", key.name),
    );
    if entry.place == Place::Kernel {
        warnings.push(format!(
            "{} has `provision.{}`, which is not a setting; {hint}",
            entry.place, entry.key
        ));
        return Ok(());
    }
    let what = format!("`{}` is not a setting ({})", entry.key, entry.place);
    Err(Error::new(Kind::Usage, what).hint(hint))
}

fn set(key: &Key, entry: &Entry, settings: &mut Settings) -> Result<(), Error> {
    let value = match (&entry.value, key.bare) {
        (Some(value), _) => value.as_str(),
        (None, Some(meaning)) => meaning,
        (None, None) => {
            let what = format!("`{}` has no value ({})", key.name, entry.place);
            return Err(
                Error::new(Kind::Usage, what).hint(format!("write {}={}", key.name, key.value))
            );
        }
    };
    (key.set)(settings, value).map_err(|wrong| {
        Error::new(
            Kind::Usage,
            format!("cannot use the value of `{}` ({})", key.name, entry.place),
        )
        .because(wrong)
        .hint(format!("write {}={}", key.name, key.value))
    })
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
mod tests {
    use super::*;

    fn layer(place: &Place, lines: &[&str]) -> Vec<Entry> {
        lines
            .iter()
            .map(|line| Entry::parse(line, place.clone()))
            .collect()
    }

    fn merged(
        command: &[&str],
        kernel: &[&str],
        file: &[&str],
    ) -> Result<(Settings, Vec<String>), Error> {
        merge(&[
            layer(&Place::CommandLine, command),
            layer(&Place::Kernel, kernel),
            layer(&Place::File("/etc/provision.conf".into(), 7), file),
        ])
    }

    #[test]
    fn the_strongest_layer_wins() {
        let (settings, warnings) = merged(
            &["end=none"],
            &["provision.end=reboot", "provision.url=http://k/"],
            &["end=poweroff", "url=http://f/"],
        )
        .unwrap();
        assert_eq!(settings.end, Some(End::None));
        assert_eq!(settings.url, Some("http://k/".into()));
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_the_ramdisk_protects_stays_protected() {
        let (settings, _) =
            merged(&["protect=sda"], &["protect=sdb,sdc"], &["protect=S3X9"]).unwrap();
        assert_eq!(settings.protect, ["sda", "sdb", "sdc", "S3X9"]);
        let (settings, _) = merged(&["protect="], &[], &["protect=S3X9"]).unwrap();
        assert_eq!(settings.protect, ["S3X9"]);
        let (settings, _) = merged(&["protect.strict=no"], &[], &["protect.strict"]).unwrap();
        assert!(settings.protect_strict);
    }

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const OTHER: &str = "RWTg6JXWzv6GDtDphRQ/x7eg0LaWBcTxPZ7i49xEeiqXVcR+r79OZRWM";

    #[test]
    fn keys_of_the_ramdisk_are_the_only_ones() {
        let key = |text: &str| format!("trusted_key={text}");
        let keys = |settings: &Settings| -> Vec<String> {
            settings
                .packed
                .keys
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let (settings, warnings) = merged(&[&key(OTHER)], &[&key(OTHER)], &[&key(KEY)]).unwrap();
        assert_eq!(keys(&settings), [KEY]);
        assert_eq!(warnings.len(), 2);
        let (settings, _) = merged(&[&key(KEY)], &[&key(OTHER), &key(KEY)], &[]).unwrap();
        assert_eq!(keys(&settings), [OTHER, KEY]);
        let (settings, warnings) = merged(&[&key(KEY)], &[], &[]).unwrap();
        assert_eq!((keys(&settings).len(), warnings.len()), (1, 0));
        let key = |text: &str| format!("provision.request_key={text}");
        let (settings, warnings) = merged(&[], &[&key(OTHER)], &[&key(KEY)]).unwrap();
        assert_eq!(settings.request_keys.len(), 1);
        assert_eq!(settings.request_keys[0].to_string(), KEY);
        assert_eq!(warnings.len(), 1);
        assert!(merged(&[], &["provision.request_key="], &[]).is_err());
    }

    #[test]
    fn what_the_ramdisk_requires_is_required() {
        let (settings, _) = merged(
            &["require_signature=no", "min_release=1"],
            &["min_release=9"],
            &["require_signature", "min_release=4"],
        )
        .unwrap();
        assert!(settings.packed.require_signature);
        assert_eq!(settings.packed.min_release, 9);
    }

    #[test]
    fn headers_are_collected_within_a_layer_and_replaced_by_a_stronger_one() {
        let (settings, warnings) = merged(
            &[],
            &["success.header=A: 1", "success.header=B: 2"],
            &["success.header=C: 3"],
        )
        .unwrap();
        let headers = [("A", "1"), ("B", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(settings.success.headers, headers);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn dashes_and_the_prefix_are_no_difference() {
        let (settings, _) =
            merged(&["allow-unverified"], &[], &["provision.reinstall=yes"]).unwrap();
        assert!(settings.allow_unverified && settings.reinstall);
    }

    #[test]
    fn an_unknown_key_is_a_warning_from_the_kernel_and_an_error_elsewhere() {
        let (_, warnings) = merged(&[], &["provision.ulr=x"], &[]).unwrap();
        assert_eq!(
            warnings,
            [
                "the kernel command line has `provision.ulr`, which is not a setting; did you mean `url`?"
            ]
        );
        let error = merged(&[], &[], &["protct=sda"]).unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        insta::assert_snapshot!(crate::model::error::render(&error), @r"
        error: `protct` is not a setting (/etc/provision.conf:7)
          hint: did you mean `protect`?
        ");
    }

    #[test]
    fn keys_of_the_ramdisk_cause_no_warning() {
        let line = ["provision.key=ssh-ed25519%20AAAA", "provision.shell"];
        let (_, warnings) = merged(&[], &line, &[]).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let line = ["provision.bootif=01-52-54-00-12-34-56"];
        assert_eq!(merged(&[], &line, &[]).unwrap().1, [""; 0]);
        for placeholder in ["provision.bootif=", "provision.bootif=$net_default_mac"] {
            let (_, warnings) = merged(&[], &[placeholder], &[]).unwrap();
            assert_eq!(
                warnings,
                [
                    "`provision.bootif` of the kernel command line is not a MAC address and is ignored; BOOTIF is \
                          used if it is set"
                ]
            );
        }
        assert!(merged(&[], &[], &["key=x"]).is_err());
    }

    #[test]
    fn a_bad_value_is_named_with_its_place_and_the_valid_form() {
        let error = merged(&[], &[], &["end=restart"]).unwrap_err();
        insta::assert_snapshot!(crate::model::error::render(&error), @r"
        error: cannot use the value of `end` (/etc/provision.conf:7)
          cause: `restart` is not one of the valid values
          hint: write end=none|reboot|poweroff|kexec
        ");
        let error = merged(&["url"], &[], &[]).unwrap_err();
        insta::assert_snapshot!(crate::model::error::render(&error), @r"
        error: `url` has no value (the command line)
          hint: write url=URL
        ");
    }

    #[test]
    fn a_callback_does_not_print_its_secrets() {
        let callback = Callback {
            url: Some("http://u:p@h/built?token=t0p".into()),
            headers: vec![("Authorization".to_owned(), "s3cret".to_owned())],
            body: Some("s3cret".to_owned()),
            ..Callback::default()
        };
        insta::assert_snapshot!(format!("{callback:?}"), @r#"Callback { url: Some("http://h/built?..."), method: None, .. }"#);
    }
}
