//! Release, at the end of a run, of the arrays and volume groups that it made or activated. They are found by the
//! devices they are built on, never by their names alone: this machine may have others of the same name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::context::{Context, disk_error};
use super::release;
use crate::model::error::Error;
use crate::model::index::{RaidIndex, VolumeGroupIndex};
use crate::model::plan::Plan;
use crate::model::step::{Make, Step};
use crate::model::storage::BlockRef;

/// Something that keeps disks busy until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// An array of the plan.
    Raid(RaidIndex),
    /// A volume group, with all its volumes.
    VolumeGroup(VolumeGroupIndex),
}

/// What a step makes or takes up, in the order in which it does.
pub fn made_by(step: &Step, plan: &Plan) -> Vec<Acquired> {
    match step {
        Step::Make(Make::Raid(raid)) => vec![Acquired::Raid(*raid)],
        Step::Make(Make::VolumeGroup(group)) => vec![Acquired::VolumeGroup(*group)],
        Step::ActivateKept => {
            let raids = plan.raids().map(|(raid, _)| Acquired::Raid(raid));
            let groups = plan.volume_groups();
            let groups = groups.map(|(group, _)| Acquired::VolumeGroup(group));
            raids.chain(groups).collect()
        }
        Step::Make(
            Make::Wipe { .. }
            | Make::Table(_)
            | Make::PhysicalVolume(_)
            | Make::LogicalVolume(_)
            | Make::Filesystem(_),
        )
        | Step::Release(_)
        | Step::Disarm { .. }
        | Step::Image(_)
        | Step::Configure(_)
        | Step::Verify
        | Step::Arm(_) => Vec::new(),
    }
}

/// Lets go of it, if it is there: a step that failed may have made nothing, half of it, or all.
pub fn release(context: &mut Context<'_>, made: Acquired) -> Result<(), Error> {
    match made {
        Acquired::Raid(raid) => stop(context, raid),
        Acquired::VolumeGroup(group) => deactivate(context, group),
    }
}

fn stop(context: &mut Context<'_>, raid: RaidIndex) -> Result<(), Error> {
    let planned = &context.plan[raid];
    let device = Path::new(&planned.device);
    if !release::is_there(context, device)? {
        return Ok(());
    }
    let below = context.host.devices.slaves(device);
    let below = below.map_err(disk_error(
        format!("cannot find out what {} lies on", device.display()),
        device,
    ))?;
    let own = known(context, planned.members.iter().chain(&planned.spares));
    // Without members it holds no disk; with others it is not the plan's, and the run has failed because of it.
    if below.is_empty() || below.iter().any(|node| !own.contains(node)) {
        return Ok(());
    }
    release::stop_raid(context, &planned.device).map(drop)
}

fn deactivate(context: &mut Context<'_>, group: VolumeGroupIndex) -> Result<(), Error> {
    let planned = &context.plan[group];
    let volumes = planned.physical_volumes.iter();
    let nodes = known(context, volumes.map(|volume| &context.plan[*volume].on));
    if nodes.is_empty() {
        return Ok(());
    }
    release::deactivate(context, &planned.name, nodes).map(drop)
}

/// Those of the device nodes that the kernel has: where a disk has gone meanwhile, the rest is released all the same.
fn known<'r>(context: &Context<'_>, on: impl Iterator<Item = &'r BlockRef>) -> BTreeSet<PathBuf> {
    on.filter_map(|on| context.node(*on).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::index::DiskIndex;
    use crate::model::plan::PlannedRaid;
    use crate::model::step::Configure;
    use crate::testing::step_harness::{StepHarness, sized};
    use uuid::Uuid;

    fn partition(number: u32) -> BlockRef {
        BlockRef::Partition {
            disk: DiskIndex(0),
            number,
        }
    }

    /// A bench with an array `/dev/md7` in its plan, of the partitions 2 and 3.
    fn harness() -> StepHarness {
        let mut harness = StepHarness::new();
        harness.plan.raids = vec![PlannedRaid {
            device: "/dev/md7".to_owned(),
            level: crate::model::storage::RaidLevel::Raid1,
            metadata: crate::model::storage::RaidMetadata::Default,
            members: vec![partition(2), partition(3)],
            spares: Vec::new(),
            uuid: Uuid::from_u128(7),
            keep_data: false,
        }];
        harness
    }

    fn with_array(slaves: &[&str]) -> StepHarness {
        let mut harness = harness();
        harness.disks = sized()
            .with("/dev/md7", host::units::Bytes(1 << 20))
            .made_of(slaves);
        harness
    }

    #[test]
    fn an_array_of_our_own_members_is_stopped() {
        for slaves in [&["/dev/sda2", "/dev/sda3"][..], &["/dev/sda3"]] {
            let mut harness = with_array(slaves);
            harness.undo(Acquired::Raid(RaidIndex(0))).unwrap();
            insta::allow_duplicates! {
                insta::assert_snapshot!(harness.tools(), @r"
                udevadm settle --timeout=60
                mdadm --stop /dev/md7
                ");
            }
        }
    }

    #[test]
    fn an_array_that_only_has_the_name_is_left_alone() {
        for slaves in [&["/dev/sdb1"][..], &["/dev/sda2", "/dev/sdb1"], &[]] {
            let mut harness = with_array(slaves);
            harness.undo(Acquired::Raid(RaidIndex(0))).unwrap();
            assert_eq!(harness.tools(), "", "{slaves:?}");
        }
        let mut nowhere = harness();
        nowhere.undo(Acquired::Raid(RaidIndex(0))).unwrap();
        assert_eq!(nowhere.tools(), "");
    }

    #[test]
    fn a_volume_group_is_let_go_where_it_was_made_and_nowhere_else() {
        let mut harness = harness();
        harness
            .undo(Acquired::VolumeGroup(VolumeGroupIndex(0)))
            .unwrap();
        insta::assert_snapshot!(harness.tools(), @r#"
        udevadm settle --timeout=60
        lvm vgchange --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --activate n --select vg_name=os
        lvm lvs --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --noheadings --options lv_full_name --select 'vg_name=os && lv_active=active'
        "#);
    }

    #[test]
    fn of_partitions_that_are_not_there_nothing_was_made() {
        let mut harness = harness();
        harness.disks =
            host::fake::FakeDevices::new().with("/dev/sda", host::units::Bytes(2 << 30));
        harness
            .undo(Acquired::VolumeGroup(VolumeGroupIndex(0)))
            .unwrap();
        assert_eq!(harness.tools(), "");
    }

    #[test]
    fn whatever_fails_is_told() {
        for n in 0..2 {
            let mut harness = with_array(&["/dev/sda2"]);
            harness.script = harness.script.failing_at(n);
            harness.undo(Acquired::Raid(RaidIndex(0))).unwrap_err();
        }
        for n in 0..3 {
            let mut harness = harness();
            harness.script = harness.script.failing_at(n);
            harness
                .undo(Acquired::VolumeGroup(VolumeGroupIndex(0)))
                .unwrap_err();
        }
    }

    #[test]
    fn what_is_kept_is_taken_up_and_so_let_go_too() {
        let plan = harness().plan;
        assert_eq!(
            made_by(&Step::ActivateKept, &plan),
            [
                Acquired::Raid(RaidIndex(0)),
                Acquired::VolumeGroup(VolumeGroupIndex(0))
            ]
        );
        assert_eq!(made_by(&Step::Configure(Configure::Fstab), &plan), []);
    }
}
