//! Whether a device may be written to as a whole, or as a part of a disk.

use super::super::diagnostics::Diagnostics;
use super::super::{Options, disks};
use super::{Target, TargetKind};
use crate::model::error::Kind;
use crate::model::inventory::Disk;

/// Refuses a disk, or a partition of one, that `run` would not touch either, and one on which something is stacked:
/// nothing is released here. Devices that are not disks (loop devices, volumes, arrays) are left to the kernel, which
/// opens none that is in use, unless they or the disks below them are protected.
pub(super) fn check(target: &Target, options: &Options, diagnostics: &mut Diagnostics) {
    if target.kind == TargetKind::File {
        return;
    }
    let (path, node) = (&target.disk.path, &target.node);
    let is_on =
        |disk: &&Disk| disk.path == *path || disk.partitions.iter().any(|part| part.path == *path);
    let Some(disk) = node.disks.iter().find(is_on) else {
        return protected(target, options, diagnostics);
    };
    disks::check(disk, node, options, diagnostics);
    for stack in &node.stacks {
        if stack.disks.contains(&disk.path) && (stack.active || stack.disks.len() > 1) {
            diagnostics.refuse_run(
                Kind::Refused,
                format!("`{}` lies on {}", stack.name, disk.path),
                "stop it and wipe its members first, or choose another disk",
            );
        }
    }
}

/// Refuses a device that is no disk, where it or a disk below it is protected.
fn protected(target: &Target, options: &Options, diagnostics: &mut Diagnostics) {
    let (path, node) = (&target.disk.path, &target.node);
    let name = path.strip_prefix("/dev/").unwrap_or(path).to_owned();
    let stacks = node.stacks.iter();
    let stacks = stacks.filter(|stack| stack.nodes.contains(&name));
    let below = stacks.flat_map(|stack| &stack.disks);
    let below = below.filter_map(|path| node.disks.iter().find(|disk| disk.path == *path));
    let mut disks = below.chain([&target.disk]);
    let found = disks.find_map(|disk| Some((disk, options.protects(disk)?)));
    if let Some((disk, entry)) = found {
        diagnostics.refuse_run(
            Kind::Refused,
            format!("{} is protected (`{entry}`)", disk.path),
            "choose another target, or take the disk out of `provision.protect`",
        );
    }
}
