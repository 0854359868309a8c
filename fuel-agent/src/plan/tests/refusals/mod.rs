//! One thing wrong at a time, and the message for it.

mod contradictions;
mod disks;

use host::units::Bytes;

use crate::model::error::{Error, Kind, render};
use crate::model::filesystem::FilesystemType;
use crate::model::inventory::{Disk, Inventory, Stack, StackKind};
use crate::model::node::Firmware;
use crate::model::partition_type::PartitionType;
use crate::model::plan::RefusedBy;
use crate::model::request::Request;
use crate::model::sources::{SourceFacts, Sources};
use crate::model::storage::{
    DiskSelector, RaidLevel, RaidMetadata, RaidSpec, Role, Storage, Table,
};
use crate::plan::{CountedIds, Options, PlanError, plan};
use crate::testing::sample_request::{
    URL, disk_spec, empty_disk, filesystem, image, known, lvm_request, mib, node, other_warnings,
    part, plan_of,
};

fn machine() -> Inventory {
    node(vec![empty_disk("/dev/sda", 20480)])
}

/// What is refused after one change to a request and a machine that are all right without it.
fn refused(change: impl FnOnce(&mut Request, &mut Inventory)) -> Vec<(RefusedBy, Kind, String)> {
    let (mut request, mut inventory) = (lvm_request(), machine());
    change(&mut request, &mut inventory);
    let plan = plan_of(&request, &inventory).unwrap();
    plan.refusals
        .into_iter()
        .map(|refusal| (refusal.by, refusal.kind, refusal.what))
        .collect()
}

fn only(refused: Vec<(RefusedBy, Kind, String)>) -> (RefusedBy, Kind, String) {
    assert_eq!(refused.len(), 1, "{refused:?}");
    refused.into_iter().next().unwrap()
}

#[test]
fn nothing_is_refused_without_a_reason() {
    assert_eq!(refused(|_, _| {}), []);
}

#[test]
fn what_does_not_fit_is_refused_by_the_plan_too() {
    let small = only(refused(|_, inventory| {
        inventory.disks[0].size_bytes = mib(7618);
    }));
    assert_eq!((small.0, small.1), (RefusedBy::Plan, Kind::Hardware));
    assert_eq!(
        small.2,
        "the layout of /dev/sda ends at 7618 MiB, but the disk (7618 MiB) has room up to 7617 MiB"
    );
    assert_eq!(
        refused(|_, inventory| inventory.disks[0].size_bytes = Bytes(mib(7618).0 + 33 * 512)),
        []
    );

    let group = only(refused(|request, _| {
        request.storage.logical_volumes[1].size = mib(985);
    }));
    assert_eq!((group.0, group.1), (RefusedBy::Plan, Kind::Request));
    assert_eq!(
        group.2,
        "the volumes of group `os` need 1271 extents of 4 MiB (5084 MiB), but it has 1265 (5060 MiB)"
    );
    assert_eq!(
        refused(|request, _| request.storage.logical_volumes[1].size = mib(964)),
        []
    );
}

#[test]
fn a_filesystem_without_room_is_refused() {
    let refused = only(refused(|request, _| {
        request.storage.filesystems[0].kind = FilesystemType::Xfs;
    }));
    let what = "/dev/sda3 has 200 MiB, too little for xfs";
    assert_eq!(refused, (RefusedBy::Run, Kind::Request, what.to_owned()));
}

#[test]
fn a_node_that_would_not_start_is_refused() {
    type Change<'a> = &'a dyn Fn(&mut Request, &mut Inventory);
    let root = |request: &mut Request| request.storage.filesystems[2].mount = None;
    let table: [(Change<'_>, &str); 4] = [
        (&|request, _| root(request), "no filesystem is mounted on /"),
        (
            &|request, _| request.images.clear(),
            "no image is written to /, so nothing would start",
        ),
        (
            &|request, _| request.storage.disks[0].partitions[0].role = Role::Data,
            "/dev/sda gets boot code, but it has no `bios_grub` partition for GRUB's core image",
        ),
        (
            &|request, inventory| {
                inventory.firmware = Firmware::Uefi;
                request.storage.disks[0].partitions[1].role = Role::Data;
            },
            "/dev/sda gets boot code, but it has no EFI system partition",
        ),
    ];
    for (change, what) in table {
        let refused = only(refused(change));
        assert_eq!(refused, (RefusedBy::Run, Kind::Request, what.to_owned()));
    }
}

#[test]
fn an_array_without_members_is_refused() {
    let refused = only(refused(|request, _| {
        request.storage.raids.push(RaidSpec {
            device: "/dev/md0".to_owned(),
            level: RaidLevel::Raid1,
            metadata: RaidMetadata::Default,
            members: Vec::new(),
            spares: Vec::new(),
            keep_data: false,
        });
    }));
    let what = "/dev/md0 has no members";
    assert_eq!(refused, (RefusedBy::Run, Kind::Request, what.to_owned()));
}

#[test]
fn an_mbr_is_planned_and_refused() {
    let refused = only(refused(|request, _| {
        request.storage.disks[0].table = Table::Msdos;
    }));
    assert_eq!(
        refused.2,
        "/dev/sda: an MBR partition table is planned but not yet written"
    );
}

#[test]
fn an_image_for_swap_is_refused() {
    let refused = refused(|request, _| request.images[0] = image("swap", 3));
    assert!(
        refused.iter().any(|(_, kind, what)| *kind == Kind::Request
            && what == &format!("{URL} is meant for swap space")),
        "{refused:?}"
    );
}

#[test]
fn boot_programs_that_stay_unasked_are_refused_on_uefi_only() {
    use crate::model::inventory::ExistingPartition;
    use crate::testing::sample_request::installed;

    const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    const DATA: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
    let of = |firmware, guid: Option<&str>, signature: &str| {
        let refused = refused(|request, inventory| {
            request.storage.filesystems[1].keep_data = true;
            inventory.firmware = firmware;
            installed(request, 0, &mut inventory.disks[0]);
            inventory.disks[0].partitions.push(ExistingPartition {
                number: 9,
                path: "/dev/sda9".to_owned(),
                start_bytes: mib(20000),
                size_bytes: mib(100),
                partition_type: guid.map(PartitionType::from),
                signature: Some(signature.to_owned()),
                ..ExistingPartition::default()
            });
        });
        refused
            .iter()
            .any(|(_, _, what)| what.starts_with("/dev/sda9 may boot this UEFI node"))
    };
    assert!(of(Firmware::Uefi, Some(ESP), "vfat"));
    assert!(of(Firmware::Uefi, None, "vfat"));
    assert!(!of(Firmware::Uefi, Some(DATA), "ext4"));
    assert!(!of(Firmware::Bios, Some(ESP), "vfat"));
}
