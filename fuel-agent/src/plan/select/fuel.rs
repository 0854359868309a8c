//! Upstream's rule for the disk that an entry means.

use super::error::{ambiguous, missing};
use super::{How, Objection, SelectError, Selected, indexes};
use crate::model::index::InventoryDiskIndex;
use crate::model::inventory::Inventory;

/// A link that the request gives, and the disks of this node that have it: at least one.
struct LinkMatch {
    link: String,
    disks: Vec<InventoryDiskIndex>,
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
fn common(found: &[LinkMatch]) -> Vec<InventoryDiskIndex> {
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
pub(super) fn select(
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
fn by_link(
    disk: InventoryDiskIndex,
    deciding: &[LinkMatch],
    extra: &[String],
    entry: &str,
) -> Selected {
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
    candidates: &[InventoryDiskIndex],
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
    let is_it = |disk: InventoryDiskIndex| disk == selected.disk || paths.contains(&disk);
    let elsewhere = given
        .iter()
        .filter(|found| !found.disks.iter().any(|disk| is_it(*disk)));
    let sentences: Vec<String> = elsewhere
        .take(MOST)
        .map(|found| {
            let disks: Vec<&str> = found
                .disks
                .iter()
                .map(|disk| inventory[*disk].path.as_str())
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

fn by_name(
    disk: InventoryDiskIndex,
    node: String,
    entry: &str,
    among: bool,
    given: bool,
) -> Selected {
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
