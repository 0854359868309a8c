//! Other cloud-init data on the node.

use crate::model::error::Kind;
use crate::model::inventory::{ExistingPartition, Inventory, Seed};
use crate::model::plan::Plan;
use crate::plan::{CountedIds, Options, plan};
use crate::testing::sample_request::{empty_disk, known, lvm_request, node};

fn planned(inventory: &Inventory, allow_other_seeds: bool) -> Plan {
    let options = Options {
        allow_other_seeds,
        ..Options::default()
    };
    let mut ids = CountedIds::default();
    plan(&lvm_request(), inventory, &known(), &options, &mut ids).unwrap()
}

fn refusals(inventory: &Inventory) -> Vec<String> {
    let refusals = planned(inventory, false).refusals;
    assert!(refusals.iter().all(|it| it.kind == Kind::Refused));
    refusals.into_iter().map(|it| it.what).collect()
}

/// sda is chosen; sdb is not, and has a partition with this label.
fn two_disks(label: &str) -> Inventory {
    let mut other = empty_disk("/dev/sdb", 1024);
    other.partitions.push(ExistingPartition {
        number: 2,
        path: "/dev/sdb2".to_owned(),
        label: Some(label.to_owned()),
        ..ExistingPartition::default()
    });
    node(vec![empty_disk("/dev/sda", 20480), other])
}

fn seed(path: &str, disks: &[&str]) -> Seed {
    Seed {
        path: path.to_owned(),
        label: "config-2".to_owned(),
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
    }
}

#[test]
fn data_on_a_disk_that_is_not_chosen_is_refused_by_name() {
    for label in ["cidata", "CIDATA", "CiData", "config-2", "CONFIG-2"] {
        let what = format!(
            "/dev/sdb2 on /dev/sdb holds other cloud-init data (label `{label}`): the installed system could take it \
             for that on /dev/sda6"
        );
        assert_eq!(refusals(&two_disks(label)), [what]);
    }
    for label in ["cidata2", "config", "data"] {
        assert_eq!(refusals(&two_disks(label)), [""; 0], "{label}");
    }
}

#[test]
fn media_and_whole_disks_count_and_each_is_named_once() {
    let mut inventory = two_disks("config-2");
    inventory.seeds = vec![
        seed("/dev/sdb2", &["/dev/sdb"]),
        seed("/dev/sr0", &[]),
        seed("/dev/sdc", &["/dev/sdc"]),
    ];
    let refusals = refusals(&inventory);
    assert_eq!(refusals.len(), 3, "{refusals:?}");
    assert!(refusals[1].starts_with("/dev/sr0 (a medium in a drive) holds"));
    assert!(refusals[2].starts_with("/dev/sdc holds"));
}

#[test]
fn a_setting_makes_it_a_warning() {
    let plan = planned(&two_disks("cidata"), true);
    assert_eq!(plan.refusals, []);
    let about = |it: &&String| it.starts_with("/dev/sdb2 on /dev/sdb holds other");
    assert_eq!(plan.warnings.iter().filter(about).count(), 1);
}

#[test]
fn what_is_overwritten_does_not_count() {
    let mut inventory = two_disks("data");
    inventory.seeds = vec![
        seed("/dev/sda", &["/dev/sda"]),
        seed("/dev/sda3", &["/dev/sda"]),
    ];
    assert_eq!(refusals(&inventory), [""; 0]);
    // a volume that reaches onto another disk
    inventory.seeds = vec![seed("/dev/mapper/a-b", &["/dev/sda", "/dev/sdb"])];
    let refusals = refusals(&inventory);
    assert_eq!(refusals.len(), 1);
    assert!(refusals[0].starts_with("/dev/mapper/a-b on /dev/sda, /dev/sdb holds"));
}

#[test]
fn without_data_of_our_own_nothing_is_looked_for() {
    let mut request = lvm_request();
    request.configdrive = None;
    let mut ids = CountedIds::default();
    let inventory = two_disks("cidata");
    let plan = plan(
        &request,
        &inventory,
        &known(),
        &Options::default(),
        &mut ids,
    )
    .unwrap();
    let about = |it: &str| it.contains("cloud-init data (label");
    assert!(!plan.refusals.iter().any(|refusal| about(&refusal.what)));
}
