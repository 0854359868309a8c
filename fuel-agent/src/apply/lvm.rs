//! Physical volumes, volume groups, logical volumes; and the view of LVM that is limited to what we work on.

use std::path::{Path, PathBuf};

use host::exec::{Cmd, Tool};
use host::units::Bytes;

use super::raid::{on_file, skipped};
use super::{Context, Outcome};
use crate::error::{Error, Kind};

/// `lvm SUBCOMMAND` that sees these devices and no other: groups of the same name elsewhere are not touched.
pub(super) fn lvm(subcommand: &str, devices: &[PathBuf]) -> Cmd {
    let mut filter: Vec<String> = devices
        .iter()
        .map(|device| format!("\"a|^{}$|\"", escaped(device)))
        .collect();
    filter.push("\"r|.*|\"".to_owned());
    let config = format!(
        "devices {{ use_devicesfile=0 filter=[{}] global_filter=[\"a|.*|\"] }}",
        filter.join(",")
    );
    Cmd::new(Tool::Lvm)
        .arg(subcommand)
        .arg("--config")
        .arg(config)
}

/// A path as a regular expression of LVM's filter that matches only itself.
fn escaped(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .fold(String::new(), |mut text, c| {
            if !(c.is_ascii_alphanumeric() || "/_-:".contains(c)) {
                text.push('\\');
            }
            text.push(c);
            text
        })
}

/// The nodes of some physical volumes.
fn nodes(context: &Context<'_>, physical_volumes: &[usize]) -> Result<Vec<PathBuf>, Error> {
    physical_volumes
        .iter()
        .map(|pv| context.node(context.plan.physical_volumes[*pv].on))
        .collect()
}

fn run(context: &mut Context<'_>, cmd: &Cmd, what: String) -> Result<Outcome, Error> {
    context.state.touched = true;
    match context.host.exec.run(cmd) {
        Ok(_) => Ok(Outcome::Changed),
        Err(source) => Err(Error::new(Kind::Tool, what).because(source)),
    }
}

/// Makes a physical volume.
pub(super) fn make_physical_volume(
    context: &mut Context<'_>,
    physical_volume: usize,
) -> Result<Outcome, Error> {
    let planned = context.plan.physical_volumes[physical_volume].clone();
    if on_file(context, &[planned.on]) {
        return Ok(skipped("a physical volume"));
    }
    let node = context.node(planned.on)?;
    let cmd = lvm("pvcreate", std::slice::from_ref(&node))
        .args(["--yes", "-ff", "--zero", "y"])
        .arg("--metadatacopies")
        .arg(planned.metadata_copies.to_string())
        .arg("--metadatasize")
        .arg(size(planned.metadata_size))
        .arg(&node);
    run(
        context,
        &cmd,
        format!("cannot make a physical volume on {}", node.display()),
    )
}

/// Makes a volume group.
pub(super) fn make_volume_group(
    context: &mut Context<'_>,
    volume_group: usize,
) -> Result<Outcome, Error> {
    let planned = context.plan.volume_groups[volume_group].clone();
    let parts: Vec<_> = planned
        .physical_volumes
        .iter()
        .map(|pv| context.plan.physical_volumes[*pv].on)
        .collect();
    if on_file(context, &parts) {
        return Ok(skipped("a volume group"));
    }
    let nodes = nodes(context, &planned.physical_volumes)?;
    let cmd = lvm("vgcreate", &nodes)
        .arg("--yes")
        .arg(&planned.name)
        .args(&nodes);
    run(
        context,
        &cmd,
        format!("cannot make the volume group `{}`", planned.name),
    )
}

/// Makes a logical volume; old signatures in it are wiped, and its first bytes zeroed.
pub(super) fn make_logical_volume(
    context: &mut Context<'_>,
    logical_volume: usize,
) -> Result<Outcome, Error> {
    let spec = context.plan.logical_volumes[logical_volume].spec.clone();
    if on_file(
        context,
        &[crate::request::spec::BlockRef::Logical(logical_volume)],
    ) {
        return Ok(skipped("a logical volume"));
    }
    let group = context
        .plan
        .group_of(logical_volume)
        .map(|group| group.physical_volumes.clone())
        .unwrap_or_default();
    let nodes = nodes(context, &group)?;
    let cmd = lvm("lvcreate", &nodes)
        .args(["--yes", "--wipesignatures", "y", "--zero", "y", "--size"])
        .arg(size(spec.size))
        .args(["--name", &spec.name, &spec.volume_group]);
    run(
        context,
        &cmd,
        format!(
            "cannot make the logical volume `{}` in `{}`",
            spec.name, spec.volume_group
        ),
    )
}

/// A size as LVM reads it, in bytes.
fn size(bytes: Bytes) -> String {
    format!("{}b", bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lvm_sees_only_what_it_is_shown() {
        let cmd = lvm(
            "vgchange",
            &[PathBuf::from("/dev/sda5"), PathBuf::from("/dev/mapper/a.b")],
        );
        insta::assert_snapshot!(cmd.to_string(), @r#"lvm vgchange --config 'devices { use_devicesfile=0 filter=["a|^/dev/sda5$|","a|^/dev/mapper/a\.b$|","r|.*|"] global_filter=["a|.*|"] }'"#);
    }
}
