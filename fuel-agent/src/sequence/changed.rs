//! The last look at the chosen disks: whether they still are what was planned for, and what on them will be gone.

use std::collections::BTreeSet;

use crate::inventory::{Disk, Inventory, Stack};
use crate::plan::Plan;
use crate::plan::step::Step;

/// What is different about a chosen disk, or about what lies on one, since it was looked at; `None` if nothing is.
pub(super) fn since(plan: &Plan, before: &Inventory, now: &Inventory) -> Option<String> {
    for planned in &plan.disks {
        let find = |inventory: &'_ Inventory| disk(inventory, &planned.device).cloned();
        match (find(before), find(now)) {
            (Some(before), Some(now)) if before == now => {}
            (Some(_), Some(_)) => return Some(format!("{} looks different", planned.device)),
            _ => return Some(format!("{} is gone", planned.device)),
        }
    }
    let stacks = |inventory: &Inventory| -> Vec<Stack> {
        let chosen = |stack: &&Stack| lies_on(stack, plan);
        inventory.stacks.iter().filter(chosen).cloned().collect()
    };
    (stacks(before) != stacks(now)).then(|| "what lies on the chosen disks is different".to_owned())
}

fn disk<'i>(inventory: &'i Inventory, path: &str) -> Option<&'i Disk> {
    inventory.disks.iter().find(|disk| disk.path == path)
}

fn lies_on(stack: &Stack, plan: &Plan) -> bool {
    let chosen = |path: &String| plan.disks.iter().any(|disk| disk.device == *path);
    stack.disks.iter().any(chosen)
}

/// A line for each chosen disk: what will be overwritten.
pub(super) fn overwritten(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    plan.disks
        .iter()
        .map(|planned| {
            let verb = if plan.keeps_partitions {
                "changes parts of"
            } else {
                "overwrites"
            };
            let found = disk(inventory, &planned.device).map_or_else(Vec::new, content);
            let content = if found.is_empty() {
                "nothing known on it".to_owned()
            } else {
                found.join(", ")
            };
            let id = match planned.disk_id.as_str() {
                "" => String::new(),
                id => format!(", {id}"),
            };
            format!("{verb} {}, {}{id}: {content}", planned.device, planned.size)
        })
        .collect()
}

/// What is known to be on a disk.
fn content(disk: &Disk) -> Vec<String> {
    let whole = disk.signature.iter().cloned();
    let parts = disk.partitions.iter().map(|part| {
        let signature = part.signature.as_deref().unwrap_or("unknown");
        let label = part.label.as_deref().map(|label| format!(" `{label}`"));
        format!("{signature}{} on {}", label.unwrap_or_default(), part.path)
    });
    whole.chain(parts).collect()
}

/// The disks, by index, that cannot be claimed before the release: an array, a volume group or a mapping lies on them.
pub(super) fn released_disks(plan: &Plan, inventory: &Inventory) -> BTreeSet<usize> {
    let releases = plan.steps.iter().any(|step| {
        matches!(
            step.step,
            Step::StopRaid { .. } | Step::DeactivateVolumeGroup { .. } | Step::CloseMapping { .. }
        )
    });
    let held = |device: &str| {
        inventory
            .stacks
            .iter()
            .any(|stack| stack.disks.iter().any(|disk| disk == device))
            || disk(inventory, device).is_some_and(|disk| !disk.holders.is_empty())
    };
    (0..plan.disks.len())
        .filter(|index| releases && held(&plan.disks[*index].device))
        .collect()
}
