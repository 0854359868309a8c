//! Which disks of the node are chosen, and whether they may be written to at all.

use crate::inventory::select::{self, Selected};
use crate::inventory::{Disk, Inventory, Stack};
use crate::model::error::Kind;
use crate::model::request::Request;

use super::diagnostics::Diagnostics;
use super::text::format;
use super::{Options, PlanError};
use crate::model::plan::Refusal;

/// For each disk of the request its index in the inventory; `None` where none can be told (then there is an error).
pub(super) fn choose(
    request: &Request,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Vec<Option<usize>> {
    if request.storage.disks.is_empty() {
        diagnostics.error(PlanError::NoDisks);
    }
    let mut chosen = Vec::new();
    for spec in &request.storage.disks {
        match select::select(&spec.selector, &spec.path, inventory) {
            Ok(selected) => {
                lints(
                    &selected,
                    &inventory.disks[selected.disk],
                    options,
                    diagnostics,
                );
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
    for index in distinct(&chosen) {
        may_be_written(&inventory.disks[index], inventory, options, diagnostics);
    }
    chosen
}

/// Everything that forbids writing to `disk`, whoever asks.
pub fn refusals(disk: &Disk, inventory: &Inventory, options: &Options) -> Vec<Refusal> {
    let mut diagnostics = Diagnostics::default();
    may_be_written(disk, inventory, options, &mut diagnostics);
    diagnostics.refusals
}

/// The chosen disks, each once, in order.
pub(super) fn distinct(chosen: &[Option<usize>]) -> Vec<usize> {
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
    if selected.name_fallback_despite_ids && !options.match_by_name {
        diagnostics.refuse_run(
            Kind::Refused,
            format!(
                "{} was found by its name alone: none of the ids that were given is on this node",
                disk.path
            ),
            "correct the ids, or set `provision.match=name` if names are stable here",
        );
    }
}

fn twice(
    request: &Request,
    inventory: &Inventory,
    chosen: &[Option<usize>],
    diagnostics: &mut Diagnostics,
) {
    for (second, index) in chosen.iter().enumerate() {
        let Some(index) = index else { continue };
        let Some(first) = chosen[..second]
            .iter()
            .position(|other| *other == Some(*index))
        else {
            continue;
        };
        let (disks, device) = (&request.storage.disks, &inventory.disks[*index].path);
        diagnostics.warn(format!(
            "{} and {} are the same disk, {device}",
            disks[first].path, disks[second].path
        ));
        diagnostics.refuse_run(
            Kind::Refused,
            format!(
                "{} and {} both mean {device}",
                disks[first].path, disks[second].path
            ),
            "give each disk its own ids",
        );
    }
}

/// Everything that forbids writing to a disk as such; what is stacked on it is looked at in `release`.
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
    }
    held(disk, inventory, diagnostics);
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
            format!("{device} is held by {holders}, and what that is cannot be told"),
            "release it by hand, then plan again",
        );
    }
}
