//! Release of what is stacked on the chosen disks; and activation of what is kept of it.

use std::path::{Path, PathBuf};

use host::blockdev::Access;
use host::exec::Cmd;

use super::context::{Context, disk_error, is_not_there};
use super::lvm::lvm;
use super::outcome::Outcome;
use super::{lvm as groups, probe, raid};
use crate::model::error::{Error, Kind};
use crate::model::step::{Release, Step};
use crate::tools::Tool;

/// Lets go of one thing.
pub(super) fn perform(context: &mut Context<'_>, step: &Release) -> Result<Outcome, Error> {
    match step {
        Release::StopRaid { device, .. } => stop_raid(context, device),
        Release::DeactivateVolumeGroup { name } => deactivate_volume_group(context, name),
        Release::CloseMapping { name } => close_mapping(context, name),
    }
}

/// Stops an array, and writes nothing: the superblocks of its members go with the first wipe, after the disks were
/// disarmed. An array taken from under boot code that still starts would leave the node hanging there.
pub(super) fn stop_raid(context: &mut Context<'_>, device: &str) -> Result<Outcome, Error> {
    // udev may still be looking into it: that alone makes it busy.
    context.settle()?;
    if is_there(context, Path::new(device))? {
        let cmd = Cmd::new(Tool::Mdadm).args(["--stop", device]);
        context
            .run(&cmd, || format!("cannot stop the array {device}"))
            .map_err(|error| {
                let error = error.device(device);
                error.hint("`lsblk` shows what still lies on it")
            })?;
    }
    Ok(Outcome::Changed)
}

/// Whether a device node opens: that of an array that is not assembled does not.
pub(super) fn is_there(context: &Context<'_>, node: &Path) -> Result<bool, Error> {
    match context.host.devices.open(node, Access::Read) {
        Ok(_) => Ok(true),
        Err(error) if is_not_there(&error) => Ok(false),
        Err(error) => Err(disk_error(
            format!("cannot look at {}", node.display()),
            node,
        )(error)),
    }
}

fn deactivate_volume_group(context: &mut Context<'_>, name: &str) -> Result<Outcome, Error> {
    let nodes = chosen_nodes(context)?;
    deactivate(context, name, nodes)
}

/// Deactivates the volume groups of that name on these nodes, and sees that it is so.
pub(super) fn deactivate(
    context: &mut Context<'_>,
    name: &str,
    nodes: impl IntoIterator<Item = PathBuf>,
) -> Result<Outcome, Error> {
    context.settle()?;
    let nodes: Vec<PathBuf> = nodes.into_iter().collect();
    // By selection, not by name: two old groups of the same name on the chosen disks are no reason to stop.
    let select = format!("vg_name={name}");
    let cmd = lvm("vgchange", &nodes)?.args(["--activate", "n", "--select", &select]);
    let what = || format!("cannot deactivate the volume group `{name}`");
    context.run(&cmd, what)?;
    // LVM is content where it found nothing to do, also because it could not read the group.
    let select = format!("vg_name={name} && lv_active=active");
    let cmd = lvm("lvs", &nodes)?.args([
        "--noheadings",
        "--options",
        "lv_full_name",
        "--select",
        &select,
    ]);
    let active = context.run(&cmd, what)?.stdout;
    if let Some(volume) = active.split_whitespace().next() {
        let what = format!("the logical volume `{volume}` is still active");
        return Err(Error::new(Kind::Disk, what)
            .device(volume)
            .hint("`lsblk` shows what uses it"));
    }
    Ok(Outcome::Changed)
}

/// Everything on the chosen disks that may be a physical volume: the disks, their partitions as the kernel has them
/// now, and the arrays and mappings on them that are released after their volume groups.
fn chosen_nodes(context: &Context<'_>) -> Result<Vec<PathBuf>, Error> {
    let mut nodes = Vec::new();
    for (disk, _) in context.plan.disks() {
        let path = context.disk(disk);
        nodes.push(path.to_owned());
        let what = || format!("cannot look at the partitions of {}", path.display());
        let known = context.host.devices.partitions(path);
        for (number, _) in known.map_err(|source| disk_error(what(), path)(source))? {
            let node = context.host.devices.partition(path, number);
            nodes.push(node.map_err(|source| disk_error(what(), path)(source))?);
        }
    }
    for planned in &context.plan.steps {
        match &planned.step {
            Step::Release(Release::StopRaid { device, .. }) => nodes.push(PathBuf::from(device)),
            Step::Release(Release::CloseMapping { name }) => nodes.push(mapping(name)),
            Step::Release(Release::DeactivateVolumeGroup { .. })
            | Step::Disarm { .. }
            | Step::Make(_)
            | Step::ActivateKept
            | Step::Image(_)
            | Step::Configure(_)
            | Step::Verify
            | Step::Arm(_) => {}
        }
    }
    Ok(nodes)
}

fn mapping(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(name)
}

fn close_mapping(context: &mut Context<'_>, name: &str) -> Result<Outcome, Error> {
    context.settle()?;
    let name = name.strip_prefix("/dev/mapper/").unwrap_or(name);
    // dmsetup itself tries again while udev has the node open.
    let cmd = Cmd::new(Tool::Dmsetup).args(["remove", "--retry", name]);
    context
        .run(&cmd, || format!("cannot close the mapping `{name}`"))
        .map_err(|error| {
            let error = error.device(mapping(name).display());
            error.hint("`lsblk` shows what still lies on it")
        })?;
    Ok(Outcome::Changed)
}

/// Assembles the arrays and activates the volume groups that the kept layout has, from their planned members only.
pub(super) fn activate_kept(context: &mut Context<'_>) -> Result<Outcome, Error> {
    if let Some(skipped) =
        context.skipped_on_files("what is kept in arrays and volume groups needs a block device")
    {
        return Ok(skipped);
    }
    for planned in &context.plan.raids {
        assemble(context, &planned.device, &planned.members)?;
    }
    for group in &context.plan.volume_groups {
        let nodes = groups::nodes(context, group)?;
        let cmd = lvm("vgchange", &nodes)?.args(["--activate", "y", &group.name]);
        context
            .run(&cmd, || {
                format!("cannot activate the kept volume group `{}`", group.name)
            })
            .map_err(|error| {
                error.hint("`lvm pvs` shows what is there; without `keep_data` it is made anew")
            })?;
    }
    for planned in &context.plan.logical_volumes {
        context.await_node(Path::new(&planned.device))?;
    }
    probe::kept_stacks(context)?;
    Ok(Outcome::Changed)
}

fn assemble(
    context: &mut Context<'_>,
    device: &str,
    members: &[crate::model::storage::BlockRef],
) -> Result<(), Error> {
    let members = raid::nodes(context, members)?;
    context.settle()?;
    // What is there now is on other disks: what was on the chosen ones was released.
    if is_there(context, Path::new(device))? {
        let what = format!("{device} is another array than the one that is kept");
        return Err(Error::new(Kind::Refused, what).device(device).hint(format!(
            "stop it with `mdadm --stop {device}`, then run again"
        )));
    }
    // A mirror with a member missing starts as well: it is kept data, and the installed system will report it.
    let cmd = Cmd::new(Tool::Mdadm)
        .args(["--assemble", device, "--run"])
        .args(&members);
    context
        .run(&cmd, || format!("cannot assemble the kept array {device}"))
        .map_err(|error| {
            let error = error.device(device);
            error.hint("`mdadm --examine` on its members shows what is there; without `keep_data` it is made anew")
        })?;
    context.await_node(Path::new(device))
}

#[cfg(test)]
mod tests;
