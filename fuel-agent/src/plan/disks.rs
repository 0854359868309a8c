//! Which disks of the node are chosen, and whether they may be written to at all.

use crate::model::error::Kind;
use crate::model::index::InventoryDiskIndex;
use crate::model::inventory::{Disk, Inventory, Stack};
use crate::model::request::Request;

use super::diagnostics::Diagnostics;
use super::select::{self, Objection, Selected};
use super::text::format;
use super::{Options, PlanError, unexamined};

/// For each disk of the request its index in the inventory; `None` where none can be determined (then there is an
/// error).
pub(super) fn choose(
    request: &Request,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Vec<Option<InventoryDiskIndex>> {
    if request.storage.disks.is_empty() {
        diagnostics.error(PlanError::NoDisks);
    }
    let mut chosen = Vec::new();
    for spec in &request.storage.disks {
        match select::select(&spec.selector, &spec.path, inventory) {
            Ok(selected) => {
                lints(&selected, &inventory[selected.disk], options, diagnostics);
                chosen.push(Some(selected.disk));
            }
            Err(error) => {
                diagnostics.error(PlanError::Disk {
                    what: error.to_string(),
                    hint: error.hint().to_owned(),
                });
                chosen.push(None);
            }
        }
    }
    twice(request, inventory, &chosen, diagnostics);
    protections(inventory, options, diagnostics);
    unexamined::check(&distinct(&chosen), inventory, diagnostics);
    for index in distinct(&chosen) {
        may_be_written(&inventory[index], inventory, options, diagnostics);
        one_path_of_several(index, inventory, diagnostics);
    }
    chosen
}

/// Everything that forbids writing to `disk`, which nothing is planned for; and what is unusual about it.
pub(super) fn check(
    disk: &Disk,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    protections(inventory, options, diagnostics);
    may_be_written(disk, inventory, options, diagnostics);
    if let Some((index, _)) = inventory.disks().find(|(_, known)| known.path == disk.path) {
        unexamined::check(&[index], inventory, diagnostics);
        one_path_of_several(index, inventory, diagnostics);
    }
}

/// An entry of `protect` that matches no disk protects none, although its author expects it to.
fn protections(inventory: &Inventory, options: &Options, diagnostics: &mut Diagnostics) {
    for entry in options.protects_nothing(inventory) {
        let what = format!("`protect` names `{entry}`, which is not a disk of this node");
        if options.protect_strict {
            let hint = "correct the entry (`provision inventory` shows names, serial numbers and wwns), or unset \
                        `protect.strict`";
            diagnostics.refuse_run(Kind::Refused, what, hint);
        } else {
            diagnostics.warn(format!("{what}: it protects nothing"));
        }
    }
}

/// The chosen disks, each once, in order.
pub(super) fn distinct(chosen: &[Option<InventoryDiskIndex>]) -> Vec<InventoryDiskIndex> {
    let mut seen = Vec::new();
    for index in chosen.iter().flatten() {
        if !seen.contains(index) {
            seen.push(*index);
        }
    }
    seen
}

fn lints(selected: &Selected, disk: &Disk, options: &Options, diagnostics: &mut Diagnostics) {
    if let Some(warning) = &selected.warning {
        diagnostics.warn(warning.clone());
    }
    let device = &disk.path;
    match &selected.objection {
        Some(Objection::NameAlone) if !options.match_by_name => diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} was found by its name alone: none of the ids that were given is on this node"),
            "correct the ids, or set `provision.match=name` if names are stable here",
        ),
        Some(Objection::Contradiction(links)) => diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} was found by its {}, but {links}", selected.how),
            "correct the ids in the request: all of them have to be of one disk (`provision inventory` shows the \
             links)",
        ),
        Some(Objection::NameAlone) | None => {}
    }
}

/// A disk with several paths is written to through one of them.
fn one_path_of_several(
    index: InventoryDiskIndex,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let disk = &inventory[index];
    let others = inventory.other_paths(index);
    if others.is_empty() || disk.multipath {
        return;
    }
    let others = format::list(others.iter().map(|other| inventory[*other].path.as_str()));
    let device = &disk.path;
    diagnostics.warn(format!(
        "{device} and {others} are paths to one medium, which is written to through {device}"
    ));
}

fn twice(
    request: &Request,
    inventory: &Inventory,
    chosen: &[Option<InventoryDiskIndex>],
    diagnostics: &mut Diagnostics,
) {
    for (second, index) in chosen.iter().enumerate() {
        let Some(index) = *index else { continue };
        let paths = inventory.other_paths(index);
        let is_same = |other: &InventoryDiskIndex| *other == index || paths.contains(other);
        let Some((first, other)) = chosen[..second]
            .iter()
            .enumerate()
            .find_map(|(first, other)| Some((first, other.filter(is_same)?)))
        else {
            continue;
        };
        let entry = |position: usize| &request.storage.disks[position].path;
        let (first, second) = (entry(first), entry(second));
        let (device, other) = (&inventory[index].path, &inventory[other].path);
        let medium = if device == other {
            device.clone()
        } else {
            format!("one medium, with the paths {other} and {device}")
        };
        diagnostics.warn(format!("{first} and {second} are the same disk, {medium}"));
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{first} and {second} both mean {medium}"),
            "give each disk its own ids",
        );
    }
}

/// Everything that forbids writing to a disk as such; what is stacked on it is checked in `release`.
fn may_be_written(
    disk: &Disk,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    let device = &disk.path;
    if let Some(entry) = options.protects(disk) {
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} is protected (`{entry}`)"),
            "take it out of the request, or out of `provision.protect`",
        );
    }
    if disk.booted_from {
        diagnostics.refuse_run(
            Kind::Refused,
            format!("the running system was started from {device}"),
            "boot from the network, or choose another disk",
        );
    }
    if disk.mounted {
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} holds a mounted filesystem or active swap"),
            "unmount it (`lsblk` shows what), or choose another disk",
        );
    }
    if disk.read_only {
        diagnostics.refuse_run(
            Kind::Hardware,
            format!("{device} is read-only"),
            "clear its write protection, or choose another disk",
        );
    }
    if disk.removable && !options.allow_removable {
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} is removable"),
            "set `provision.allow_removable` if it is meant",
        );
    }
    if disk.multipath {
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} is a multipath map, which is planned but not yet written to"),
            "choose another disk",
        );
    } else {
        used_through_another_path(disk, inventory, options, diagnostics);
    }
    held(disk, inventory, diagnostics);
}

/// What the kernel does with a disk by another path, it does not know of by this one.
fn used_through_another_path(
    disk: &Disk,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    let device = &disk.path;
    let Some((index, _)) = inventory.disks().find(|(_, known)| known.path == *device) else {
        return;
    };
    for other in inventory.other_paths(index) {
        let other = &inventory[other];
        let active = |stack: &&Stack| stack.active && stack.disks.contains(&other.path);
        let stack = inventory.stacks.iter().find(active);
        let use_of_it = if let Some(entry) = options.protects(other) {
            format!("is protected (`{entry}`)")
        } else if other.booted_from {
            "is what the running system was started from".to_owned()
        } else if other.mounted {
            "holds a mounted filesystem or active swap".to_owned()
        } else if let Some(stack) = stack {
            format!("holds `{}`", stack.name)
        } else if other.holders.is_empty() {
            continue;
        } else {
            format!(
                "is held by {}",
                format::list(other.holders.iter().map(String::as_str))
            )
        };
        diagnostics.refuse_run(
            Kind::Refused,
            format!(
                "{}, which is another path to the medium of {device}, {use_of_it}",
                other.path
            ),
            "release it there, or choose another disk",
        );
    }
}

/// What holds the disk has to be known, or it cannot be released.
fn held(disk: &Disk, inventory: &Inventory, diagnostics: &mut Diagnostics) {
    let device = &disk.path;
    // An inventory written by hand may name a stack without the devices that it provides.
    let vague = |stack: &&Stack| stack.active && stack.nodes.is_empty();
    let on_it = |stack: &&Stack| stack.disks.contains(device);
    let stacks: Vec<&Stack> = inventory.stacks.iter().filter(on_it).collect();
    let strange: Vec<&str> = disk
        .holders
        .iter()
        .filter(|holder| !stacks.iter().any(|stack| stack.nodes.contains(holder)))
        .map(String::as_str)
        .collect();
    if !strange.is_empty() && !stacks.iter().any(vague) {
        let holders = format::list(strange);
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{device} is held by {holders}, which the agent cannot identify"),
            "release it by hand, then plan again",
        );
    }
}
