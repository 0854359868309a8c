//! Which real disk a request means: exactly one, or a refusal with what was looked for and what there is.
//!
//! Fuel's rule is followed as upstream has it, its looseness included; what is loose about a choice is noted with it,
//! and `run` decides which choices it accepts.

mod error;
mod fuel;

use std::fmt;

use crate::model::index::InventoryDiskIndex;
use crate::model::inventory::{Disk, Inventory};
use crate::model::storage::{DiskSelector, DiskSpec};
pub use error::{SelectError, describe};
use error::{ambiguous, missing};

/// The disk that was found for an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its position in the inventory that was searched.
    pub disk: InventoryDiskIndex,
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

/// The disk that `selector` means; `entry` is where it stands in the request.
pub fn select(
    selector: &DiskSelector,
    entry: &str,
    inventory: &Inventory,
) -> Result<Selected, SelectError> {
    match selector {
        DiskSelector::Fuel { extra, id, name } => fuel::select(extra, id, name, entry, inventory),
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
                        disk: describe(&inventory[choice.disk]),
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

fn indexes(inventory: &Inventory, wanted: impl Fn(&Disk) -> bool) -> Vec<InventoryDiskIndex> {
    inventory
        .disks()
        .filter(|(_, disk)| wanted(disk))
        .map(|(index, _)| index)
        .collect()
}

#[cfg(test)]
mod tests;
