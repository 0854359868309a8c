//! The table of settings, which drives parsing, `provision run --help` and docs/commands.md.

use super::End;
use super::key::{Key, Layers};
use super::value::{
    address, list, put_body, put_expect_body, put_expect_status, put_header, put_keys, put_method,
    put_min_release, put_mirrors, put_url, text, time, web, yes,
};
use crate::source::policy::DeltaPolicy;
use host::units::Bytes;

const PLAIN: Key = Key {
    name: "",
    value: "",
    bare: None,
    many: false,
    layers: Layers::Strongest,
    closed_by: None,
    default: "",
    help: "",
    set: |_, _| Ok(()),
};

const SWITCH: Key = Key {
    value: "yes|no",
    bare: Some("yes"),
    default: "no",
    ..PLAIN
};

/// Default of what Fuel's templates did.
const FUELS: &str = "`yes` for nailgun requests, else `no`";

/// One of the six keys of a callback.
macro_rules! callback {
    ($field:ident, $name:literal, $value:literal, $default:literal, $help:literal, $put:ident) => {
        Key {
            name: concat!(stringify!($field), $name),
            value: $value,
            default: $default,
            many: matches!($name.as_bytes(), b".header"),
            help: $help,
            set: |settings, value| $put(&mut settings.$field, value),
            ..PLAIN
        }
    };
}

/// All settings, in the order of the manual.
pub static KEYS: &[Key] = &[
    Key {
        name: "url",
        value: "URL",
        help: "Fetch `provision.json` from there and run with it: the run is *pulled*. `{mac}`, `{uuid}`, \
              `{serial}` and `{host_key}` stand for the booting interface's address, the machine's identifiers and \
              the fingerprint of the ramdisk's ssh host key.",
        set: |settings, value| {
            settings.url = address(value);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "url.wait",
        value: "TIME",
        default: "5m",
        help: "How long a run polls for the request while the server answers 404, 410 or 204, an empty text or one \
              of comments only.",
        set: |settings, value| {
            settings.url_wait = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "request_key",
        value: "BASE64[,BASE64]",
        many: true,
        layers: Layers::Weakest,
        help: "Public keys of minisign, one of which has to have signed the request: `URL.minisig` of a pulled one, \
              `FILE.minisig` beside a pushed one. Unsigned or wrongly signed is refused (5) before anything else is \
              looked at. The ramdisk's file takes precedence, as for `trusted_key`.",
        set: |settings, value| put_keys(&mut settings.request_keys, value),
        ..PLAIN
    },
    Key {
        name: "reinstall",
        help: "Install on a pulled run even if the node is already installed as requested.",
        set: |settings, value| {
            settings.reinstall = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "end",
        value: "none|reboot|poweroff|kexec",
        default: "`none` when pushed, `reboot` when pulled",
        help: "What to do after a successful run. `kexec` starts the installed kernel without a firmware reset; if \
              that is not possible, the node reboots.",
        set: |settings, value| {
            settings.end = Some(match value {
                "none" => End::None,
                "reboot" => End::Reboot,
                "poweroff" => End::Poweroff,
                "kexec" => End::Kexec,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            });
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "match",
        value: "ids|name",
        default: "ids",
        layers: Layers::Strictest("ids"),
        help: "`name`: take a disk by its kernel name although the request gives ids and none of them matched.",
        set: |settings, value| {
            settings.match_by_name = match value {
                "name" => true,
                "ids" => false,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "allow_unverified",
        layers: Layers::Strictest("no"),
        help: "Write images for which no digest is known. `no` in any layer holds.",
        set: |settings, value| {
            settings.allow_unverified = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "allow_removable",
        layers: Layers::Strictest("no"),
        help: "Allow a request to choose removable disks. `no` in any layer holds.",
        set: |settings, value| {
            settings.allow_removable = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "allow_other_seeds",
        layers: Layers::Strictest("no"),
        help: "Install although another disk or medium has cloud-init data (label `cidata` or `config-2`) that the \
              installed system could take for its own. By default that is refused (5). `no` in any layer holds.",
        set: |settings, value| {
            settings.allow_other_seeds = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "protect",
        value: "DISK[,DISK]",
        many: true,
        layers: Layers::United,
        help: "Disks that no request can choose, by name, link, serial number or wwn, in any case; a partition \
              stands for its disk. What any layer protects is protected. An entry that is not a disk of the node \
              causes a warning.",
        set: |settings, value| {
            settings.protect.extend(list(value));
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "protect.strict",
        layers: Layers::Strictest("yes"),
        help: "Refuse (5) to write to any disk while an entry of `protect` is not a disk of the node. It holds if \
              any layer sets it.",
        set: |settings, value| {
            settings.protect_strict = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "trust",
        value: "warn|strict",
        default: "warn",
        layers: Layers::Strictest("strict"),
        help: "What comes of an image of which an md5 is all that vouches for it, or which comes by plain http with \
              neither a digest in the request nor a signature: a warning, or a refusal (5). `strict` also refuses \
              what `allow_unverified` allows, and holds if any layer sets it.",
        set: |settings, value| {
            settings.packed.images.strict = match value {
                "strict" => true,
                "warn" => false,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "require_signature",
        layers: Layers::Strictest("yes"),
        default: "`yes` where there is a `trusted_key`",
        help: "Write only images that a trusted key signed. `yes` holds if any layer sets it; `no` counts in the \
              layer of `trusted_key` or a stronger one.",
        set: |settings, value| {
            settings.packed.images.require_signature = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "trusted_key",
        value: "BASE64[,BASE64]",
        many: true,
        layers: Layers::Weakest,
        help: "Public keys of minisign (the line that begins with `RW`), one of which has to have signed every \
              image: its manifest, or the metadata beside it. The ramdisk's file takes precedence over the kernel's command line, and that over the command \
              line of `provision`: keys cannot be added to those of the ramdisk.",
        set: |settings, value| put_keys(&mut settings.packed.keys, value),
        ..PLAIN
    },
    Key {
        name: "min_release",
        value: "[NAME:]NUMBER[,[NAME:]NUMBER]",
        many: true,
        layers: Layers::United,
        default: "0",
        help: "Oldest release of a packed image that is written, of all images or of those of this name. The largest \
              of all layers counts.",
        set: |settings, value| put_min_release(&mut settings.packed.images.min_release, value),
        ..PLAIN
    },
    Key {
        name: "mirrors",
        value: "URL[,URL]",
        many: true,
        help: "Folders on other servers with the same packed images. All servers are used at once; a faster one \
              serves more.",
        set: |settings, value| put_mirrors(&mut settings.packed.mirrors, value),
        ..PLAIN
    },
    Key {
        name: "delta",
        value: "auto|always|never",
        default: "auto",
        help: "Whether to read the disk and to fetch and write only the chunks of a packed image that it does not \
              hold yet. `auto`: if it holds some of them and reading is faster.",
        set: |settings, value| {
            settings.packed.delta = match value {
                "auto" => DeltaPolicy::Auto,
                "always" => DeltaPolicy::Always,
                "never" => DeltaPolicy::Never,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
    },
    callback!(
        success,
        "",
        "URL",
        "",
        "URL to call when the node is installed. Without it no call is made.",
        put_url
    ),
    callback!(
        success,
        ".method",
        "METHOD",
        "POST",
        "The method of that call.",
        put_method
    ),
    callback!(
        success,
        ".header",
        "NAME: VALUE",
        "",
        "A header of that call; may be given more than once.",
        put_header
    ),
    callback!(
        success,
        ".body",
        "TEXT",
        "a JSON object, see below",
        "The body of that call.",
        put_body
    ),
    callback!(
        success,
        ".expect_status",
        "STATUS[,STATUS]",
        "200 to 299",
        "Statuses that mean that the call was accepted.",
        put_expect_status
    ),
    callback!(
        success,
        ".expect_body",
        "TEXT",
        "",
        "Expected body of the answer, apart from white space at its ends; by default any.",
        put_expect_body
    ),
    callback!(
        failure,
        "",
        "URL",
        "",
        "URL to call when a run has failed. Without it no call is made.",
        put_url
    ),
    callback!(
        failure,
        ".method",
        "METHOD",
        "POST",
        "The method of that call.",
        put_method
    ),
    callback!(
        failure,
        ".header",
        "NAME: VALUE",
        "",
        "A header of that call; may be given more than once.",
        put_header
    ),
    callback!(
        failure,
        ".body",
        "TEXT",
        "a JSON object, see below",
        "The body of that call.",
        put_body
    ),
    callback!(
        failure,
        ".expect_status",
        "STATUS[,STATUS]",
        "200 to 299",
        "Statuses that mean that the call was accepted.",
        put_expect_status
    ),
    callback!(
        failure,
        ".expect_body",
        "TEXT",
        "",
        "Expected body of the answer, apart from white space at its ends; by default any.",
        put_expect_body
    ),
    Key {
        name: "phone_home",
        value: "URL",
        help: "Where cloud-init of the installed system posts its instance id, hostname and host keys when it is done.",
        set: |settings, value| {
            settings.phone_home = web(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "first_boot.flush_iptables",
        default: FUELS,
        help: "Whether cloud-init of the installed system flushes the iptables chains INPUT and FORWARD.",
        set: |settings, value| {
            settings.first_boot.flush_iptables = Some(yes(value)?);
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "first_boot.disable_selinux",
        default: FUELS,
        help: "Whether it switches SELinux off (Red Hat's family).",
        set: |settings, value| {
            settings.first_boot.disable_selinux = Some(yes(value)?);
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "first_boot.core_dumps",
        default: FUELS,
        help: "Whether it keeps core dumps, those of setuid programs too (Red Hat's family).",
        set: |settings, value| {
            settings.first_boot.core_dumps = Some(yes(value)?);
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "first_boot.remote_log",
        default: FUELS,
        help: "Whether it has all log messages sent to the orchestrator, by UDP in clear.",
        set: |settings, value| {
            settings.first_boot.remote_log = Some(yes(value)?);
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "configdrive.after_first_boot",
        value: "keep|wipe",
        default: "keep",
        help: "`wipe`: when cloud-init's last stage of the first boot has succeeded, the installed system overwrites \
              its cloud-init data with zeros, removes cloud-init's copies, and disables cloud-init (systemd only).",
        set: |settings, value| {
            settings.first_boot.wipe_configdrive = match value {
                "keep" => false,
                "wipe" => true,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "gpt_active",
        default: "yes",
        help: "On BIOS nodes, mark the protective entry in the MBR of a disk with boot code active: firmware of some \
              makers (HP, Lenovo) does not boot without it. Never done on UEFI nodes.",
        set: |settings, value| {
            settings.gpt_active = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "notify.budget",
        value: "TIME",
        default: "5m",
        help: "How long a run repeats the completion call before it ends with status 9.",
        set: |settings, value| {
            settings.notify_budget = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "discover.wait",
        value: "TIME",
        default: "30s",
        help: "How long to wait for disks that the request names.",
        set: |settings, value| {
            settings.discover_wait = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.connect",
        value: "TIME",
        default: "10s",
        help: "How long connecting may take.",
        set: |settings, value| {
            settings.http.connect_timeout = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.stall",
        value: "TIME",
        default: "30s",
        help: "How long a connection may deliver nothing.",
        set: |settings, value| {
            settings.http.stall_timeout = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.total",
        value: "TIME",
        default: "0",
        help: "How long fetching one image may take in all; 0 means no limit.",
        set: |settings, value| {
            let limit = time(value)?;
            settings.http.total_timeout = (!limit.is_zero()).then_some(limit);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.least_rate",
        value: "SIZE",
        default: "64 KiB",
        help: "How much an image's server has to deliver in a second, on average over 10 minutes; `0 B` means any rate.",
        set: |settings, value| {
            let rate: Bytes = value.parse().map_err(|error| format!("{error}"))?;
            settings.http.least_rate = (rate > Bytes(0)).then_some(rate);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.retry",
        value: "TIME",
        default: "2m",
        help: "How long retries of a transfer may go on without any new byte.",
        set: |settings, value| {
            settings.http.retry_budget = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "ca",
        value: "FILE[,FILE]",
        many: true,
        layers: Layers::United,
        closed_by: Some("ca_only"),
        help: "PEM files with certificate authorities that are trusted in addition to the public ones.",
        set: |settings, value| {
            let files = list(value).into_iter().map(Into::into);
            settings.http.authorities.extend(files);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "ca_only",
        layers: Layers::Strictest("yes"),
        help: "Trust no public authority, only those of `ca`. It holds if any layer sets it; stronger layers cannot \
              add to `ca` then.",
        set: |settings, value| {
            settings.http.only_given_authorities = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "grub",
        value: "FOLDER",
        default: "/usr/lib/grub",
        help: "Folder of GRUB's platforms (`i386-pc/` and so on).",
        set: |settings, value| {
            settings.grub = text(value)?.ok_or("it is empty")?.into();
            Ok(())
        },
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn names_are_unique_and_described() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(
                !key.help.is_empty() && !key.value.is_empty(),
                "{}",
                key.name
            );
            assert!(
                KEYS[..index].iter().all(|other| other.name != key.name),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn every_default_is_a_value_that_its_key_accepts() {
        for key in KEYS {
            if !key.default.is_empty() && !key.default.contains(' ') {
                (key.set)(&mut Settings::default(), key.default).unwrap();
            }
        }
    }

    #[test]
    fn an_explicit_default_changes_nothing() {
        let (mut explicit, implicit) = (Settings::default(), Settings::default());
        for key in KEYS {
            if !key.default.is_empty() && !key.default.contains(' ') && key.default != "POST" {
                (key.set)(&mut explicit, key.default).unwrap();
            }
        }
        assert_eq!(format!("{explicit:?}"), format!("{implicit:?}"));
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (name, value) in [
            ("reinstall", "maybe"),
            ("success.method", "post it"),
            ("success.header", "no colon"),
            ("success.header", ": x"),
            ("success.expect_status", "200,abc"),
            ("failure.expect_status", "99"),
            ("match", "serial"),
            ("phone_home", "orchestrator.test"),
            ("phone_home", "ftp://orchestrator.test/"),
            ("grub", ""),
            ("trusted_key", "RWQf"),
            ("request_key", ""),
            ("trusted_key", ""),
            ("min_release", "-1"),
            ("min_release", "debian"),
            ("min_release", ":7"),
            ("min_release", "debian:x"),
            ("min_release", ""),
            ("trust", "yes"),
            ("mirrors", "images/"),
            ("mirrors", "ftp://host/"),
            ("delta", "sometimes"),
            ("configdrive.after_first_boot", "burn"),
            ("first_boot.remote_log", "tcp"),
        ] {
            let set = Key::named(name).unwrap().set;
            assert!(
                set(&mut Settings::default(), value).is_err(),
                "{name}={value}"
            );
        }
    }
}
