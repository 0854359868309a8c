//! What is stacked on the disks now: released where it is wholly on chosen disks, a reason to refuse where it is not.

use std::path::Path;

use crate::model::error::Kind;
use crate::model::inventory::{Inventory, Stack, StackKind};

use super::diagnostics::Diagnostics;
use super::text::format;
use crate::model::plan::Plan;
use crate::model::step::{Release, Step};

/// Steps that release everything on the chosen disks, from the top down.
pub(super) fn steps(
    plan: &Plan,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) -> Vec<Step> {
    let is_chosen = |device: &String| plan.disks.iter().any(|disk| disk.device == *device);
    // What is on another path to a chosen disk is on that disk too.
    let paths = other_paths(plan, inventory);
    let chosen = |device: &String| is_chosen(device) || paths.contains(device);
    let mut ours: Vec<&Stack> = Vec::new();
    for stack in inventory
        .stacks
        .iter()
        .filter(|stack| stack.disks.iter().any(is_chosen))
    {
        let strangers: Vec<&str> = stack
            .disks
            .iter()
            .filter(|disk| !chosen(disk))
            .map(String::as_str)
            .collect();
        if strangers.is_empty() {
            ours.push(stack);
        } else {
            diagnostics.refuse_run(
                Kind::Refused,
                format!(
                    "{} `{}` lies on {} too, which the request does not name",
                    noun(stack.kind),
                    stack.name,
                    format::list(strangers)
                ),
                "name that disk as well, or take the disk out of it by hand first",
            );
        }
    }
    top_down(ours).into_iter().filter_map(step).collect()
}

/// The devices of other paths to the plan's disks.
fn other_paths(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let chosen = inventory
        .disks()
        .filter(|(_, disk)| plan.disks.iter().any(|it| it.device == disk.path));
    chosen
        .flat_map(|(index, _)| inventory.other_paths(index))
        .map(|other| inventory[other].path.clone())
        .collect()
}

/// What kind of stack, for a sentence.
const fn noun(kind: StackKind) -> &'static str {
    match kind {
        StackKind::Raid => "array",
        StackKind::VolumeGroup => "volume group",
        StackKind::Crypt => "crypt mapping",
        StackKind::Btrfs => "btrfs",
        StackKind::Mapping => "mapping",
    }
}

/// `None` for a btrfs: unmounted, it holds nothing.
fn step(stack: &Stack) -> Option<Step> {
    match stack.kind {
        StackKind::Raid => Some(Step::Release(Release::StopRaid {
            device: stack.name.clone(),
            members: stack
                .members
                .iter()
                .map(|member| member.display().to_string())
                .collect(),
        })),
        StackKind::VolumeGroup => Some(Step::Release(Release::DeactivateVolumeGroup {
            name: stack.name.clone(),
        })),
        StackKind::Crypt | StackKind::Mapping => Some(Step::Release(Release::CloseMapping {
            name: stack.name.clone(),
        })),
        StackKind::Btrfs => None,
    }
}

/// Those that nothing else is built on first; where that is unknown, mappings before groups before arrays, then by
/// name.
fn top_down(mut stacks: Vec<&Stack>) -> Vec<&Stack> {
    stacks.sort_by(|a, b| (height(a.kind), &a.name).cmp(&(height(b.kind), &b.name)));
    let mut ordered: Vec<&Stack> = Vec::new();
    while !stacks.is_empty() {
        let free = stacks
            .iter()
            .position(|stack| {
                !stacks
                    .iter()
                    .any(|other| !std::ptr::eq(*other, *stack) && lies_on(other, stack))
            })
            // Members that are built on each other in a ring cannot be; take them as they come rather than hang.
            .unwrap_or(0);
        ordered.push(stacks.remove(free));
    }
    ordered
}

const fn height(kind: StackKind) -> u8 {
    match kind {
        StackKind::Crypt | StackKind::Mapping => 0,
        StackKind::Btrfs => 1,
        StackKind::VolumeGroup => 2,
        StackKind::Raid => 3,
    }
}

fn lies_on(above: &Stack, below: &Stack) -> bool {
    above.members.iter().any(|member| is_node_of(member, below))
}

/// Whether `node` is a device that `stack` provides.
fn is_node_of(node: &Path, stack: &Stack) -> bool {
    let node = node.to_string_lossy();
    let kernel_name = node.strip_prefix("/dev/").unwrap_or(&node);
    if stack.nodes.iter().any(|provided| provided == kernel_name) {
        return true;
    }
    match stack.kind {
        StackKind::Raid => *node == stack.name || node.strip_prefix("/dev/") == Some(&stack.name),
        StackKind::VolumeGroup => {
            node.strip_prefix("/dev/mapper/")
                .and_then(|rest| rest.strip_prefix(&stack.name.replace('-', "--")))
                .is_some_and(|rest| rest.starts_with('-') && !rest.starts_with("--"))
                || node
                    .strip_prefix("/dev/")
                    .and_then(|rest| rest.strip_prefix(stack.name.as_str()))
                    .is_some_and(|rest| rest.starts_with('/'))
        }
        StackKind::Crypt | StackKind::Mapping => {
            *node == stack.name || node.strip_prefix("/dev/mapper/") == Some(&stack.name)
        }
        StackKind::Btrfs => false,
    }
}
