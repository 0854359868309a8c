//! One thing wrong at a time, and the message for it.

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
fn disks_are_refused_for_what_they_are() {
    type Change = fn(&mut Disk);
    let table: [(Change, Kind, &str); 7] = [
        (
            |disk| disk.mounted = true,
            Kind::Refused,
            "/dev/sda holds a mounted filesystem or active swap",
        ),
        (
            |disk| disk.booted_from = true,
            Kind::Refused,
            "the running system was started from /dev/sda",
        ),
        (
            |disk| disk.read_only = true,
            Kind::Hardware,
            "/dev/sda is read-only",
        ),
        (
            |disk| disk.removable = true,
            Kind::Refused,
            "/dev/sda is removable",
        ),
        (
            |disk| disk.multipath = true,
            Kind::Refused,
            "/dev/sda is a multipath map, which is planned but not yet written to",
        ),
        (
            |disk| disk.holders = vec!["dm-7".to_owned()],
            Kind::Refused,
            "/dev/sda is held by dm-7, which the agent cannot identify",
        ),
        (
            |disk| disk.links.clear(),
            Kind::Refused,
            "/dev/sda was found by its name alone: none of the ids that were given is on this node",
        ),
    ];
    for (change, kind, what) in table {
        let refused = only(refused(|_, inventory| change(&mut inventory.disks[0])));
        assert_eq!(refused, (RefusedBy::Run, kind, what.to_owned()));
    }
}

#[test]
fn settings_allow_what_they_are_for() {
    let options = Options {
        allow_removable: true,
        allow_other_seeds: true,
        match_by_name: true,
        allow_unverified: true,
        ..Options::default()
    };
    let mut inventory = machine();
    inventory.disks[0].removable = true;
    inventory.disks[0].links.clear();
    let sources = Sources {
        images: [(URL.into(), SourceFacts::default())].into(),
    };
    let plan = plan(
        &lvm_request(),
        &inventory,
        &sources,
        &options,
        &mut CountedIds::default(),
    )
    .unwrap();
    assert_eq!(plan.refusals, []);
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
}

#[test]
fn a_protected_disk_is_refused_by_the_entry_that_means_it() {
    let options = Options {
        protect: vec!["SN-sda".to_owned()],
        ..Options::default()
    };
    let plan = plan(
        &lvm_request(),
        &machine(),
        &known(),
        &options,
        &mut CountedIds::default(),
    )
    .unwrap();
    assert_eq!(plan.refusals[0].what, "/dev/sda is protected (`SN-sda`)");
}

#[test]
fn two_entries_for_one_disk_are_planned_and_refused() {
    let refused = refused(|request, _| {
        let mut twin = disk_spec("sda");
        twin.path = "ks_spaces[1]".to_owned();
        twin.bootloader = false;
        request.storage.disks.push(twin);
    });
    assert_eq!(
        only(refused),
        (
            RefusedBy::Run,
            Kind::Refused,
            "ks_spaces[sda] and ks_spaces[1] both mean /dev/sda".to_owned()
        )
    );
}

/// Two paths to the disk of the request, the second as `change` has it.
fn two_paths(change: impl FnOnce(&mut Disk, &mut Inventory)) -> Inventory {
    let path = |name: &str| Disk {
        wwn: "0x5000c500a1b2c3d4".to_owned(),
        transport: "sas".to_owned(),
        serial: "ZC11A2B3".to_owned(),
        ..empty_disk(name, 20480)
    };
    let mut inventory = node(vec![path("/dev/sda")]);
    let mut second = path("/dev/sdm");
    change(&mut second, &mut inventory);
    inventory.disks.push(second);
    inventory
}

#[test]
fn two_paths_to_one_medium_are_one_disk() {
    let inventory = two_paths(|_, _| ());
    let plan = plan_of(&lvm_request(), &inventory).unwrap();
    assert_eq!(plan.refusals, []);
    assert_eq!(
        other_warnings(&plan),
        ["/dev/sda and /dev/sdm are paths to one medium, which is written to through /dev/sda"]
    );
    let mut request = lvm_request();
    let mut second = disk_spec("sdm");
    second.bootloader = false;
    request.storage.disks.push(second);
    let plan = plan_of(&request, &inventory).unwrap();
    assert_eq!(plan.refusals.len(), 1, "{:?}", plan.refusals);
    assert_eq!(
        plan.refusals[0].what,
        "ks_spaces[sda] and ks_spaces[sdm] both mean one medium, with the paths /dev/sda and /dev/sdm"
    );
}

#[test]
fn a_medium_that_is_used_by_another_path_is_refused() {
    type Change = fn(&mut Disk, &mut Inventory);
    let group = |disk: &str, active: bool| Stack {
        kind: StackKind::VolumeGroup,
        name: "data".to_owned(),
        members: vec![format!("{disk}5").into()],
        disks: vec![disk.to_owned()],
        active,
        nodes: vec!["dm-0".to_owned()],
    };
    let table: [(Change, &str); 4] = [
        (
            |disk, _| disk.mounted = true,
            "holds a mounted filesystem or active swap",
        ),
        (
            |disk, _| disk.booted_from = true,
            "is what the running system was started from",
        ),
        (
            |disk, _| disk.holders = vec!["bcache0".to_owned()],
            "is held by bcache0",
        ),
        (
            |disk, _| disk.links.push("/dev/PROTECTED".to_owned()),
            "is protected (`PROTECTED`)",
        ),
    ];
    let options = Options {
        protect: vec!["PROTECTED".to_owned()],
        ..Options::default()
    };
    let refused = |inventory: &Inventory| -> Vec<String> {
        let ids = &mut CountedIds::default();
        let plan = plan(&lvm_request(), inventory, &known(), &options, ids).unwrap();
        plan.refusals
            .into_iter()
            .map(|refusal| refusal.what)
            .collect()
    };
    for (change, what) in table {
        let expected = format!("/dev/sdm, which is another path to the medium of /dev/sda, {what}");
        assert_eq!(refused(&two_paths(change)), [expected]);
    }
    let active = two_paths(|_, inventory| inventory.stacks.push(group("/dev/sdm", true)));
    assert_eq!(
        refused(&active),
        ["/dev/sdm, which is another path to the medium of /dev/sda, holds `data`"]
    );
    // an old group that the kernel has not taken up, seen by both paths
    let old = two_paths(|_, inventory| {
        let mut old = group("/dev/sda", false);
        old.disks.push("/dev/sdm".to_owned());
        inventory.stacks.push(old);
    });
    assert_eq!(refused(&old), Vec::<String>::new());
}

#[test]
fn links_of_two_disks_are_refused_whatever_is_set() {
    let mut inventory = node(vec![
        empty_disk("/dev/sda", 20480),
        empty_disk("/dev/sdb", 20480),
    ]);
    inventory.disks[0].links.clear();
    inventory.disks[1].links = vec![
        "/dev/disk/by-id/ata-sda".to_owned(),
        "/dev/disk/by-path/2".to_owned(),
    ];
    let mut request = lvm_request();
    request.storage.disks[0].selector = DiskSelector::Fuel {
        extra: vec!["disk/by-path/2".to_owned()],
        id: String::new(),
        name: "sda".to_owned(),
    };
    let options = Options {
        match_by_name: true,
        ..Options::default()
    };
    let plan = plan(
        &request,
        &inventory,
        &known(),
        &options,
        &mut CountedIds::default(),
    )
    .unwrap();
    assert_eq!(plan.disks[0].device, "/dev/sda");
    insta::assert_snapshot!(render(&Error::new(plan.refusals[0].kind, plan.refusals[0].what.clone()).hint(plan.refusals[0].hint.clone())), @r"
    error: /dev/sda was found by its name /dev/sda, but /dev/disk/by-path/2 is on /dev/sdb
      hint: correct the ids in the request: all of them have to be of one disk (`provision inventory` shows the links)
    ");
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

fn errors(change: impl FnOnce(&mut Request, &mut Inventory)) -> Vec<String> {
    let (mut request, mut inventory) = (lvm_request(), machine());
    change(&mut request, &mut inventory);
    let errors = plan_of(&request, &inventory).unwrap_err();
    errors
        .into_iter()
        .map(|error| render(&Error::from(error)))
        .collect()
}

#[test]
fn contradictions_are_reported_all_at_once() {
    let errors = errors(|request, inventory| {
        let storage = &mut request.storage;
        storage.disks[0].partitions[2].start = mib(100);
        storage.disks[0].partitions[3].number = 129;
        storage.disks[0].partitions[4].size = Bytes::ZERO;
        storage.disks[0].partitions[5].size = Bytes(mib(20).0 + 512);
        storage
            .filesystems
            .push(filesystem(part(0, 3), None, "ext4"));
        storage.logical_volumes[1].volume_group = "none".to_owned();
        inventory.disks[0].logical_sector_size = 4096;
    });
    insta::assert_snapshot!(errors.join(""), @r"
    error: partition 5 of /dev/sda cannot have 0 B at 5549 MiB
      hint: give it a size above zero that ends on the disk
    error: partitions 2 and 3 of /dev/sda overlap: 26 MiB to 226 MiB and 100 MiB to 300 MiB
      hint: begin partition 3 at 226 MiB or later
    error: partition number 129 of /dev/sda is not between 1 and 128
      hint: number the partitions of a disk from 1 to 128, each once
    error: partition 6 of /dev/sda is not aligned to sectors of 4 KiB
      hint: begin and end it at multiples of 4 KiB, best at whole MiB
    error: logical volume `swap` refers to volume group `none`, which is not in the request
      hint: declare volume group `none`, or do not refer to it
    error: physical volume refers to partition 4 of disk 0, which is not in the request
      hint: declare partition 4 of disk 0, or do not refer to it
    error: /dev/sda3 is used twice: as filesystem for /boot and as filesystem without mount point
      hint: drop one of the two
    ");
}

#[test]
fn a_disk_that_is_not_there_is_told_with_those_that_are() {
    let errors = errors(|request, _| {
        request.storage.disks[0].selector = DiskSelector::Node("/dev/vda".to_owned());
    });
    insta::assert_snapshot!(errors.join(""), @r"
    error: no disk of this node is the one of `ks_spaces[sda]`: looked for /dev/vda; the node has
        /dev/sda (20 GiB, TEST 9000, serial SN-sda, links disk/by-id/ata-sda)
      hint: give an id or a name that this node has (`provision inventory`), or look why the disk is not there
    ");
}

#[test]
fn a_request_without_disks_is_no_plan() {
    let mut request = lvm_request();
    request.storage = Storage::default();
    request.images.clear();
    request.configdrive = None;
    assert_eq!(
        plan_of(&request, &machine()).unwrap_err(),
        [PlanError::NoDisks]
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
