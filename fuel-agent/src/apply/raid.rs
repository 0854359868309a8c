//! md arrays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use host::exec::{Cmd, Tool};
use host::settle;

use super::{Context, Outcome};
use crate::error::{Error, Kind};
use crate::request::spec::BlockRef;

/// How long the node of a new array may take to come.
const NODE_LIMIT: Duration = Duration::from_secs(30);

/// Whether any of these lies in a regular file: nothing can be mapped there.
pub(super) fn on_file(context: &Context<'_>, parts: &[BlockRef]) -> bool {
    parts.iter().any(|part| match part {
        BlockRef::Partition { disk, .. } => context.is_file(*disk),
        BlockRef::Raid(raid) => on_file(context, &context.plan.raids[*raid].members),
        BlockRef::Logical(volume) => {
            let group = context.plan.group_of(*volume);
            let indexes = group
                .map(|group| group.physical_volumes.clone())
                .unwrap_or_default();
            let parts: Vec<BlockRef> = indexes
                .iter()
                .map(|pv| context.plan.physical_volumes[*pv].on)
                .collect();
            on_file(context, &parts)
        }
        BlockRef::Undefined(_) => false,
    })
}

/// What is said of a step that needs a kernel's mapping, on a disk that is a file.
pub(super) fn skipped(what: &str) -> Outcome {
    Outcome::Skipped {
        why: format!("{what} needs a block device, and the disk is a regular file"),
    }
}

/// Makes an array. The resync of a mirror goes on while it is used, and after a reboot.
pub(super) fn make(context: &mut Context<'_>, raid: usize) -> Result<Outcome, Error> {
    let planned = &context.plan.raids[raid];
    if on_file(context, &planned.members) {
        return Ok(skipped("an array"));
    }
    let nodes = |parts: &[BlockRef]| {
        parts
            .iter()
            .map(|part| context.node(*part))
            .collect::<Result<Vec<PathBuf>, Error>>()
    };
    let (members, spares) = (nodes(&planned.members)?, nodes(&planned.spares)?);
    let cmd = create(planned, &members, &spares);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(
            Kind::Tool,
            format!("cannot make the array {}", planned.device),
        )
        .device(&planned.device)
        .because(source)
    };
    context.state.touched = true;
    context
        .host
        .exec
        .run(&cmd)
        .map_err(|source| failed(source.into()))?;
    let node = Path::new(&planned.device);
    settle::until(NODE_LIMIT, || {
        Ok(context
            .host
            .devices
            .open(node, host::blockdev::Access::Read)
            .ok()
            .map(drop))
    })
    .map_err(|source| failed(source.into()))?;
    settle::udev_settle(context.host.exec.as_mut()).map_err(|source| failed(source.into()))?;
    Ok(Outcome::Changed)
}

fn create(planned: &crate::plan::PlannedRaid, members: &[PathBuf], spares: &[PathBuf]) -> Cmd {
    let mut cmd = Cmd::new(Tool::Mdadm)
        .args(["--create", planned.device.as_str()])
        // no question is asked: `--run` answers them, `--force` takes a mirror of one
        .args(["--run", "--force", "--homehost=any"])
        .arg(format!("--level={}", planned.level))
        .arg(format!("--uuid={}", planned.uuid));
    if planned.metadata != "default" {
        cmd = cmd.arg(format!("--metadata={}", planned.metadata));
    }
    cmd = cmd.arg(format!("--raid-devices={}", members.len()));
    if !spares.is_empty() {
        cmd = cmd.arg(format!("--spare-devices={}", spares.len()));
    }
    cmd.args(members).args(spares)
}
