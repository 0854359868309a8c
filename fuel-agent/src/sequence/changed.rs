//! The last look at the chosen disks: whether they still are what was planned for, and what on them will be gone.

use std::collections::BTreeSet;

use crate::inventory::{Disk, Inventory, Stack};
use crate::model::plan::Plan;
use crate::model::step::Step;

/// What is different about a chosen disk, or about what lies on one, since it was looked at; `None` if nothing is.
pub(super) fn since(plan: &Plan, before: &Inventory, now: &Inventory) -> Option<String> {
    for planned in &plan.disks {
        // udev may find one more link meanwhile; that makes no other disk of it.
        let find = |inventory: &Inventory| {
            let found = disk(inventory, &planned.device).cloned()?;
            Some(Disk {
                links: Vec::new(),
                ..found
            })
        };
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

/// What the node knows better than a file about a chosen disk, where that would make the plan a mistake. A disk that only
/// the file knows may be one that is never looked for, like a loop device; claiming it tells whether it is there and free.
pub(super) fn contradiction(plan: &Plan, file: &Inventory, real: &Inventory) -> Option<String> {
    plan.disks.iter().find_map(|planned| {
        let said = disk(file, &planned.device)?;
        let real = disk(real, &planned.device)?;
        let differs = |said: &str, real: &str| !said.is_empty() && said != real;
        let what = if real.mounted {
            "is mounted"
        } else if real.booted_from {
            "is what this system was started from"
        } else if real.read_only {
            "is read-only"
        } else if said.size_bytes != real.size_bytes {
            "has another size"
        } else if differs(&said.serial, &real.serial) || differs(&said.wwn, &real.wwn) {
            "is another disk"
        } else {
            return None;
        };
        Some(format!("{} {what}", planned.device))
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample::{empty_disk, lvm_request, node, plan_of};

    #[test]
    fn a_file_does_not_talk_the_node_out_of_what_it_knows() {
        type Change = fn(&mut Disk);
        let said = node(vec![empty_disk("/dev/sda", 20 << 10)]);
        let plan = plan_of(&lvm_request(), &said).unwrap();
        let spoilt = |change: fn(&mut Disk)| {
            let mut disk = empty_disk("/dev/sda", 20 << 10);
            change(&mut disk);
            contradiction(&plan, &said, &node(vec![disk]))
        };
        assert_eq!(spoilt(|_| ()), None);
        assert_eq!(contradiction(&plan, &said, &node(Vec::new())), None);
        let changes: [(Change, &str); 5] = [
            (|disk| disk.mounted = true, "is mounted"),
            (
                |disk| disk.booted_from = true,
                "is what this system was started from",
            ),
            (|disk| disk.read_only = true, "is read-only"),
            (|disk| disk.size_bytes.0 += 512, "has another size"),
            (|disk| disk.serial.push('x'), "is another disk"),
        ];
        for (change, what) in changes {
            assert_eq!(spoilt(change), Some(format!("/dev/sda {what}")));
        }
    }

    #[test]
    fn what_was_there_is_named_before_it_is_overwritten() {
        let mut disk = empty_disk("/dev/sda", 20 << 10);
        disk.partitions.push(crate::inventory::ExistingPartition {
            number: 1,
            path: "/dev/sda1".to_owned(),
            signature: Some("ext4".to_owned()),
            label: Some("data".to_owned()),
            ..Default::default()
        });
        let found = node(vec![disk]);
        let plan = plan_of(&lvm_request(), &found).unwrap();
        let text = overwritten(&plan, &found).join("\n");
        insta::assert_snapshot!(text, @"overwrites /dev/sda, 20 GiB, SN-sda: ext4 `data` on /dev/sda1");
        assert_eq!(since(&plan, &found, &found), None);
        assert_eq!(
            since(&plan, &found, &node(Vec::new())),
            Some("/dev/sda is gone".to_owned())
        );
    }
}
