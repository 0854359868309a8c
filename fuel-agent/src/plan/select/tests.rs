use super::*;
use host::units::Bytes;

fn disk(path: &str, links: &[&str]) -> Disk {
    Disk {
        path: path.to_owned(),
        size_bytes: Bytes(500_107_862_016),
        model: "Fast 500".to_owned(),
        serial: format!("S-{}", path.trim_start_matches("/dev/")),
        links: links.iter().map(|link| (*link).to_owned()).collect(),
        ..Disk::default()
    }
}

fn node() -> Inventory {
    Inventory {
        disks: vec![
            disk(
                "/dev/sda",
                &["/dev/disk/by-id/ata-A", "/dev/disk/by-path/pci-1"],
            ),
            disk(
                "/dev/sdb",
                &["/dev/disk/by-id/ata-B", "/dev/disk/by-path/pci-2"],
            ),
            disk("/dev/nvme0n1", &["/dev/disk/by-id/nvme-same"]),
            disk("/dev/nvme1n1", &["/dev/disk/by-id/nvme-same"]),
        ],
        ..Inventory::default()
    }
}

fn fuel_selector(extra: &[&str], id: &str, name: &str) -> DiskSelector {
    DiskSelector::Fuel {
        extra: extra.iter().map(|link| (*link).to_owned()).collect(),
        id: id.to_owned(),
        name: name.to_owned(),
    }
}

fn choose(extra: &[&str], id: &str, name: &str) -> Result<Selected, SelectError> {
    select(&fuel_selector(extra, id, name), "ks_spaces[0]", &node())
}

/// Why `run` would refuse a choice, in a word.
fn objection(chosen: &Selected) -> &'static str {
    match chosen.objection {
        None => "",
        Some(Objection::NameAlone) => "name",
        Some(Objection::Contradiction(_)) => "contradiction",
    }
}

#[test]
fn the_rule_is_upstreams() {
    // extra, id, name; index of the disk, and why `run` refuses it
    let table: [(&[&str], &str, &str, usize, &str); 11] = [
        (&["disk/by-id/ata-B"], "sda", "sda", 1, ""),
        (&["disk/by-id/none", "disk/by-id/ata-A"], "", "sdb", 0, ""),
        // With any `extra`, `id` does not count at all; that it is another disk's speaks against the name.
        (
            &["disk/by-id/none"],
            "disk/by-path/pci-2",
            "sda",
            0,
            "contradiction",
        ),
        (&["disk/by-id/none"], "disk/by-path/pci-1", "sda", 0, "name"),
        // Only by-id links of `extra` count.
        (&["disk/by-path/pci-2"], "", "sda", 0, "contradiction"),
        (&[], "disk/by-path/pci-2", "sda", 1, ""),
        (&[], "disk/by-path/pci-9", "sdb", 1, "name"),
        (&[], "sda", "sda", 0, ""),
        (&["sda"], "sda", "sda", 0, ""),
        (&["disk/by-id/nvme-same"], "", "nvme1n1", 3, ""),
        (&["disk/by-id/nvme-same"], "", "nvme0n1", 2, ""),
    ];
    for (extra, id, name, index, against) in table {
        let chosen = choose(extra, id, name).unwrap();
        assert_eq!(
            (chosen.disk, objection(&chosen)),
            (InventoryDiskIndex(index), against),
            "{extra:?} {id} {name}"
        );
        let by_name = matches!(chosen.how, How::Name(_));
        assert_eq!(chosen.warning.is_some(), by_name, "{extra:?} {id} {name}");
    }
}

/// Two disks that share an identity, the second with a link of its own, and a third.
fn twins() -> Inventory {
    let (usb, wwn) = (
        "/dev/disk/by-id/usb-X-0:0",
        "/dev/disk/by-id/wwn-0x5000000000000001",
    );
    Inventory {
        disks: vec![
            disk("/dev/sda", &[usb, wwn, "/dev/disk/by-path/port-2"]),
            disk(
                "/dev/sdb",
                &[
                    usb,
                    wwn,
                    "/dev/disk/by-path/port-3",
                    "/dev/disk/by-id/scsi-B",
                ],
            ),
            disk(
                "/dev/sdc",
                &["/dev/disk/by-id/ata-C", "/dev/disk/by-path/port-4"],
            ),
        ],
        ..Inventory::default()
    }
}

#[test]
fn links_that_fit_one_disk_decide_before_a_name_does() {
    const USB: &str = "disk/by-id/usb-X-0:0";
    const WWN: &str = "disk/by-id/wwn-0x5000000000000001";
    // extra, id, name; path of the disk, and why `run` refuses it
    let table: [(&[&str], &str, &str, &str, &str); 12] = [
        // the kernel counted as when the request was made, and the other way round
        (&[USB, WWN], "disk/by-path/port-2", "sda", "/dev/sda", ""),
        (&[USB, WWN], "disk/by-path/port-3", "sda", "/dev/sdb", ""),
        (&[USB, WWN], "disk/by-path/port-2", "sdc", "/dev/sda", ""),
        // a link of its own among those that are shared, wherever it stands
        (
            &[USB, WWN, "disk/by-id/scsi-B"],
            "sda",
            "sda",
            "/dev/sdb",
            "",
        ),
        (&["disk/by-id/scsi-B", USB], "sda", "sda", "/dev/sdb", ""),
        (
            &[USB, "disk/by-id/gone", "disk/by-id/scsi-B"],
            "",
            "sdz",
            "/dev/sdb",
            "",
        ),
        // only their names differ
        (&[USB, WWN], "sdb", "sdb", "/dev/sdb", ""),
        (&[USB, WWN], "disk/by-path/port-9", "sdb", "/dev/sdb", ""),
        // links of different disks
        (
            &["disk/by-id/ata-C", "disk/by-id/scsi-B"],
            "",
            "sdb",
            "/dev/sdb",
            "contradiction",
        ),
        (
            &["disk/by-id/ata-C"],
            "disk/by-path/port-3",
            "sdc",
            "/dev/sdc",
            "contradiction",
        ),
        (
            &[USB, WWN],
            "disk/by-path/port-4",
            "sdb",
            "/dev/sdb",
            "contradiction",
        ),
        // the name of a third disk
        (&[USB, WWN], "sdc", "sdc", "/dev/sdc", "contradiction"),
    ];
    let node = twins();
    for (extra, id, name, path, against) in table {
        let chosen = select(&fuel_selector(extra, id, name), "ks_spaces[0]", &node).unwrap();
        let got = (node[chosen.disk].path.as_str(), objection(&chosen));
        assert_eq!(got, (path, against), "{extra:?} {id} {name}");
    }
}

#[test]
fn what_decided_and_what_contradicts_is_told() {
    let node = twins();
    let select = |extra: &[&str], id: &str, name: &str| {
        select(&fuel_selector(extra, id, name), "ks_spaces[0]", &node).unwrap()
    };
    let shared = select(&["disk/by-id/usb-X-0:0"], "disk/by-path/port-3", "sda");
    insta::assert_snapshot!(shared.warning.unwrap(), @"`ks_spaces[0]`: several disks have its by-id links, and /dev/disk/by-path/port-3 decides");
    let own = select(&["disk/by-id/usb-X-0:0", "disk/by-id/scsi-B"], "", "sda");
    insta::assert_snapshot!(own.warning.unwrap(), @"`ks_spaces[0]`: several disks have the link /dev/disk/by-id/usb-X-0:0, and /dev/disk/by-id/scsi-B decides");
    let third = select(&["disk/by-id/usb-X-0:0"], "sdc", "sdc");
    let Some(Objection::Contradiction(links)) = third.objection else {
        panic!("{third:?}");
    };
    insta::assert_snapshot!(links, @"/dev/disk/by-id/usb-X-0:0 is on /dev/sda and /dev/sdb");
    let error = super::select(
        &fuel_selector(&["disk/by-id/ata-C", "disk/by-id/scsi-B"], "", "sdz"),
        "ks_spaces[0]",
        &node,
    );
    insta::assert_snapshot!(error.unwrap_err(), @r"
    several disks of this node match `ks_spaces[0]`: looked for /dev/disk/by-id/ata-C, /dev/disk/by-id/scsi-B, /dev/sdz; found
        /dev/sdb (465 GiB, Fast 500, serial S-sdb, links disk/by-id/usb-X-0:0 disk/by-id/wwn-0x5000000000000001 disk/by-path/port-3 disk/by-id/scsi-B)
        /dev/sdc (465 GiB, Fast 500, serial S-sdc, links disk/by-id/ata-C disk/by-path/port-4)
    ");
}

#[test]
fn a_link_of_all_paths_to_one_medium_is_no_riddle() {
    let path = |name: &str| Disk {
        wwn: "0x5000c500a1b2c3d4".to_owned(),
        transport: "sas".to_owned(),
        serial: "ZC11A2B3".to_owned(),
        ..disk(name, &["/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"])
    };
    let node = Inventory {
        disks: vec![path("/dev/sda"), path("/dev/sdm")],
        ..Inventory::default()
    };
    let link = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4";
    let chosen = select(&DiskSelector::Node(link.to_owned()), "x", &node).unwrap();
    assert_eq!(chosen.disk, InventoryDiskIndex(0));
    let selector = fuel_selector(&["disk/by-id/wwn-0x5000c500a1b2c3d4"], "", "sdz");
    let chosen = select(&selector, "x", &node).unwrap();
    assert_eq!(chosen.disk, InventoryDiskIndex(0));
    let spec = |path: &str, name: &str| DiskSpec {
        selector: DiskSelector::Node(name.to_owned()),
        path: path.to_owned(),
        table: crate::model::storage::Table::Gpt,
        bootloader: true,
        partitions: Vec::new(),
    };
    for second in ["/dev/sda", "/dev/sdm"] {
        let disks = [spec("a", link), spec("b", second)];
        let errors = select_all(&disks, &node).unwrap_err();
        assert!(
            matches!(errors[..], [SelectError::Twice { .. }]),
            "{errors:?}"
        );
    }
}

#[test]
fn a_missing_disk_is_named_with_what_there_is() {
    let error = choose(&["disk/by-id/none"], "", "vda").unwrap_err();
    insta::assert_snapshot!(error, @r"
    no disk of this node is the one of `ks_spaces[0]`: looked for /dev/disk/by-id/none, /dev/vda; the node has
        /dev/sda (465 GiB, Fast 500, serial S-sda, links disk/by-id/ata-A disk/by-path/pci-1)
        /dev/sdb (465 GiB, Fast 500, serial S-sdb, links disk/by-id/ata-B disk/by-path/pci-2)
        /dev/nvme0n1 (465 GiB, Fast 500, serial S-nvme0n1, links disk/by-id/nvme-same)
        /dev/nvme1n1 (465 GiB, Fast 500, serial S-nvme1n1, links disk/by-id/nvme-same)
    ");
}

#[test]
fn two_disks_with_one_link_are_told_apart_by_name_or_not_at_all() {
    let error = choose(&["disk/by-id/nvme-same"], "", "nvme7n1").unwrap_err();
    insta::assert_snapshot!(error, @r"
    several disks of this node match `ks_spaces[0]`: looked for /dev/disk/by-id/nvme-same, /dev/nvme7n1; found
        /dev/nvme0n1 (465 GiB, Fast 500, serial S-nvme0n1, links disk/by-id/nvme-same)
        /dev/nvme1n1 (465 GiB, Fast 500, serial S-nvme1n1, links disk/by-id/nvme-same)
    ");
}

#[test]
fn two_entries_on_one_disk_are_refused_and_all_errors_are_told() {
    let spec = |path: &str, selector| DiskSpec {
        selector,
        path: path.to_owned(),
        table: crate::model::storage::Table::Gpt,
        bootloader: true,
        partitions: Vec::new(),
    };
    let disks = [
        spec(
            "ks_spaces[0]",
            fuel_selector(&["disk/by-id/ata-A"], "", "sda"),
        ),
        spec(
            "ks_spaces[1]",
            fuel_selector(&[], "disk/by-path/pci-1", "sdb"),
        ),
        spec("ks_spaces[2]", fuel_selector(&[], "sdz", "sdz")),
        spec("ks_spaces[3]", fuel_selector(&[], "sdb", "sdb")),
    ];
    let errors = select_all(&disks, &node()).unwrap_err();
    assert!(
        matches!(&errors[..], [SelectError::Twice { first, second, .. }, SelectError::Missing { .. }]
            if first == "ks_spaces[0]" && second == "ks_spaces[1]"),
        "{errors:?}"
    );
    let good: Vec<InventoryDiskIndex> = select_all(&disks[2..][1..], &node())
        .unwrap()
        .iter()
        .map(|chosen| chosen.disk)
        .collect();
    assert_eq!(good, [InventoryDiskIndex(1)]);
}

#[test]
fn a_node_of_the_explicit_layout_is_a_path_or_a_link() {
    for (node_name, index) in [("/dev/sdb", 1), ("/dev/disk/by-path/pci-1", 0)] {
        let chosen = select(&DiskSelector::Node(node_name.to_owned()), "x", &node()).unwrap();
        assert_eq!(chosen.disk, InventoryDiskIndex(index));
    }
    for wrong in ["/dev/sdz", "sda", "/dev/disk/by-id/nvme-same"] {
        assert!(
            select(&DiskSelector::Node(wrong.to_owned()), "x", &node()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn an_empty_node_says_so() {
    let error = select(
        &DiskSelector::Node("/dev/sda".to_owned()),
        "parteds[0]",
        &Inventory::default(),
    );
    insta::assert_snapshot!(error.unwrap_err(), @"no disk of this node is the one of `parteds[0]`: looked for /dev/sda; the node has no disks");
}
