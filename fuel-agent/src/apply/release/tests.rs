use super::*;
use crate::model::error::Error;
use crate::model::index::DiskIndex;
use crate::model::plan::PlannedRaid;
use crate::model::stage::Stage;
use crate::model::step::PlannedStep;
use crate::model::storage::BlockRef;
use crate::testing::step_harness::{StepHarness, sized};
use host::fake::{FakeDevices, Fault};
use host::units::Bytes;
use uuid::Uuid;

fn stop() -> Step {
    Step::Release(Release::StopRaid {
        device: "/dev/md0".to_owned(),
        members: vec!["/dev/sda3".to_owned(), "/dev/sda4".to_owned()],
    })
}

fn deactivate() -> Step {
    Step::Release(Release::DeactivateVolumeGroup {
        name: "os".to_owned(),
    })
}

fn close() -> Step {
    Step::Release(Release::CloseMapping {
        name: "/dev/mapper/secret".to_owned(),
    })
}

/// A harness whose plan releases all this.
fn harness() -> StepHarness {
    let mut harness = StepHarness::new();
    harness.plan.steps = [close(), deactivate(), stop()]
        .into_iter()
        .map(|step| PlannedStep {
            number: 1,
            stage: Stage::Release,
            step,
            what: String::new(),
            destroys: Vec::new(),
        })
        .collect();
    harness
}

#[test]
fn everything_is_let_go_of_and_nothing_else_is_looked_at() {
    let mut harness = harness();
    harness.all(&[close(), deactivate(), stop()]).unwrap();
    assert!(
        !harness.state.touched,
        "nothing is written before the disks are disarmed"
    );
    insta::assert_snapshot!(harness.tools(), @r#"
    udevadm settle --timeout=60
    dmsetup remove --retry secret
    udevadm settle --timeout=60
    lvm vgchange --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda$|","a|^/dev/sda1$|","a|^/dev/sda2$|","a|^/dev/sda3$|","a|^/dev/sda4$|","a|^/dev/sda5$|","a|^/dev/mapper/secret$|","a|^/dev/md0$|","r|.*|"] global_filter=["a|^/dev/sda$|","a|^/dev/sda1$|","a|^/dev/sda2$|","a|^/dev/sda3$|","a|^/dev/sda4$|","a|^/dev/sda5$|","a|^/dev/mapper/secret$|","a|^/dev/md0$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --activate n --select vg_name=os
    lvm lvs --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda$|","a|^/dev/sda1$|","a|^/dev/sda2$|","a|^/dev/sda3$|","a|^/dev/sda4$|","a|^/dev/sda5$|","a|^/dev/mapper/secret$|","a|^/dev/md0$|","r|.*|"] global_filter=["a|^/dev/sda$|","a|^/dev/sda1$|","a|^/dev/sda2$|","a|^/dev/sda3$|","a|^/dev/sda4$|","a|^/dev/sda5$|","a|^/dev/mapper/secret$|","a|^/dev/md0$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --noheadings --options lv_full_name --select 'vg_name=os && lv_active=active'
    udevadm settle --timeout=60
    mdadm --stop /dev/md0
    "#);
}

#[test]
fn an_array_that_nobody_assembled_is_not_stopped() {
    let mut harness = harness();
    harness.disks = FakeDevices::new().with("/dev/sda", Bytes(2 << 30));
    harness.one(&stop()).unwrap();
    assert!(!harness.tools().contains("--stop"), "{}", harness.tools());
}

#[test]
fn whatever_fails_is_told() {
    for n in 0..7 {
        let mut harness = harness();
        harness.script = harness.script.failing_at(n);
        let error = harness.all(&[close(), deactivate(), stop()]).unwrap_err();
        assert_eq!(error.kind, Kind::Tool, "{n}");
    }
    let mut harness = harness();
    harness.disks = harness.disks.failing(Fault::Open(0));
    assert_eq!(harness.one(&stop()).unwrap_err().kind, Kind::Disk);
}

#[test]
fn a_volume_that_stays_active_is_told() {
    let mut harness = harness();
    harness.script = harness
        .script
        .answering("lvm lvs", "  os/root\n  os/swap\n");
    let error = harness.one(&deactivate()).unwrap_err();
    insta::assert_snapshot!(crate::model::error::render(&error), @"
    error: the logical volume `os/root` is still active
      hint: `lsblk` shows what uses it
    ");
}

fn kept() -> StepHarness {
    let mut harness = StepHarness::new();
    harness.plan.keeps_partitions = true;
    let partition = |number| BlockRef::Partition {
        disk: DiskIndex(0),
        number,
    };
    harness.plan.raids = vec![PlannedRaid {
        device: "/dev/md1".to_owned(),
        level: crate::model::storage::RaidLevel::Raid1,
        metadata: crate::model::storage::RaidMetadata::Default,
        members: vec![partition(2), partition(3)],
        spares: Vec::new(),
        uuid: Uuid::from_u128(1),
        keep_data: true,
    }];
    harness
}

fn activate(harness: &mut StepHarness) -> Result<Outcome, Error> {
    harness.one(&Step::ActivateKept)
}

#[test]
fn what_is_kept_is_started_from_its_own_members() {
    let mut harness = kept();
    // The node comes once mdadm has run; the fake's never does, so it is not waited for here.
    harness.plan.raids.clear();
    assert_eq!(activate(&mut harness).unwrap(), Outcome::Changed);
    insta::assert_snapshot!(harness.tools(), @r#"lvm vgchange --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0 hints="none" filter=["a|^/dev/sda4$|","r|.*|"] global_filter=["a|^/dev/sda4$|","r|.*|"]} activation{monitoring=0} backup{backup=0 archive=0}' --activate y os"#);
}

#[test]
fn starting_that_fails_is_told() {
    for n in 0..2 {
        let mut harness = kept();
        harness.script = harness.script.failing_at(n);
        assert_eq!(activate(&mut harness).unwrap_err().kind, Kind::Tool, "{n}");
    }
    let mut harness = kept();
    harness.plan.raids[0].device = "/dev/md0".to_owned();
    let error = activate(&mut harness).unwrap_err();
    assert_eq!(error.kind, Kind::Refused, "the node is another array's");
}

#[test]
fn on_files_nothing_is_activated() {
    let mut harness = kept();
    harness.disks = sized().as_file();
    assert!(matches!(
        activate(&mut harness).unwrap(),
        Outcome::Skipped { .. }
    ));
}
