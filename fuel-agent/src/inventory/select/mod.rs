//! Which real disk a request means: exactly one, or a refusal that says what was looked for and what there is.
//!
//! Fuel's rule is followed as upstream has it, its looseness included; what is loose about a choice is said with it, and
//! `run` decides what it dares.

use std::fmt;

use host::units::Bytes;

use super::{Disk, Inventory};
use crate::model::storage::{DiskSelector, DiskSpec};

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
mod tests;
