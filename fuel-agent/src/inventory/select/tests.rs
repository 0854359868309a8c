use super::*;

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

#[test]
fn the_rule_is_upstreams() {
    // extra, id, name; index of the disk, and whether the name was taken against the ids
    let table: [(&[&str], &str, &str, usize, bool); 11] = [
        (&["disk/by-id/ata-B"], "sda", "sda", 1, false),
        (
            &["disk/by-id/none", "disk/by-id/ata-A"],
            "",
            "sdb",
            0,
            false,
        ),
        // With any `extra`, `id` does not count at all.
        (&["disk/by-id/none"], "disk/by-path/pci-2", "sda", 0, true),
        // Only by-id links of `extra` count.
        (&["disk/by-path/pci-2"], "", "sda", 0, true),
        (&[], "disk/by-path/pci-2", "sda", 1, false),
        (&[], "disk/by-path/pci-9", "sdb", 1, true),
        (&[], "sda", "sda", 0, false),
        (&["sda"], "sda", "sda", 0, false),
        (&["disk/by-id/nvme-same"], "", "nvme1n1", 3, false),
        (&["disk/by-id/nvme-same"], "", "nvme0n1", 2, false),
        // Upstream takes the name even where the links say two other disks.
        (&["disk/by-id/nvme-same"], "", "sda", 0, true),
    ];
    for (extra, id, name, index, despite) in table {
        let chosen = choose(extra, id, name).unwrap();
        assert_eq!(
            (chosen.disk, chosen.name_fallback_despite_ids),
            (index, despite),
            "{extra:?} {id} {name}"
        );
        let by_name = matches!(chosen.how, How::Name(_));
        assert_eq!(chosen.warning.is_some(), by_name, "{extra:?} {id} {name}");
    }
}

#[test]
fn a_missing_disk_is_named_with_what_there_is() {
    let error = choose(&["disk/by-id/none"], "", "vda").unwrap_err();
    insta::assert_snapshot!(error, @r"
    no disk of this node is the one of `ks_spaces[0]`: looked for /dev/disk/by-id/none, /dev/vda; there are
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
    let good: Vec<usize> = select_all(&disks[2..][1..], &node())
        .unwrap()
        .iter()
        .map(|chosen| chosen.disk)
        .collect();
    assert_eq!(good, [1]);
}

#[test]
fn a_node_of_the_explicit_layout_is_a_path_or_a_link() {
    for (node_name, index) in [("/dev/sdb", 1), ("/dev/disk/by-path/pci-1", 0)] {
        let chosen = select(&DiskSelector::Node(node_name.to_owned()), "x", &node()).unwrap();
        assert_eq!(chosen.disk, index);
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
    insta::assert_snapshot!(error.unwrap_err(), @"no disk of this node is the one of `parteds[0]`: looked for /dev/sda; there are no disks at all");
}
