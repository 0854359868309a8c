//! `ks_spaces` as it is written: the schema's rules, item by item, and nothing of what the layout makes of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::digest;
use super::super::reader::{Diagnostics, JsonCursor, redacted};
use crate::model::storage::DiskSelector;

/// Largest root filesystem that upstream accepts, in MiB.
const ROOT_LIMIT: i64 = 16 << 20;

/// The most volumes that are read, over all disks and groups; Fuel's largest nodes have some hundred.
const MOST_VOLUMES: usize = 4096;

/// Disks and volume groups, each in the order of the input.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    pub(super) disks: Vec<Disk>,
    pub(super) groups: Vec<Group>,
}

/// An item of type `disk`.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) extra: Vec<String>,
    pub(super) size: i64,
    pub(super) bootable: bool,
    pub(super) volumes: Vec<Volume>,
}

impl Disk {
    /// Selector of the real disk.
    pub(super) fn selector(&self) -> DiskSelector {
        DiskSelector::Fuel {
            extra: self.extra.clone(),
            id: self.id.clone(),
            name: self.name.clone(),
        }
    }
}

/// Kind of a volume on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `boot` and `lvm_meta_pool`: the orchestrator's bookkeeping, no partition.
    Bookkeeping,
    Partition,
    Raid,
    /// Physical volume of a group, with the space kept for LVM's metadata in MiB.
    Pv {
        group: String,
        meta: i64,
    },
}

/// A volume on a disk.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) size: i64,
    pub(super) mount: Option<String>,
    pub(super) file_system: Option<String>,
    pub(super) name: Option<String>,
    pub(super) label: String,
    pub(super) guid: Option<String>,
    pub(super) keep_data: bool,
}

impl Volume {
    /// Its mount point; `none` is upstream's word for no mount point.
    pub(super) fn mount(&self) -> Option<&str> {
        self.mount.as_deref().filter(|mount| *mount != "none")
    }

    /// Whether it is a partition or an array member for this mount point.
    pub(super) fn is_for(&self, mount: &str) -> bool {
        matches!(self.kind, Kind::Partition | Kind::Raid) && self.mount.as_deref() == Some(mount)
    }
}

/// An item of type `vg`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) volumes: Vec<LogicalVolume>,
}

/// A volume of a group.
#[derive(Debug)]
pub(super) struct LogicalVolume {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) size: i64,
    pub(super) mount: Option<String>,
    pub(super) file_system: Option<String>,
    pub(super) label: String,
}

/// Reads `ks_spaces`; what is left out of the result has its problem.
pub(super) fn read(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Spaces {
    let mut spaces = Spaces::default();
    if !at.value().is_array() {
        at.wrong("an array of disks and volume groups", diagnostics);
        return spaces;
    }
    let items = at.items(diagnostics);
    if items.is_empty() {
        diagnostics.add(at.path(), "is empty", "describe at least one disk");
    }
    let mut any_disk = items.is_empty();
    let mut seen = BTreeMap::new();
    for item in &items {
        if let Some(first) = seen.insert(digest(item.value()), item.path()) {
            diagnostics.add(
                item.path(),
                format!("is the same as `{first}`"),
                "describe each disk and volume group once",
            );
        }
        match item.value().get("type").and_then(Value::as_str) {
            Some("disk") => {
                any_disk = true;
                spaces.disks.extend(disk(item, diagnostics));
            }
            Some("vg") => spaces.groups.extend(group(item, diagnostics)),
            _ => wrong_type(item, "`disk` or `vg`", diagnostics),
        }
    }
    let on_disks: usize = spaces.disks.iter().map(|disk| disk.volumes.len()).sum();
    let in_groups: usize = spaces.groups.iter().map(|group| group.volumes.len()).sum();
    let count = on_disks.saturating_add(in_groups);
    if count > MOST_VOLUMES {
        let what = format!("has {count} volumes, more than the {MOST_VOLUMES} that are looked at");
        diagnostics.add(at.path(), what, "describe one node");
    }
    if !any_disk {
        diagnostics.add(
            at.path(),
            "has no item of type `disk`",
            "describe at least one disk",
        );
    }
    spaces
}

fn disk(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Disk> {
    let name = at.required_text("name", "the kernel name, like `sda`", diagnostics);
    let id = at.required_text("id", "the link below /dev, or the kernel name", diagnostics);
    let size = required_integer(at, "size", "the size in MiB", diagnostics);
    required_integer(at, "free_space", "an integer; it is not used", diagnostics);
    let extra = at
        .require(
            "extra",
            "the by-id links below /dev, or an empty array",
            diagnostics,
        )
        .map(|extra| {
            let items = extra.items(diagnostics);
            items
                .iter()
                .filter_map(|item| item.text(diagnostics).map(ToOwned::to_owned))
                .collect()
        });
    let volumes = at
        .require("volumes", "an array of volumes", diagnostics)
        .map(|volumes| {
            let items = volumes.items(diagnostics);
            items
                .iter()
                .filter_map(|item| volume(item, diagnostics))
                .collect()
        });
    Some(Disk {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        id: id?.to_owned(),
        extra: extra?,
        size: size?,
        bootable: at.get("bootable").is_some_and(|flag| flag.truthy()),
        volumes: volumes?,
    })
}

fn volume(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Volume> {
    let size = required_integer(at, "size", "the size in MiB", diagnostics);
    let named = |diagnostics: &mut Diagnostics| {
        ["mount", "file_system", "name"]
            .map(|key| at.optional_text(key, diagnostics).map(ToOwned::to_owned))
    };
    let lax = |key: &str| {
        at.value()
            .get(key)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let ([mount, file_system, name], kind) = match at.value().get("type").and_then(Value::as_str) {
        Some("boot" | "lvm_meta_pool") => (
            ["mount", "file_system", "name"].map(lax),
            Some(Kind::Bookkeeping),
        ),
        Some("partition") => (named(diagnostics), Some(Kind::Partition)),
        Some("raid") => (named(diagnostics), Some(Kind::Raid)),
        Some("pv") => (
            ["mount", "file_system", "name"].map(lax),
            physical_volume(at, diagnostics),
        ),
        _ => {
            wrong_type(
                at,
                "`boot`, `lvm_meta_pool`, `partition`, `raid` or `pv`",
                diagnostics,
            );
            return None;
        }
    };
    let size = size?;
    check_root(at, mount.as_deref(), size, diagnostics);
    let wanted = matches!(kind, Some(Kind::Partition | Kind::Raid)) && size > 0;
    Some(Volume {
        path: at.path().to_owned(),
        kind: kind?,
        size,
        mount,
        file_system,
        name,
        label: if wanted {
            label(at, diagnostics)
        } else {
            String::new()
        },
        guid: if wanted { guid(at, diagnostics) } else { None },
        keep_data: at.get("keep_data").is_some_and(|flag| flag.truthy()),
    })
}

fn physical_volume(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Kind> {
    let group = at.required_text("vg", "the name of the volume group", diagnostics);
    let meta = required_integer(
        at,
        "lvm_meta_size",
        "the space for LVM's metadata in MiB",
        diagnostics,
    );
    Some(Kind::Pv {
        group: group?.to_owned(),
        meta: meta?,
    })
}

fn group(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Group> {
    let name = at.required_text("id", "the name of the volume group", diagnostics);
    at.optional_text("label", diagnostics);
    at.optional_text("_allocate_size", diagnostics);
    if let Some(size) = at.get("min_size") {
        size.integer(diagnostics);
    }
    let volumes = at
        .require(
            "volumes",
            "an array of logical volumes, which may be empty",
            diagnostics,
        )
        .map(|volumes| {
            let items = volumes.items(diagnostics);
            items
                .iter()
                .filter_map(|item| logical_volume(item, diagnostics))
                .collect()
        });
    Some(Group {
        name: name?.to_owned(),
        volumes: volumes?,
    })
}

fn logical_volume(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<LogicalVolume> {
    if at.value().get("type").and_then(Value::as_str) != Some("lv") {
        wrong_type(at, "`lv`", diagnostics);
        return None;
    }
    let size = required_integer(at, "size", "the size in MiB", diagnostics);
    let name = at.required_text("name", "the name of the logical volume", diagnostics);
    let mount = at
        .optional_text("mount", diagnostics)
        .map(ToOwned::to_owned);
    let file_system = at
        .optional_text("file_system", diagnostics)
        .map(ToOwned::to_owned);
    let size = size?;
    check_root(at, mount.as_deref(), size, diagnostics);
    Some(LogicalVolume {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        size,
        mount,
        file_system,
        label: if size > 0 {
            label(at, diagnostics)
        } else {
            String::new()
        },
    })
}

fn check_root(at: &JsonCursor<'_>, mount: Option<&str>, size: i64, diagnostics: &mut Diagnostics) {
    if mount == Some("/") && size > ROOT_LIMIT {
        diagnostics.add(
            at.path_of("size"),
            format!("is {size} MiB, more than the 16 TiB that the root filesystem may have"),
            format!("give at most {ROOT_LIMIT}"),
        );
    }
}

/// `disk_label` is outside the schema: null and the like mean none.
fn label(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> String {
    let Some(label) = at.get("disk_label").filter(JsonCursor::truthy) else {
        return String::new();
    };
    match label.text(diagnostics) {
        Some(text) if super::super::names::has_control(text) => {
            diagnostics.add(
                label.path(),
                "has control characters in it",
                "give a printable label",
            );
            String::new()
        }
        text => text.unwrap_or_default().to_owned(),
    }
}

/// `partition_guid` is outside the schema: null and the like mean none.
fn guid(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let guid = at.get("partition_guid").filter(JsonCursor::truthy)?;
    guid.text(diagnostics).map(ToOwned::to_owned)
}

fn required_integer(
    at: &JsonCursor<'_>,
    key: &str,
    right: &str,
    diagnostics: &mut Diagnostics,
) -> Option<i64> {
    at.require(key, right, diagnostics)?.integer(diagnostics)
}

fn wrong_type(at: &JsonCursor<'_>, right: &str, diagnostics: &mut Diagnostics) {
    if !at.object(diagnostics) {
        return;
    }
    match at.get("type") {
        None => diagnostics.add(at.path_of("type"), "is missing", format!("give {right}")),
        Some(given) => match given.value().as_str() {
            Some(text) => diagnostics.add(
                given.path(),
                format!("is `{}`", redacted(text)),
                format!("give {right}"),
            ),
            None => given.wrong(right, diagnostics),
        },
    }
}
