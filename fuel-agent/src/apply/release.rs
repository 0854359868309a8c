//! Letting go of what lies on the chosen disks, and activating what is kept on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use host::exec::{Cmd, Tool};
use host::settle;

use super::lvm::lvm;
use super::raid::{on_file, skipped};
use super::{Context, Outcome};
use crate::error::{Error, Kind};

/// How long something may stay busy, udev's own looking at it included.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// Runs a command that may find its object busy for a moment.
fn patiently(context: &mut Context<'_>, cmd: &Cmd, what: &str) -> Result<Outcome, Error> {
    let mut last = None;
    let cancel = context.host.cancel.clone();
    let done =
        settle::until_or_cancelled(BUSY_LIMIT, &cancel, || match context.host.exec.run(cmd) {
            Ok(_) => Ok(Some(())),
            Err(error) => {
                last = Some(error);
                Ok(None)
            }
        });
    match (done, last) {
        (Ok(()), _) => Ok(Outcome::Changed),
        (Err(_), Some(source)) => Err(Error::new(Kind::Refused, what)
            .because(source)
            .hint("`lsblk` shows who holds it")),
        (Err(source), None) => Err(Error::new(Kind::Interrupted, what).because(source)),
    }
}

/// Stops an array. The superblocks of its members go with the first wipe, after the disks were disarmed: an array taken
/// from under boot code that still starts would leave the node hanging there.
pub(super) fn stop_raid(context: &mut Context<'_>, device: &str) -> Result<Outcome, Error> {
    if Path::new(device).exists() {
        let cmd = Cmd::new(Tool::Mdadm).args(["--stop", device]);
        patiently(context, &cmd, &format!("cannot stop the array {device}"))?;
    }
    Ok(Outcome::Changed)
}

/// Deactivates a volume group.
pub(super) fn deactivate_volume_group(
    context: &mut Context<'_>,
    name: &str,
) -> Result<Outcome, Error> {
    let cmd = Cmd::new(Tool::Lvm)
        .args([
            "vgchange",
            "--config",
            "devices { use_devicesfile=0 }",
            "--activate",
            "n",
            name,
        ])
        // 5: it has gone meanwhile, with the array it was on
        .accept(&[0, 5]);
    patiently(
        context,
        &cmd,
        &format!("cannot deactivate the volume group `{name}`"),
    )
}

/// Closes a mapping.
pub(super) fn close_mapping(context: &mut Context<'_>, name: &str) -> Result<Outcome, Error> {
    let cmd = Cmd::new(Tool::Dmsetup).args(["remove", "--retry", name]);
    patiently(context, &cmd, &format!("cannot close the mapping `{name}`"))
}

/// Assembles kept arrays and activates kept volume groups, from the plan's own devices only.
pub(super) fn activate_kept(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let parts: Vec<_> = context
        .plan
        .raids
        .iter()
        .flat_map(|raid| raid.members.clone())
        .collect();
    let volumes: Vec<_> = context
        .plan
        .physical_volumes
        .iter()
        .map(|pv| pv.on)
        .collect();
    if on_file(context, &parts) || on_file(context, &volumes) {
        return Ok(skipped("what is kept in arrays and volume groups"));
    }
    for index in 0..context.plan.raids.len() {
        let raid = context.plan.raids[index].clone();
        let members = raid
            .members
            .iter()
            .map(|part| context.node(*part))
            .collect::<Result<Vec<PathBuf>, Error>>()?;
        if context
            .host
            .devices
            .open(Path::new(&raid.device), host::blockdev::Access::Read)
            .is_ok()
        {
            continue;
        }
        let cmd = Cmd::new(Tool::Mdadm)
            .args(["--assemble", "--run", &raid.device])
            .args(&members);
        patiently(
            context,
            &cmd,
            &format!("cannot assemble the kept array {}", raid.device),
        )?;
    }
    for index in 0..context.plan.volume_groups.len() {
        let group = context.plan.volume_groups[index].clone();
        let nodes = group
            .physical_volumes
            .iter()
            .map(|pv| context.node(context.plan.physical_volumes[*pv].on))
            .collect::<Result<Vec<PathBuf>, Error>>()?;
        let cmd = lvm("vgchange", &nodes).args(["--activate", "y", &group.name]);
        patiently(
            context,
            &cmd,
            &format!("cannot activate the kept volume group `{}`", group.name),
        )?;
    }
    Ok(Outcome::Changed)
}
