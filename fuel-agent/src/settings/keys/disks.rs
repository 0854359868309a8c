//! Which disks may be written, and what may be written to them.

use super::{PLAIN, SWITCH};
use crate::settings::key::{Key, Layers};
use crate::settings::value::{list, yes};

pub(super) static KEYS: &[Key] = &[
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
];
