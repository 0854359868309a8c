//! Why there is no disk for an entry, with what was looked for and what there is.

use host::units::Bytes;

use crate::model::index::InventoryDiskIndex;
use crate::model::inventory::{Disk, Inventory};

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

pub(super) fn missing(entry: &str, sought: String, inventory: &Inventory) -> SelectError {
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

pub(super) fn ambiguous(
    entry: &str,
    sought: String,
    several: &[InventoryDiskIndex],
    inventory: &Inventory,
) -> SelectError {
    SelectError::Ambiguous {
        entry: entry.to_owned(),
        sought,
        found: list(several.iter().map(|&index| &inventory[index])),
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
