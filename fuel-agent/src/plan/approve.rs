//! The last check before the first write: whether the chosen disks still are what was planned for. Only a plan that has
//! passed it can be carried out.

use std::ops::Deref;

use crate::model::inventory::{Disk, Inventory, Stack};
use crate::model::plan::Plan;

/// A plan that nothing refuses and that was compared with a fresh inventory of the node. `apply` takes no other.
#[derive(Clone, Debug)]
pub struct ApprovedPlan(Plan);

impl Deref for ApprovedPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

#[cfg(test)]
impl ApprovedPlan {
    /// For tests of single steps: there is no node that it could be compared with.
    pub(crate) const fn assumed(plan: Plan) -> Self {
        Self(plan)
    }
}

/// Why a plan is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApproved {
    /// The plan itself is refused, with its first refusal.
    Refused(String),
    /// The node is not as it was when it was planned for; with the difference.
    Changed(String),
    /// The inventory that was planned with is another node's; with the difference.
    OtherNode(String),
}

/// Compares the node as it was planned for with what it is `now`; and, where the inventory came from a file, with the
/// node's own inventory, `real`.
pub fn approve(
    plan: &Plan,
    before: &Inventory,
    now: &Inventory,
    real: Option<&Inventory>,
) -> Result<ApprovedPlan, NotApproved> {
    if let Some(refusal) = plan.refusals.first() {
        return Err(NotApproved::Refused(refusal.what.clone()));
    }
    if let Some(what) = since(plan, before, now) {
        return Err(NotApproved::Changed(what));
    }
    if let Some(what) = real.and_then(|real| contradiction(plan, before, real)) {
        return Err(NotApproved::OtherNode(what));
    }
    Ok(ApprovedPlan(plan.clone()))
}

/// What is different about a chosen disk, or about what is on one, since the inventory was read; `None` if nothing is.
fn since(plan: &Plan, before: &Inventory, now: &Inventory) -> Option<String> {
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

/// Where the file's entry of a chosen disk contradicts the node itself, so that the plan would be a mistake. A disk
/// that only the file has may be one that is not part of an inventory, like a loop device; claiming it finds out
/// whether it exists and is free.
fn contradiction(plan: &Plan, file: &Inventory, real: &Inventory) -> Option<String> {
    plan.disks.iter().find_map(|planned| {
        let stated = disk(file, &planned.device)?;
        let real = disk(real, &planned.device).or_else(|| linked(real, &planned.device))?;
        let differs = |stated: &str, real: &str| !stated.is_empty() && stated != real;
        let what = if real.mounted {
            "is mounted"
        } else if real.booted_from {
            "is what this system was started from"
        } else if real.read_only {
            "is read-only"
        } else if stated.size_bytes != real.size_bytes {
            "has another size"
        } else if stated.logical_sector_size.max(512) != real.logical_sector_size.max(512) {
            "has sectors of another size"
        } else if differs(&stated.serial, &real.serial) || differs(&stated.wwn, &real.wwn) {
            "is another disk"
        } else {
            return None;
        };
        Some(format!("{} {what}", planned.device))
    })
}

/// The disk that a link of that name leads to.
fn linked<'i>(inventory: &'i Inventory, link: &str) -> Option<&'i Disk> {
    let has = |disk: &&Disk| disk.links.iter().any(|known| known == link);
    inventory.disks.iter().find(has)
}

fn disk<'i>(inventory: &'i Inventory, path: &str) -> Option<&'i Disk> {
    inventory.disks.iter().find(|disk| disk.path == path)
}

fn lies_on(stack: &Stack, plan: &Plan) -> bool {
    let chosen = |path: &String| plan.disks.iter().any(|disk| disk.device == *path);
    stack.disks.iter().any(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Kind;
    use crate::model::plan::{Refusal, RefusedBy};
    use crate::testing::sample_request::{empty_disk, lvm_request, node, plan_of};

    #[test]
    fn a_file_does_not_talk_the_node_out_of_what_it_knows() {
        type Change = fn(&mut Disk);
        let stated = node(vec![empty_disk("/dev/sda", 20 << 10)]);
        let plan = plan_of(&lvm_request(), &stated).unwrap();
        let contradicted = |change: fn(&mut Disk)| {
            let mut disk = empty_disk("/dev/sda", 20 << 10);
            change(&mut disk);
            contradiction(&plan, &stated, &node(vec![disk]))
        };
        assert_eq!(contradicted(|_| ()), None);
        assert_eq!(contradiction(&plan, &stated, &node(Vec::new())), None);
        let changes: [(Change, &str); 6] = [
            (|disk| disk.mounted = true, "is mounted"),
            (
                |disk| disk.booted_from = true,
                "is what this system was started from",
            ),
            (|disk| disk.read_only = true, "is read-only"),
            (|disk| disk.size_bytes.0 += 512, "has another size"),
            (
                |disk| disk.logical_sector_size = 4096,
                "has sectors of another size",
            ),
            (|disk| disk.serial.push('x'), "is another disk"),
        ];
        for (change, what) in changes {
            assert_eq!(contradicted(change), Some(format!("/dev/sda {what}")));
        }
    }

    #[test]
    fn only_a_plan_that_nothing_refuses_for_a_node_that_is_as_it_was_is_approved() {
        let found = node(vec![empty_disk("/dev/sda", 20 << 10)]);
        let mut plan = plan_of(&lvm_request(), &found).unwrap();
        approve(&plan, &found, &found, Some(&found)).unwrap();
        let gone = approve(&plan, &found, &node(Vec::new()), None).unwrap_err();
        assert_eq!(gone, NotApproved::Changed("/dev/sda is gone".to_owned()));
        let mut other = found.clone();
        other.disks[0].read_only = true;
        let refused = approve(&plan, &found, &found, Some(&other)).unwrap_err();
        let why = "/dev/sda is read-only".to_owned();
        assert_eq!(refused, NotApproved::OtherNode(why));
        plan.refusals.push(Refusal {
            kind: Kind::Refused,
            by: RefusedBy::Run,
            what: "no".to_owned(),
            hint: String::new(),
        });
        let refused = approve(&plan, &found, &found, None).unwrap_err();
        assert_eq!(refused, NotApproved::Refused("no".to_owned()));
    }
}
