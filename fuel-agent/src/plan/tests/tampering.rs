//! The check of finished plans sees what a broken planner would do.

use host::units::Bytes;

use crate::model::index::{DiskIndex, FilesystemIndex};
use crate::model::inventory::Inventory;
use crate::model::plan::Plan;
use crate::model::step::{Destroyed, Make, Step};
use crate::plan::check;
use crate::testing::sample_request::{empty_disk, installed, lvm_request, mib, node, plan_of};

fn machine() -> Inventory {
    let mut inventory = node(vec![empty_disk("/dev/sda", 20480)]);
    installed(&lvm_request(), 0, &mut inventory.disks[0]);
    inventory
}

fn index(plan: &Plan, wanted: fn(&Step) -> bool) -> usize {
    plan.steps
        .iter()
        .position(|planned| wanted(&planned.step))
        .unwrap()
}

#[test]
fn a_sound_plan_passes_and_each_tampering_is_seen() {
    type Tamper = fn(&mut Plan);
    let table: [(&str, Tamper); 10] = [
        ("/dev/sda2 is not aligned", |plan| {
            plan.disks[0].partitions[1].extent.length.0 += 1;
        }),
        ("/dev/sda1 and /dev/sda2 collide", |plan| {
            plan.disks[0].partitions[1].extent.start = mib(2);
        }),
        ("/dev/sda6 lies outside of /dev/sda", |plan| {
            plan.disks[0].partitions[5].extent.start = mib(20470);
        }),
        ("step 2 is number 7", |plan| plan.steps[1].number = 7),
        ("comes too late for its stage", |plan| plan.steps.swap(0, 1)),
        ("writes before disk 0 is disarmed", |plan| {
            plan.steps.swap(0, 1);
        }),
        ("arms a disk that was not verified", |plan| {
            let verify = index(plan, |step| *step == Step::Verify);
            plan.steps.remove(verify);
        }),
        ("does not say what it destroys", |plan| {
            plan.steps[1].destroys.clear();
        }),
        ("destroys bytes of /dev/sdz, which is not chosen", |plan| {
            plan.steps[1].destroys.push(Destroyed {
                device: "/dev/sdz".to_owned(),
                offset: Bytes::ZERO,
                length: mib(1),
            });
        }),
        ("points nowhere", |plan| {
            plan.steps[0].step = Step::Disarm {
                disk: DiskIndex(9),
                areas: Vec::new(),
            }
        }),
    ];
    let inventory = machine();
    let sound = plan_of(&lvm_request(), &inventory).unwrap();
    assert_eq!(check::violations(&sound, &inventory), Vec::<String>::new());
    for (complaint, tamper) in table {
        let mut plan = sound.clone();
        tamper(&mut plan);
        let broken = check::violations(&plan, &inventory);
        assert!(
            broken.iter().any(|rule| rule.contains(complaint)),
            "{complaint}: {broken:?}"
        );
    }
}

#[test]
fn a_step_onto_kept_bytes_is_seen() {
    let mut request = lvm_request();
    request.storage.filesystems[1].keep_data = true;
    let mut inventory = machine();
    inventory.stacks.push(crate::model::inventory::Stack {
        kind: crate::model::inventory::StackKind::VolumeGroup,
        name: "os".to_owned(),
        members: vec!["/dev/sda4".into()],
        disks: vec!["/dev/sda".to_owned()],
        active: false,
        nodes: Vec::new(),
    });
    let sound = plan_of(&request, &inventory).unwrap();
    assert_eq!(sound.refusals, []);
    assert_eq!(check::violations(&sound, &inventory), Vec::<String>::new());
    let mut plan = sound.clone();
    let mkfs = index(&plan, |step| {
        matches!(step, Step::Make(Make::Filesystem(_)))
    });
    plan.steps[mkfs].step = Step::Make(Make::Filesystem(FilesystemIndex(1)));
    plan.steps[mkfs].destroys = vec![Destroyed {
        device: "/dev/sda".to_owned(),
        offset: plan.disks[0].partitions[4].extent.start,
        length: plan.disks[0].partitions[4].extent.length,
    }];
    let broken = check::violations(&plan, &inventory);
    assert_eq!(
        broken,
        [format!(
            "step {} destroys what is kept on /dev/sda",
            mkfs + 1
        )]
    );
}
