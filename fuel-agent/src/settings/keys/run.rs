//! How a run starts and how it ends.

use super::{PLAIN, SWITCH};
use crate::settings::key::{Key, Layers};
use crate::settings::value::{address, put_keys, time, yes};
use crate::settings::{End, Reverify};

pub(super) static KEYS: &[Key] = &[
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
        layers: Layers::Strictest("yes"),
        help: "Install on a pulled run even if the node is already installed as requested. It holds if any layer sets \
              it.",
        set: |settings, value| {
            settings.reinstall = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "reverify",
        value: "no|report|reinstall|fail",
        default: "no",
        layers: Layers::Ranked(&["no", "report", "reinstall", "fail"]),
        help: "Whether a pulled run that finds the node installed as requested compares packed images with the disks: \
              `report` what differs; `reinstall`, or refuse (5, `fail`), if one differs that an installation leaves as \
              it was written. The strictest of all layers counts.",
        set: |settings, value| {
            settings.reverify = match value {
                "no" => Reverify::No,
                "report" => Reverify::Report,
                "reinstall" => Reverify::Reinstall,
                "fail" => Reverify::Fail,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
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
];
