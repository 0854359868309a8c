//! Which real disk a request means: exactly one, or a refusal with what was looked for and what there is.
//!
//! Fuel's rule is followed as upstream has it, its looseness included; what is loose about a choice is noted with it,
//! and `run` decides which choices it accepts.

use std::fmt;

use host::units::Bytes;

use crate::model::inventory::{Disk, Inventory};
use crate::model::storage::{DiskSelector, DiskSpec};

/// The disk that was found for an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Index into the inventory's disks.
    pub disk: usize,
    /// The id or name that found it.
    pub how: How,
    /// Warning about the choice, for the reader of the plan.
    pub warning: Option<String>,
    /// Why `run` refuses (5) to write to it, although it is what upstream would take.
    pub objection: Option<Objection>,
}

/// What speaks against a disk that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Links were given, none of them is on this node, and the kernel name decided. `provision.match=name` allows it.
    NameAlone,
    /// Links that were given lead to other disks; each as `LINK is on DISKS`. Nothing allows it.
    Contradiction(String),
}

/// The id or name that found a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// A by-id link of `extra`.
    ById(String),
    /// The link below /dev that `id` names.
    ByLink(String),
    /// The kernel name, such as `sda`.
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
    /// No disk matches.
    #[error("no disk of this node is the one of `{entry}`: looked for {sought}; {there}")]
    Missing {
        /// JSON path of the entry.
        entry: String,
        /// Ids and names of the request, for the message.
        sought: String,
        /// Disks of the node, for the message.
        there: String,
    },
    /// Several match, and the name does not decide.
    #[error("several disks of this node match `{entry}`: looked for {sought}; found{found}")]
    Ambiguous {
        /// JSON path of the entry.
        entry: String,
        /// Ids and names of the request, for the message.
        sought: String,
        /// The disks that match, for the message.
        found: String,
    },
    /// Two entries mean the same disk, by one path or by two.
    #[error("`{first}` and `{second}` are both {disk}")]
    Twice {
        /// JSON path of the entry that comes first.
        first: String,
        /// JSON path of the other.
        second: String,
        /// Device node of the disk.
        disk: String,
    },
}

impl SelectError {
    /// What to do about it.
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

/// The disks of all entries, in their order; every entry that has none is reported, and every disk that two entries
/// mean.
pub fn select_all(
    disks: &[DiskSpec],
    inventory: &Inventory,
) -> Result<Vec<Selected>, Vec<SelectError>> {
    let mut errors = Vec::new();
    let mut selected: Vec<(&str, Selected)> = Vec::new();
    for spec in disks {
        match select(&spec.selector, &spec.path, inventory) {
            Ok(choice) => {
                let paths = inventory.other_paths(choice.disk);
                let twin = selected
                    .iter()
                    .find(|(_, other)| other.disk == choice.disk || paths.contains(&other.disk));
                if let Some((first, _)) = twin {
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

/// A link that the request gives, and the disks of this node that have it: at least one.
struct LinkMatch {
    link: String,
    disks: Vec<usize>,
}

/// Those of `links` (without their `/dev/`) that some disk has.
fn found<'a>(links: impl Iterator<Item = &'a str>, inventory: &Inventory) -> Vec<LinkMatch> {
    let on_disks = links.map(|link| {
        let link = format!("/dev/{link}");
        let disks = indexes(inventory, |disk| disk.links.contains(&link));
        LinkMatch { link, disks }
    });
    on_disks.filter(|found| !found.disks.is_empty()).collect()
}

/// The disks that have all of these links.
fn common(found: &[LinkMatch]) -> Vec<usize> {
    let Some((first, rest)) = found.split_first() else {
        return Vec::new();
    };
    let mut disks = first.disks.clone();
    disks.retain(|disk| rest.iter().all(|other| other.disks.contains(disk)));
    disks
}

/// Upstream's rule: by-id links of `extra`, or without any `extra` the link `id`; the name where that finds nothing.
///
/// Where it finds several (udev gives two `NVMe` disks the same by-id link, bridges and cheap disks share their
/// identity, and multipath has it on every path), upstream takes the name. Here the links that fit fewer of them decide
/// first, `id` included: names change with every start.
fn fuel(
    extra: &[String],
    id: &str,
    name: &str,
    entry: &str,
    inventory: &Inventory,
) -> Result<Selected, SelectError> {
    let node = format!("/dev/{name}");
    let named = indexes(inventory, |disk| disk.path == node);
    let links = extra.iter().map(String::as_str);
    let deciding = if extra.is_empty() {
        found([id].into_iter(), inventory)
    } else {
        let by_id = links.clone().filter(|link| link.starts_with("disk/by-id"));
        found(by_id, inventory)
    };
    let candidates = common(&deciding);
    let selected = match (&candidates[..], &named[..]) {
        ([disk], _) => by_link(*disk, &deciding, extra, entry),
        ([_, _, ..], _)
            if let Some(selected) = by_second_link(&candidates, id, entry, inventory) =>
        {
            selected
        }
        (several, [disk]) => {
            let among = several.contains(disk);
            let given = !deciding.is_empty() || gives_links(extra, id);
            by_name(*disk, node, entry, among, given)
        }
        ([_, _, ..], []) if let Some(disk) = inventory.one_medium(&candidates) => {
            by_link(disk, &deciding, extra, entry)
        }
        ([], []) if deciding.is_empty() => {
            return Err(missing(entry, sought(extra, id, &node), inventory));
        }
        _ => {
            let mut several = named;
            several.extend(deciding.iter().flat_map(|found| &found.disks));
            several.sort_unstable();
            several.dedup();
            return Err(ambiguous(
                entry,
                sought(extra, id, &node),
                &several,
                inventory,
            ));
        }
    };
    let given = found(links.chain([id]), inventory);
    Ok(contradicted(selected, &given, inventory))
}

/// The disk that the links of `deciding` have in common.
fn by_link(disk: usize, deciding: &[LinkMatch], extra: &[String], entry: &str) -> Selected {
    let narrowest = deciding.iter().min_by_key(|found| found.disks.len());
    let link = narrowest.map_or_else(String::new, |found| found.link.clone());
    let shared = deciding.iter().find(|found| found.disks.len() > 1);
    Selected {
        disk,
        warning: shared.map(|shared| {
            format!(
                "`{entry}`: several disks have the link {}, and {link} decides",
                shared.link
            )
        }),
        how: if extra.is_empty() {
            How::ByLink(link)
        } else {
            How::ById(link)
        },
        objection: None,
    }
}

/// The one of `candidates` that has the link `id`, which upstream passes over where there is any `extra`.
fn by_second_link(
    candidates: &[usize],
    id: &str,
    entry: &str,
    inventory: &Inventory,
) -> Option<Selected> {
    let second = found([id].into_iter(), inventory).pop()?;
    let mut fitting = candidates.iter().filter(|disk| second.disks.contains(disk));
    let (Some(disk), None) = (fitting.next(), fitting.next()) else {
        return None;
    };
    let link = second.link;
    Some(Selected {
        disk: *disk,
        warning: Some(format!(
            "`{entry}`: several disks have its by-id links, and {link} decides"
        )),
        how: How::ByLink(link),
        objection: None,
    })
}

/// What was selected, with the links of the request that are on other disks of this node only.
fn contradicted(selected: Selected, given: &[LinkMatch], inventory: &Inventory) -> Selected {
    const MOST: usize = 4;
    let paths = inventory.other_paths(selected.disk);
    let is_it = |disk: usize| disk == selected.disk || paths.contains(&disk);
    let elsewhere = given
        .iter()
        .filter(|found| !found.disks.iter().any(|disk| is_it(*disk)));
    let sentences: Vec<String> = elsewhere
        .take(MOST)
        .map(|found| {
            let disks: Vec<&str> = found
                .disks
                .iter()
                .map(|disk| inventory.disks[*disk].path.as_str())
                .collect();
            format!("{} is on {}", found.link, disks.join(" and "))
        })
        .collect();
    if sentences.is_empty() {
        return selected;
    }
    Selected {
        objection: Some(Objection::Contradiction(sentences.join(", "))),
        ..selected
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
        objection: (given && !among).then_some(Objection::NameAlone),
    }
}

/// Whether the request names the disk by more than its kernel name: inputs made by hand put that into `id` and `extra`
/// too.
fn gives_links(extra: &[String], id: &str) -> bool {
    let is_link = |text: &str| text.starts_with("disk/");
    if extra.is_empty() {
        is_link(id)
    } else {
        extra.iter().any(|text| is_link(text))
    }
}

fn by_node(node: &str, entry: &str, inventory: &Inventory) -> Result<Selected, SelectError> {
    let mut meant = indexes(inventory, |disk| disk.path == node);
    let is_name = !meant.is_empty();
    meant.extend(indexes(inventory, |disk| {
        disk.path != node && disk.links.iter().any(|link| link == node)
    }));
    let disk = match &meant[..] {
        [] => return Err(missing(entry, node.to_owned(), inventory)),
        [disk] => *disk,
        several => match inventory.one_medium(several) {
            Some(disk) => disk,
            None => return Err(ambiguous(entry, node.to_owned(), several, inventory)),
        },
    };
    Ok(Selected {
        disk,
        how: if is_name {
            How::Name(node.to_owned())
        } else {
            How::ByLink(node.to_owned())
        },
        warning: None,
        objection: None,
    })
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
            "the node has no disks".to_owned()
        } else {
            format!("the node has{}", list(inventory.disks.iter()))
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

/// A disk in one line, with everything that identifies it.
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
