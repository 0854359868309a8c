//! Disks that are not written to.

use super::*;

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
    let refusal = plan.refusals[0].clone();
    let error = Error::new(refusal.kind, refusal.what).hint(refusal.hint);
    insta::assert_snapshot!(render(&error), @r"
    error: /dev/sda was found by its name /dev/sda, but /dev/disk/by-path/2 is on /dev/sdb
      hint: correct the ids in the request: all of them have to be of one disk (`provision inventory` shows the links)
    ");
}
