//! Which real disk a request means: exactly one, or a refusal that says what was looked for and what there is.
//!
//! Fuel's rule is followed as upstream has it, its looseness included; what is loose about a choice is said with it, and
//! `run` decides what it dares.

use std::fmt;

use host::units::Bytes;

use super::{Disk, Inventory};
use crate::request::spec::{DiskSelector, DiskSpec};

/// The disk that was found for an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Index into the inventory's disks.
    pub disk: usize,
    /// What it was found by.
    pub how: How,
    /// What a person should know about the choice.
    pub warning: Option<String>,
    /// Ids were given, and the disk was taken by its kernel name although none of them is its own: `run` refuses (5) unless
    /// `provision.match=name` is set.
    pub name_fallback_despite_ids: bool,
}

/// What a disk was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// A by-id link of `extra`.
    ById(String),
    /// The link that `id` names.
    ByLink(String),
    /// The kernel name.
    Name(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ById(link) | Self::ByLink(link) => write!(f, "link {link}"),
            Self::Name(name) => write!(f, "name {name}"),
        }
    }
}

/// Why there is no disk for an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Nothing matches.
    #[error("no disk of this node is the one of `{entry}`: looked for {sought}; there {there}")]
    Missing {
        /// JSON path of the entry.
        entry: String,
        /// What was looked for.
        sought: String,
        /// What the node has.
        there: String,
    },
    /// Several match, and the name does not decide.
    #[error("several disks of this node match `{entry}`: looked for {sought}; found{found}")]
    Ambiguous {
        /// JSON path of the entry.
        entry: String,
        /// What was looked for.
        sought: String,
        /// The disks that match.
        found: String,
    },
    /// Two entries mean the same disk.
    #[error("`{first}` and `{second}` are both {disk}")]
    Twice {
        /// JSON path of the entry that comes first.
        first: String,
        /// JSON path of the other.
        second: String,
        /// The disk.
        disk: String,
    },
}

impl SelectError {
    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "give an id or a name that this node has (`provision inventory`), or look why the disk is not there"
            }
            Self::Ambiguous { .. } => "give links that only one disk has, or the exact kernel name",
            Self::Twice { .. } => "describe each disk once",
        }
    }
}

/// The disk that `selector` means; `entry` is where it stands in the request.
pub fn select(
    selector: &DiskSelector,
    entry: &str,
    inventory: &Inventory,
) -> Result<Selected, SelectError> {
    match selector {
        DiskSelector::Fuel { extra, id, name } => fuel(extra, id, name, entry, inventory),
        DiskSelector::Node(node) => by_node(node, entry, inventory),
    }
}

/// The disks of all entries, in their order; every entry that has none is reported, and every disk that two entries mean.
pub fn select_all(
    disks: &[DiskSpec],
    inventory: &Inventory,
) -> Result<Vec<Selected>, Vec<SelectError>> {
    let mut errors = Vec::new();
    let mut selected: Vec<(&str, Selected)> = Vec::new();
    for spec in disks {
        match select(&spec.selector, &spec.path, inventory) {
            Ok(choice) => {
                if let Some((first, _)) =
                    selected.iter().find(|(_, other)| other.disk == choice.disk)
                {
                    errors.push(SelectError::Twice {
                        first: (*first).to_owned(),
                        second: spec.path.clone(),
                        disk: describe(&inventory.disks[choice.disk]),
                    });
                }
                selected.push((&spec.path, choice));
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(selected.into_iter().map(|(_, choice)| choice).collect())
    } else {
        Err(errors)
    }
}

/// Upstream's rule: by-id links of `extra`, or without any `extra` the link `id`; the name where that finds nothing, and
/// also where it finds several (udev may give two `NVMe` disks the same by-id link, and multipath has it on every path).
fn fuel(
    extra: &[String],
    id: &str,
    name: &str,
    entry: &str,
    inventory: &Inventory,
) -> Result<Selected, SelectError> {
    let node = format!("/dev/{name}");
    let link_of = |disk: &Disk| -> Option<String> {
        let wanted = |link: &&String| {
            let below_dev = link.strip_prefix("/dev/");
            if extra.is_empty() {
                below_dev == Some(id)
            } else {
                link.starts_with("/dev/disk/by-id") && extra.iter().any(|e| below_dev == Some(e))
            }
        };
        disk.links.iter().find(wanted).cloned()
    };
    let matched: Vec<(usize, String)> = enumerate(inventory)
        .filter_map(|(index, disk)| Some((index, link_of(disk)?)))
        .collect();
    let named: Vec<usize> = indexes(inventory, |disk| disk.path == node);
    let sought = sought(extra, id, &node);
    match (&matched[..], &named[..]) {
        ([(disk, link)], _) => Ok(Selected {
            disk: *disk,
            how: if extra.is_empty() {
                How::ByLink(link.clone())
            } else {
                How::ById(link.clone())
            },
            warning: None,
            name_fallback_despite_ids: false,
        }),
        (_, [disk]) => {
            let among = matched.iter().any(|(index, _)| index == disk);
            let given = !matched.is_empty() || gives_links(extra, id);
            Ok(by_name(*disk, node, entry, among, given))
        }
        ([], []) => Err(missing(entry, sought, inventory)),
        ([], several) => Err(ambiguous(entry, sought, several, inventory)),
        (several, _) => {
            let several: Vec<usize> = several.iter().map(|(index, _)| *index).collect();
            Err(ambiguous(entry, sought, &several, inventory))
        }
    }
}

fn by_name(disk: usize, node: String, entry: &str, among: bool, given: bool) -> Selected {
    let warning = if among {
        format!("`{entry}`: several disks have its links, and the kernel name {node} decides")
    } else if given {
        format!(
            "`{entry}`: none of its links is on {node}, which is taken by its kernel name alone"
        )
    } else {
        format!(
            "`{entry}`: {node} is taken by its kernel name, which may be another disk's after the next boot"
        )
    };
    Selected {
        disk,
        how: How::Name(node),
        warning: Some(warning),
        name_fallback_despite_ids: given && !among,
    }
}

/// Whether the request names the disk by more than its kernel name: inputs made by hand put that into `id` and `extra` too.
fn gives_links(extra: &[String], id: &str) -> bool {
    let is_link = |text: &str| text.starts_with("disk/");
    if extra.is_empty() {
        is_link(id)
    } else {
        extra.iter().any(|text| is_link(text))
    }
}

fn by_node(node: &str, entry: &str, inventory: &Inventory) -> Result<Selected, SelectError> {
    let named = indexes(inventory, |disk| disk.path == node);
    let linked = indexes(inventory, |disk| disk.links.iter().any(|link| link == node));
    match (&named[..], &linked[..]) {
        ([disk], _) => Ok(Selected {
            disk: *disk,
            how: How::Name(node.to_owned()),
            warning: None,
            name_fallback_despite_ids: false,
        }),
        ([], [disk]) => Ok(Selected {
            disk: *disk,
            how: How::ByLink(node.to_owned()),
            warning: None,
            name_fallback_despite_ids: false,
        }),
        ([], []) => Err(missing(entry, node.to_owned(), inventory)),
        ([], several) | (several, _) => Err(ambiguous(entry, node.to_owned(), several, inventory)),
    }
}

fn enumerate(inventory: &Inventory) -> impl Iterator<Item = (usize, &Disk)> {
    inventory.disks.iter().enumerate()
}

fn indexes(inventory: &Inventory, wanted: impl Fn(&Disk) -> bool) -> Vec<usize> {
    enumerate(inventory)
        .filter(|(_, disk)| wanted(disk))
        .map(|(index, _)| index)
        .collect()
}

fn sought(extra: &[String], id: &str, node: &str) -> String {
    let mut all: Vec<String> = if extra.is_empty() {
        vec![format!("/dev/{id}")]
    } else {
        extra.iter().map(|link| format!("/dev/{link}")).collect()
    };
    if !all.iter().any(|known| known == node) {
        all.push(node.to_owned());
    }
    all.join(", ")
}

fn missing(entry: &str, sought: String, inventory: &Inventory) -> SelectError {
    SelectError::Missing {
        entry: entry.to_owned(),
        sought,
        there: if inventory.disks.is_empty() {
            "are no disks at all".to_owned()
        } else {
            format!("are{}", list(inventory.disks.iter()))
        },
    }
}

fn ambiguous(entry: &str, sought: String, several: &[usize], inventory: &Inventory) -> SelectError {
    SelectError::Ambiguous {
        entry: entry.to_owned(),
        sought,
        found: list(several.iter().map(|&index| &inventory.disks[index])),
    }
}

/// One disk a line: a node may have dozens, with half a dozen links each.
fn list<'a>(disks: impl Iterator<Item = &'a Disk>) -> String {
    let mut lines = String::new();
    for disk in disks {
        lines.push_str("\n    ");
        lines.push_str(&describe(disk));
    }
    lines
}

/// A disk in one line, by everything that a person may know it by.
pub fn describe(disk: &Disk) -> String {
    let mut text = format!("{} ({}", disk.path, size(disk.size_bytes));
    let vendor_model = format!("{} {}", disk.vendor, disk.model);
    for (word, value) in [("", vendor_model.trim()), ("serial ", disk.serial.as_str())] {
        if !value.is_empty() {
            text = format!("{text}, {word}{value}");
        }
    }
    let links: Vec<&str> = disk
        .links
        .iter()
        .filter_map(|link| link.strip_prefix("/dev/"))
        .collect();
    if !links.is_empty() {
        text = format!("{text}, links {}", links.join(" "));
    }
    text.push(')');
    text
}

/// Rounded down to what is printed on a label, with the exact bytes left to the inventory.
fn size(bytes: Bytes) -> String {
    if bytes >= Bytes::GIB {
        format!("{} GiB", bytes.0 / Bytes::GIB.0)
    } else {
        format!("{} MiB", bytes.0 / Bytes::MIB.0)
    }
}

#[cfg(test)]
mod tests {
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
            table: crate::request::spec::Table::Gpt,
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
}
