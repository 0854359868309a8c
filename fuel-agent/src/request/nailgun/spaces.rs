//! `ks_spaces` as it is written: the schema's rules, item by item, and nothing of what the layout makes of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::canonical;
use super::super::reader::{At, Findings, shown};
use crate::model::storage::DiskSelector;

/// Largest root filesystem that upstream accepts, in MiB.
const ROOT_LIMIT: i64 = 16 << 20;

/// The most volumes that are looked at, over all disks and groups; Fuel's largest nodes have some hundred.
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
    /// How the disk is found.
    pub(super) fn selector(&self) -> DiskSelector {
        DiskSelector::Fuel {
            extra: self.extra.clone(),
            id: self.id.clone(),
            name: self.name.clone(),
        }
    }
}

/// What a volume on a disk is.
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
    /// Its mount point; `none` is upstream's way to say that there is none.
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
pub(super) fn read(at: &At<'_>, findings: &mut Findings) -> Spaces {
    let mut spaces = Spaces::default();
    if !at.value().is_array() {
        at.wrong("an array of disks and volume groups", findings);
        return spaces;
    }
    let items = at.items(findings);
    if items.is_empty() {
        findings.add(at.path(), "is empty", "describe at least one disk");
    }
    let mut any_disk = items.is_empty();
    let mut seen = BTreeMap::new();
    for item in &items {
        if let Some(first) = seen.insert(canonical(item.value()).to_string(), item.path()) {
            findings.add(
                item.path(),
                format!("is the same as `{first}`"),
                "describe each disk and volume group once",
            );
        }
        match item.value().get("type").and_then(Value::as_str) {
            Some("disk") => {
                any_disk = true;
                spaces.disks.extend(disk(item, findings));
            }
            Some("vg") => spaces.groups.extend(group(item, findings)),
            _ => wrong_type(item, "`disk` or `vg`", findings),
        }
    }
    let on_disks: usize = spaces.disks.iter().map(|disk| disk.volumes.len()).sum();
    let in_groups: usize = spaces.groups.iter().map(|group| group.volumes.len()).sum();
    let count = on_disks + in_groups;
    if count > MOST_VOLUMES {
        let what = format!("has {count} volumes, more than the {MOST_VOLUMES} that are looked at");
        findings.add(at.path(), what, "describe one node");
    }
    if !any_disk {
        findings.add(
            at.path(),
            "has no item of type `disk`",
            "describe at least one disk",
        );
    }
    spaces
}

fn disk(at: &At<'_>, findings: &mut Findings) -> Option<Disk> {
    let name = at.required_text("name", "the kernel name, like `sda`", findings);
    let id = at.required_text("id", "the link below /dev, or the kernel name", findings);
    let size = required_integer(at, "size", "the size in MiB", findings);
    required_integer(at, "free_space", "an integer; it is not used", findings);
    let extra = at
        .require(
            "extra",
            "the by-id links below /dev, or an empty array",
            findings,
        )
        .map(|extra| {
            let items = extra.items(findings);
            items
                .iter()
                .filter_map(|item| item.text(findings).map(ToOwned::to_owned))
                .collect()
        });
    let volumes = at
        .require("volumes", "an array of volumes", findings)
        .map(|volumes| {
            let items = volumes.items(findings);
            items
                .iter()
                .filter_map(|item| volume(item, findings))
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

fn volume(at: &At<'_>, findings: &mut Findings) -> Option<Volume> {
    let size = required_integer(at, "size", "the size in MiB", findings);
    let named = |findings: &mut Findings| {
        ["mount", "file_system", "name"]
            .map(|key| at.optional_text(key, findings).map(ToOwned::to_owned))
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
        Some("partition") => (named(findings), Some(Kind::Partition)),
        Some("raid") => (named(findings), Some(Kind::Raid)),
        Some("pv") => (
            ["mount", "file_system", "name"].map(lax),
            physical_volume(at, findings),
        ),
        _ => {
            wrong_type(
                at,
                "`boot`, `lvm_meta_pool`, `partition`, `raid` or `pv`",
                findings,
            );
            return None;
        }
    };
    let size = size?;
    check_root(at, mount.as_deref(), size, findings);
    let wanted = matches!(kind, Some(Kind::Partition | Kind::Raid)) && size > 0;
    Some(Volume {
        path: at.path().to_owned(),
        kind: kind?,
        size,
        mount,
        file_system,
        name,
        label: if wanted {
            label(at, findings)
        } else {
            String::new()
        },
        guid: if wanted { guid(at, findings) } else { None },
        keep_data: at.get("keep_data").is_some_and(|flag| flag.truthy()),
    })
}

fn physical_volume(at: &At<'_>, findings: &mut Findings) -> Option<Kind> {
    let group = at.required_text("vg", "the name of the volume group", findings);
    let meta = required_integer(
        at,
        "lvm_meta_size",
        "the space for LVM's metadata in MiB",
        findings,
    );
    Some(Kind::Pv {
        group: group?.to_owned(),
        meta: meta?,
    })
}

fn group(at: &At<'_>, findings: &mut Findings) -> Option<Group> {
    let name = at.required_text("id", "the name of the volume group", findings);
    at.optional_text("label", findings);
    at.optional_text("_allocate_size", findings);
    if let Some(size) = at.get("min_size") {
        size.integer(findings);
    }
    let volumes = at
        .require(
            "volumes",
            "an array of logical volumes, which may be empty",
            findings,
        )
        .map(|volumes| {
            let items = volumes.items(findings);
            items
                .iter()
                .filter_map(|item| logical_volume(item, findings))
                .collect()
        });
    Some(Group {
        name: name?.to_owned(),
        volumes: volumes?,
    })
}

fn logical_volume(at: &At<'_>, findings: &mut Findings) -> Option<LogicalVolume> {
    if at.value().get("type").and_then(Value::as_str) != Some("lv") {
        wrong_type(at, "`lv`", findings);
        return None;
    }
    let size = required_integer(at, "size", "the size in MiB", findings);
    let name = at.required_text("name", "the name of the logical volume", findings);
    let mount = at.optional_text("mount", findings).map(ToOwned::to_owned);
    let file_system = at
        .optional_text("file_system", findings)
        .map(ToOwned::to_owned);
    let size = size?;
    check_root(at, mount.as_deref(), size, findings);
    Some(LogicalVolume {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        size,
        mount,
        file_system,
        label: if size > 0 {
            label(at, findings)
        } else {
            String::new()
        },
    })
}

fn check_root(at: &At<'_>, mount: Option<&str>, size: i64, findings: &mut Findings) {
    if mount == Some("/") && size > ROOT_LIMIT {
        findings.add(
            at.path_of("size"),
            format!("is {size} MiB, more than the 16 TiB that the root filesystem may have"),
            format!("give at most {ROOT_LIMIT}"),
        );
    }
}

/// `disk_label` is outside the schema: null and the like mean none.
fn label(at: &At<'_>, findings: &mut Findings) -> String {
    let Some(label) = at.get("disk_label").filter(At::truthy) else {
        return String::new();
    };
    match label.text(findings) {
        Some(text) if super::super::names::has_control(text) => {
            findings.add(
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
fn guid(at: &At<'_>, findings: &mut Findings) -> Option<String> {
    let guid = at.get("partition_guid").filter(At::truthy)?;
    guid.text(findings).map(ToOwned::to_owned)
}

fn required_integer(at: &At<'_>, key: &str, right: &str, findings: &mut Findings) -> Option<i64> {
    at.require(key, right, findings)?.integer(findings)
}

fn wrong_type(at: &At<'_>, right: &str, findings: &mut Findings) {
    if !at.object(findings) {
        return;
    }
    match at.get("type") {
        None => findings.add(at.path_of("type"), "is missing", format!("give {right}")),
        Some(given) => match given.value().as_str() {
            Some(text) => findings.add(
                given.path(),
                format!("is `{}`", shown(text)),
                format!("give {right}"),
            ),
            None => given.wrong(right, findings),
        },
    }
}
