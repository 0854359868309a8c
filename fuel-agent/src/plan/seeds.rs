//! Other data for cloud-init: the installed system could take an earlier tenant's keys and scripts for its own.

use crate::model::error::Kind;
use crate::model::inventory::{Inventory, Seed};
use crate::model::plan::Plan;

use super::Options;
use super::diagnostics::Diagnostics;
use super::text::format;

/// Refuses a plan that writes cloud-init data where other such data would still be there at the first boot.
pub(super) fn check(
    plan: &Plan,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    let Some(own) = plan.configdrive else {
        return;
    };
    for seed in all(inventory) {
        if is_gone(plan, inventory, &seed) {
            continue;
        }
        let place = match seed.disks.as_slice() {
            [] => " (a medium in a drive)".to_owned(),
            disks if disks.contains(&seed.path) => String::new(),
            disks => format!(" on {}", format::list(disks.iter().map(String::as_str))),
        };
        let what = format!(
            "{}{place} holds other cloud-init data (label `{}`): the installed system could take it for that on {}",
            seed.path,
            seed.label,
            plan.node_of(own)
        );
        if options.allow_other_seeds {
            diagnostics.warn(what);
        } else {
            diagnostics.refuse_run(
                Kind::Refused,
                what,
                "name that disk in the request too, wipe it, or take the medium out; \
                 `provision.allow_other_seeds` allows it",
            );
        }
    }
}

/// Those that were probed, and those that only a partition's label tells of, in an inventory from a file.
fn all(inventory: &Inventory) -> Vec<Seed> {
    let mut seeds = inventory.seeds.clone();
    for disk in &inventory.disks {
        for partition in &disk.partitions {
            let label = partition
                .label
                .as_ref()
                .filter(|label| Seed::is_label(label));
            let is_new = || seeds.iter().all(|seed| seed.path != partition.path);
            if let Some(label) = label.filter(|_| is_new()) {
                seeds.push(Seed {
                    path: partition.path.clone(),
                    label: label.clone(),
                    disks: vec![disk.path.clone()],
                });
            }
        }
    }
    seeds
}

/// Whether nothing of it is left when the installed system starts.
fn is_gone(plan: &Plan, inventory: &Inventory, seed: &Seed) -> bool {
    let is_chosen = |path: &String| {
        let chosen = |path: &str| plan.disks.iter().any(|disk| disk.device == path);
        let found = inventory.disks().find(|(_, disk)| disk.path == *path);
        // Of a medium with several paths one is chosen, and of a volume of the firmware not its members.
        let others = found.map_or_else(Vec::new, |(index, _)| inventory.other_paths(index));
        let mut others = others.iter().map(|other| inventory[*other].path.as_str());
        let mut holders = found.iter().flat_map(|(_, disk)| &disk.holders);
        chosen(path)
            || others.any(chosen)
            || holders.any(|holder| chosen(&format!("/dev/{holder}")))
    };
    if seed.disks.is_empty() || !seed.disks.iter().all(is_chosen) {
        return false;
    }
    if !plan.keeps_partitions {
        return true;
    }
    // What is kept stays; what gets a filesystem or our own data does not.
    let own = plan.configdrive.map(|on| plan.node_of(on));
    let mut made = plan
        .filesystems
        .iter()
        .filter(|filesystem| !filesystem.keep_data || filesystem.image.is_some());
    own.is_some_and(|own| own == seed.path) || made.any(|made| made.device == seed.path)
}
