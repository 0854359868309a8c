//! `partitioning` as it is written: six lists of elements, whose keys are all known; what they refer to is not checked.

use crate::model::filesystem::FilesystemType;
use host::units::Bytes;

use super::super::reader::{Diagnostics, JsonCursor, redacted};

/// The lists, each in the order of the input.
#[derive(Debug, Default)]
pub(super) struct Elements {
    pub(super) parteds: Vec<Parted>,
    pub(super) mds: Vec<Md>,
    pub(super) pvs: Vec<Pv>,
    pub(super) vgs: Vec<Vg>,
    pub(super) lvs: Vec<Lv>,
    pub(super) fss: Vec<Fs>,
}

/// A text and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) path: String,
    pub(super) text: String,
}

/// A disk with its table.
#[derive(Debug)]
pub(super) struct Parted {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) label: String,
    pub(super) install_bootloader: bool,
    pub(super) partitions: Vec<Partition>,
}

/// Element of `partitions`.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) count: i64,
    pub(super) device: String,
    pub(super) begin: i64,
    pub(super) end: i64,
    pub(super) kind: String,
    pub(super) flags: Vec<Named>,
    pub(super) guid: Option<String>,
    pub(super) configdrive: bool,
    pub(super) keep_data: bool,
}

/// Element for an md array.
#[derive(Debug)]
pub(super) struct Md {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) level: String,
    pub(super) metadata: String,
    pub(super) devices: Vec<Named>,
    pub(super) spares: Vec<Named>,
    pub(super) keep_data: bool,
}

/// Element for an LVM physical volume.
#[derive(Debug)]
pub(super) struct Pv {
    pub(super) name: Named,
    pub(super) metadata_size: Bytes,
    pub(super) metadata_copies: u32,
    pub(super) keep_data: bool,
}

/// Element for an LVM volume group.
#[derive(Debug)]
pub(super) struct Vg {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) pvnames: Vec<Named>,
    pub(super) keep_data: bool,
}

/// Element for an LVM logical volume.
#[derive(Debug)]
pub(super) struct Lv {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) vgname: String,
    pub(super) size: Bytes,
    pub(super) keep_data: bool,
}

/// Element for a filesystem.
#[derive(Debug)]
pub(super) struct Fs {
    pub(super) path: String,
    pub(super) device: Named,
    pub(super) mount: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) options: String,
    pub(super) label: String,
    pub(super) keep_data: bool,
}

impl Fs {
    /// Type of a filesystem without one.
    pub(super) const DEFAULT_KIND: &str = "xfs";

    pub(super) fn kind(&self) -> FilesystemType {
        self.kind.as_deref().unwrap_or(Self::DEFAULT_KIND).into()
    }
}

/// Reads the lists; a missing one is empty.
pub(super) fn read(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Elements {
    if !at.object(diagnostics) {
        return Elements::default();
    }
    Elements {
        parteds: list(at, "parteds", parted, diagnostics),
        mds: list(at, "mds", md, diagnostics),
        pvs: list(at, "pvs", pv, diagnostics),
        vgs: list(at, "vgs", vg, diagnostics),
        lvs: list(at, "lvs", lv, diagnostics),
        fss: list(at, "fss", fs, diagnostics),
    }
}

fn list<T>(
    at: &JsonCursor<'_>,
    key: &str,
    read: impl Fn(&JsonCursor<'_>, &mut Diagnostics) -> Option<T>,
    diagnostics: &mut Diagnostics,
) -> Vec<T> {
    let Some(list) = at.get(key) else {
        return Vec::new();
    };
    let items = list.items(diagnostics);
    items
        .iter()
        .filter_map(|item| read(item, diagnostics))
        .collect()
}

/// Unlike elsewhere, upstream fails on an unknown key.
fn only(at: &JsonCursor<'_>, keys: &[&str], diagnostics: &mut Diagnostics) {
    for (key, value) in at.entries(diagnostics) {
        if !keys.contains(&key) {
            let hint = format!("leave it out; known are {}", keys.join(", "));
            diagnostics.add(
                value.path(),
                format!("unknown key `{}`", redacted(key)),
                hint,
            );
        }
    }
}

fn parted(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Parted> {
    only(
        at,
        &["name", "label", "partitions", "install_bootloader"],
        diagnostics,
    );
    let name = at.required_text("name", "the disk's device, like `/dev/sda`", diagnostics);
    let label = at.required_text("label", "`gpt` or `msdos`", diagnostics);
    let partitions = at.require(
        "partitions",
        "an array of partitions, which may be empty",
        diagnostics,
    );
    partitions.as_ref()?;
    Some(Parted {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        label: label?.to_owned(),
        install_bootloader: at
            .get("install_bootloader")
            .is_some_and(|flag| flag.truthy()),
        partitions: list(at, "partitions", partition, diagnostics),
    })
}

fn partition(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Partition> {
    let keys = [
        "name",
        "count",
        "device",
        "begin",
        "end",
        "partition_type",
        "flags",
        "guid",
        "configdrive",
        "keep_data",
    ];
    only(at, &keys, diagnostics);
    let name = at.required_text(
        "name",
        "the partition's device, like `/dev/sda1`",
        diagnostics,
    );
    let count = required_integer(at, "count", "the partition's number", diagnostics);
    let device = at.required_text("device", "the disk's device", diagnostics);
    let begin = required_integer(at, "begin", "where it begins, in MiB", diagnostics);
    let end = required_integer(at, "end", "where it ends, in MiB", diagnostics);
    let kind = at.required_text("partition_type", "`primary` or `logical`", diagnostics);
    let flags = names(at, "flags", diagnostics);
    let guid = match at.get("guid").filter(JsonCursor::truthy) {
        Some(guid) => guid.text(diagnostics).map(ToOwned::to_owned),
        None => None,
    };
    Some(Partition {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        count: count?,
        device: device?.to_owned(),
        begin: begin?,
        end: end?,
        kind: kind?.to_owned(),
        flags,
        guid,
        configdrive: at.get("configdrive").is_some_and(|flag| flag.truthy()),
        keep_data: kept(at),
    })
}

fn md(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Md> {
    only(
        at,
        &[
            "name",
            "level",
            "devices",
            "spares",
            "metadata",
            "keep_data",
        ],
        diagnostics,
    );
    let name = at.required_text("name", "the array's device, like `/dev/md0`", diagnostics);
    let level = at.require(
        "level",
        "`0`, `1`, `raid0`, `raid1`, `stripe` or `mirror`",
        diagnostics,
    );
    // Upstream's own parse test has the number; its mdadm step then refuses what is no text.
    let level = level.and_then(|level| match level.value().as_u64() {
        Some(number) => Some(number.to_string()),
        None => level.text(diagnostics).map(ToOwned::to_owned),
    });
    let metadata = at
        .get("metadata")
        .map_or(Some("default"), |metadata| metadata.text(diagnostics));
    Some(Md {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        level: level?,
        metadata: metadata?.to_owned(),
        devices: names(at, "devices", diagnostics),
        spares: names(at, "spares", diagnostics),
        keep_data: kept(at),
    })
}

fn pv(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Pv> {
    only(
        at,
        &["name", "metadatasize", "metadatacopies", "keep_data"],
        diagnostics,
    );
    let name = at.require("name", "the node that it is made on", diagnostics);
    let name = name.and_then(|name| named(&name, diagnostics));
    let metadata_size = match at.get("metadatasize") {
        None => Bytes::mib(16),
        Some(size) => mebibytes(&size, diagnostics),
    };
    let copies = match at.get("metadatacopies") {
        None => Some(2),
        Some(copies) => metadata_copies(&copies, diagnostics),
    };
    Some(Pv {
        name: name?,
        metadata_size: metadata_size?,
        metadata_copies: copies?,
        keep_data: kept(at),
    })
}

fn metadata_copies(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let number = at.integer(diagnostics)?;
    let copies = u32::try_from(number).ok().filter(|copies| *copies <= 2);
    if copies.is_none() {
        diagnostics.add(at.path(), format!("is {number}"), "give 0, 1 or 2");
    }
    copies
}

fn vg(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Vg> {
    only(at, &["name", "pvnames", "keep_data"], diagnostics);
    let name = at.required_text("name", "the group's name", diagnostics);
    Some(Vg {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        pvnames: names(at, "pvnames", diagnostics),
        keep_data: kept(at),
    })
}

fn lv(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Lv> {
    only(at, &["name", "vgname", "size", "keep_data"], diagnostics);
    let name = at.required_text("name", "the volume's name", diagnostics);
    let vgname = at.required_text("vgname", "the name of its group", diagnostics);
    let size = at.require("size", "the size in MiB", diagnostics);
    let size = size.and_then(|size| mebibytes(&size, diagnostics));
    Some(Lv {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        vgname: vgname?.to_owned(),
        size: size?,
        keep_data: kept(at),
    })
}

fn fs(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Fs> {
    let keys = [
        "device",
        "mount",
        "fs_type",
        "fs_options",
        "fs_label",
        "keep_data",
    ];
    only(at, &keys, diagnostics);
    let device = at.require("device", "the node that it is made on", diagnostics);
    let device = device.and_then(|device| named(&device, diagnostics));
    let given = |key: &str| at.get(key).filter(|value| !value.value().is_null());
    let text = |key: &str, default: &str, diagnostics: &mut Diagnostics| match given(key) {
        Some(value) => value.text(diagnostics).map(ToOwned::to_owned),
        None => Some(default.to_owned()),
    };
    let kind = text("fs_type", Fs::DEFAULT_KIND, diagnostics);
    let kind = kind.map(|kind| given("fs_type").map(|_| kind));
    let options = text("fs_options", "", diagnostics);
    let label = text("fs_label", "", diagnostics);
    let mount = text("mount", "none", diagnostics);
    Some(Fs {
        path: at.path().to_owned(),
        device: device?,
        mount: mount.filter(|mount| mount != "none"),
        kind: kind?,
        options: options?,
        label: label?,
        keep_data: kept(at),
    })
}

fn kept(at: &JsonCursor<'_>) -> bool {
    at.get("keep_data").is_some_and(|flag| flag.truthy())
}

fn named(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Named> {
    let text = at.text(diagnostics)?.to_owned();
    Some(Named {
        path: at.path().to_owned(),
        text,
    })
}

fn names(at: &JsonCursor<'_>, key: &str, diagnostics: &mut Diagnostics) -> Vec<Named> {
    list(at, key, named, diagnostics)
}

fn required_integer(
    at: &JsonCursor<'_>,
    key: &str,
    right: &str,
    diagnostics: &mut Diagnostics,
) -> Option<i64> {
    at.require(key, right, diagnostics)?.integer(diagnostics)
}

/// A positive number of MiB.
fn mebibytes(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Bytes> {
    let number = at.integer(diagnostics)?;
    let size = u64::try_from(number)
        .ok()
        .filter(|mib| *mib > 0)
        .and_then(Bytes::mib);
    if size.is_none() {
        diagnostics.add(
            at.path(),
            format!("is {number}"),
            "give a number of MiB that a disk can have",
        );
    }
    size
}
