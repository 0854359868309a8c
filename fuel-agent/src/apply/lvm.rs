//! Physical volumes, volume groups, logical volumes, and how LVM is kept to the devices it is meant for.

use std::path::Path;

use host::exec::Cmd;
use host::units::Bytes;

use super::clear::clear;
use super::context::Context;
use super::outcome::Outcome;
use crate::model::error::{Error, Kind};
use crate::model::index::{LogicalVolumeIndex, PhysicalVolumeIndex, VolumeGroupIndex};
use crate::model::plan::PlannedVolumeGroup;
use crate::tools::Tool;

/// Why there is no LVM where disks are files.
const ON_FILES: &str = "LVM needs a block device";

/// `lvm SUBCOMMAND`, restricted to these devices: a volume group of the same name on another disk is not touched, and
/// nothing depends on a devices file, on udev's records of new devices, or on a daemon.
pub(super) fn lvm<P: AsRef<Path>>(
    subcommand: &str,
    nodes: impl IntoIterator<Item = P>,
) -> Result<Cmd, Error> {
    let mut accepted = Vec::new();
    for node in nodes {
        accepted.push(format!("\"a|^{}$|\"", pattern(node.as_ref())?));
    }
    accepted.push("\"r|.*|\"".to_owned());
    let filter = accepted.join(",");
    let config = format!(
        "devices{{use_devicesfile=0 obtain_device_list_from_udev=0 hints=\"none\" \
         filter=[{filter}] global_filter=[{filter}]}} \
         activation{{monitoring=0}} backup{{backup=0 archive=0}}"
    );
    Ok(Cmd::new(Tool::Lvm).args([subcommand, "--config", &config]))
}

/// A node as a regular expression that matches nothing else.
fn pattern(node: &Path) -> Result<String, Error> {
    let odd = || {
        let what = format!("LVM cannot use a device named {}", node.display());
        Error::new(Kind::Internal, what).device(node.display())
    };
    let mut text = String::new();
    for character in node.to_str().ok_or_else(odd)?.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '_' | '-' | ':' | '@' | ',' | '=' => {
                text.push(character);
            }
            '.' | '+' | '!' | '#' | '*' | '?' => text.extend(['[', character, ']']),
            _ => return Err(odd()),
        }
    }
    Ok(text)
}

/// The nodes of a volume group's physical volumes, as they are now.
pub(super) fn nodes(
    context: &Context<'_>,
    group: &PlannedVolumeGroup,
) -> Result<Vec<std::path::PathBuf>, Error> {
    let volumes = group.physical_volumes.iter();
    volumes
        .map(|volume| context.node(context.plan[*volume].on))
        .collect()
}

pub(super) fn make_physical_volume(
    context: &mut Context<'_>,
    physical_volume: PhysicalVolumeIndex,
) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    let planned = &context.plan[physical_volume];
    let node = context.node(planned.on)?;
    context.await_node(&node)?;
    let cmd = lvm("pvcreate", [&node])?
        .args(["--yes", "--force", "--force", "--zero", "y"])
        .arg("--metadatacopies")
        .arg(planned.metadata_copies.to_string())
        .arg("--metadatasize")
        .arg(kib(planned.metadata_size))
        .arg(&node);
    context.state.touched = true;
    context
        .run(&cmd, || {
            format!("cannot make a physical volume of {}", node.display())
        })
        .map_err(|error| error.device(node.display()))?;
    Ok(Outcome::Changed)
}

pub(super) fn make_volume_group(
    context: &mut Context<'_>,
    volume_group: VolumeGroupIndex,
) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    let group = &context.plan[volume_group];
    let nodes = nodes(context, group)?;
    let cmd = lvm("vgcreate", &nodes)?
        .args(["--yes", &group.name])
        .args(&nodes);
    context.run(&cmd, || {
        format!("cannot make the volume group `{}`", group.name)
    })?;
    Ok(Outcome::Changed)
}

pub(super) fn make_logical_volume(
    context: &mut Context<'_>,
    logical_volume: LogicalVolumeIndex,
) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    let planned = &context.plan[logical_volume];
    let spec = &planned.spec;
    let group = context
        .plan
        .volume_groups
        .iter()
        .find(|group| group.name == spec.volume_group)
        .ok_or_else(|| {
            let what = format!("volume group `{}` is not in the plan", spec.volume_group);
            Error::new(Kind::Internal, what)
        })?;
    // LVM zeroes its beginning, before anything else sees the volume, and looks for no old signatures in it: those are
    // cleared here, unread. It rounds the size up to extents.
    let cmd = lvm("lvcreate", nodes(context, group)?)?
        .args(["--yes", "--wipesignatures", "n", "--zero", "y"])
        .arg("--size")
        .arg(kib(spec.size))
        .args(["--name", &spec.name, &spec.volume_group]);
    context.run(&cmd, || {
        format!(
            "cannot make the logical volume `{}` of `{}`",
            spec.name, spec.volume_group
        )
    })?;
    let device = Path::new(&planned.device);
    context.await_node(device)?;
    clear(context, device)?;
    Ok(Outcome::Changed)
}

/// Sizes in KiB, which is what LVM's `k` means, whatever `global/units` is; a fraction of a KiB counts as a whole one.
fn kib(size: Bytes) -> String {
    format!("{}k", size.0.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::step::{Make, Step};
    use crate::testing::step_harness::{StepHarness, sized};
    use host::blockdev::Access;
    use host::fake::Fault;

    fn steps() -> [Step; 4] {
        [
            Step::Make(Make::PhysicalVolume(PhysicalVolumeIndex(0))),
            Step::Make(Make::VolumeGroup(VolumeGroupIndex(0))),
            Step::Make(Make::LogicalVolume(LogicalVolumeIndex(0))),
            Step::Make(Make::LogicalVolume(LogicalVolumeIndex(1))),
        ]
    }

    #[test]
    fn lvm_is_kept_to_the_nodes_of_the_plan() {
        let mut harness = StepHarness::new();
        harness.all(&steps()).unwrap();
        insta::assert_snapshot!(harness.script.transcript(), @r#"
        lvm pvcreate --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --yes --force --force --zero y --metadatacopies 2 --metadatasize 28672k /dev/sda4
        lvm vgcreate --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --yes os /dev/sda4
        lvm lvcreate --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --yes --wipesignatures n --zero y --size 524288k --name root os
        lvm lvcreate --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --yes --wipesignatures n --zero y --size 524288k --name swap os
        "#);
    }

    #[test]
    fn whatever_fails_is_told() {
        for n in 0..4 {
            let mut harness = StepHarness::new();
            harness.script = harness.script.failing_at(n);
            let error = harness.all(&steps()).unwrap_err();
            assert_eq!(error.kind, Kind::Tool, "{n}: {error}");
        }
        // The device is checked once before the physical volume is made, and each logical volume is waited for and
        // cleared.
        for n in 0..5 {
            let mut harness = StepHarness::new();
            harness.disks = harness.disks.failing(Fault::Open(n));
            let error = harness.all(&steps()).unwrap_err();
            assert_eq!(error.kind, Kind::Disk, "{n}: {error}");
        }
    }

    #[test]
    fn what_an_earlier_system_left_in_a_volume_is_cleared_unread() {
        let mut harness = StepHarness::new();
        let root = Path::new("/dev/mapper/os-root");
        let places = [0, 4096, 1 << 20, 2 << 20, 4 << 20, (512 << 20) - 4096];
        let (before, after) = (5 << 20, 100 << 20);
        let mut host = host::fake::host(&harness.script, &harness.disks, &harness.mounts);
        let mut device = host.devices.open(root, Access::Write).unwrap();
        for at in places.iter().chain([&before, &after]) {
            device.write_at(b"signature", Bytes(*at)).unwrap();
        }
        drop(device);
        let step = Step::Make(Make::LogicalVolume(LogicalVolumeIndex(0)));
        harness.on(&mut host, &step).unwrap();
        let device = host.devices.open(root, Access::Read).unwrap();
        let read = |at: u64| {
            let mut text = [0; 9];
            device.read_at(&mut text, Bytes(at)).unwrap();
            text
        };
        for at in places {
            assert_eq!(read(at), [0; 9], "{at}");
        }
        for at in [before, after] {
            assert_eq!(
                &read(at),
                b"signature",
                "{at}: no more than the places of signatures"
            );
        }
    }

    #[test]
    fn names_of_nodes_match_themselves_only() {
        for (node, expected) in [
            ("/dev/sda5", "/dev/sda5"),
            ("/dev/md/a.b+c", "/dev/md/a[.]b[+]c"),
            ("/dev/mapper/mpath-1", "/dev/mapper/mpath-1"),
        ] {
            assert_eq!(pattern(Path::new(node)).unwrap(), expected);
        }
        for node in ["/dev/a|b", "/dev/a\"b", "/dev/a b", "/dev/a^b", "/dev/a]b"] {
            assert!(pattern(Path::new(node)).is_err(), "{node}");
        }
    }

    #[test]
    fn sizes_are_whole_kib() {
        assert_eq!(kib(Bytes(28 << 20)), "28672k");
        assert_eq!(kib(Bytes(1025)), "2k");
    }

    #[test]
    fn on_files_it_is_skipped_with_the_reason() {
        let mut harness = StepHarness::new();
        harness.disks = sized().as_file();
        for step in steps() {
            let outcome = harness.one(&step).unwrap();
            assert!(matches!(outcome, Outcome::Skipped { why } if why.contains("block device")));
        }
        assert_eq!(harness.script.transcript(), "");
    }
}
