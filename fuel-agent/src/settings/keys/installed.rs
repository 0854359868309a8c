//! What the installed system does at its first boot, and how it boots.

use super::{PLAIN, SWITCH};
use crate::settings::key::Key;
use crate::settings::value::{web, yes};

/// Default of what Fuel's templates did.
const FUELS: &str = "`yes` for nailgun requests, else `no`";

pub(super) static KEYS: &[Key] = &[
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
];
