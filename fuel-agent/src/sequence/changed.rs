//! What is on the chosen disks before the first write: what will be gone, and what has to be released first.

use std::collections::BTreeSet;

use super::executor::Geometry;
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::inventory::{Disk, Inventory};
use crate::model::plan::{Plan, PlannedDisk};
use crate::model::step::Step;

/// Whether an opened disk is as large, and has such sectors, as the plan was made for: it may be one that is only in an
/// inventory file, or have changed since.
pub(super) fn is_as_planned(planned: &PlannedDisk, found: Geometry) -> Result<(), Error> {
    let device = &planned.device;
    let (what, planned, found) = if planned.size != found.size {
        ("size", planned.size, found.size)
    } else if planned.sector_size != found.sector_size {
        ("sector size", planned.sector_size, found.sector_size)
    } else {
        return Ok(());
    };
    let what = format!("the {what} of {device} is {found}, and the plan was made for {planned}");
    Err(Error::new(Kind::Refused, what)
        .device(device)
        .hint("make the inventory anew (`provision inventory --format json`), or run without `--inventory`"))
}

fn disk<'i>(inventory: &'i Inventory, path: &str) -> Option<&'i Disk> {
    inventory.disks.iter().find(|disk| disk.path == path)
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

/// What is known to be on a disk, for comparison.
fn content(disk: &Disk) -> Vec<String> {
    let whole = disk.signature.iter().cloned();
    let parts = disk.partitions.iter().map(|part| {
        let signature = part.signature.as_deref().unwrap_or("unknown");
        let label = part.label.as_deref().map(|label| format!(" `{label}`"));
        format!("{signature}{} on {}", label.unwrap_or_default(), part.path)
    });
    whole.chain(parts).collect()
}

/// The disks that cannot be claimed before the release: an array, a volume group or a mapping is on them.
pub(super) fn released_disks(plan: &Plan, inventory: &Inventory) -> BTreeSet<DiskIndex> {
    let releases = (plan.steps.iter()).any(|step| matches!(step.step, Step::Release(_)));
    let held = |device: &str| {
        inventory
            .stacks
            .iter()
            .any(|stack| stack.disks.iter().any(|disk| disk == device))
            || disk(inventory, device).is_some_and(|disk| !disk.holders.is_empty())
    };
    let disks = plan.disks();
    let held = disks.filter(|(_, disk)| releases && held(&disk.device));
    held.map(|(disk, _)| disk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_request::{empty_disk, lvm_request, node, plan_of};

    #[test]
    fn what_was_there_is_named_before_it_is_overwritten() {
        let mut disk = empty_disk("/dev/sda", 20 << 10);
        disk.partitions
            .push(crate::model::inventory::ExistingPartition {
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
    }
}
