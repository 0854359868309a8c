//! `partitioning` as it is written: six lists of elements, whose keys are all known; what they refer to is not looked at.

use host::units::Bytes;

use super::super::reader::{At, Findings};

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

/// A partition.
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

/// An array.
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

/// A physical volume.
#[derive(Debug)]
pub(super) struct Pv {
    pub(super) name: Named,
    pub(super) metadata_size: Bytes,
    pub(super) metadata_copies: u32,
    pub(super) keep_data: bool,
}

/// A volume group.
#[derive(Debug)]
pub(super) struct Vg {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) pvnames: Vec<Named>,
    pub(super) keep_data: bool,
}

/// A logical volume.
#[derive(Debug)]
pub(super) struct Lv {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) vgname: String,
    pub(super) size: Bytes,
    pub(super) keep_data: bool,
}

/// A filesystem.
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
    /// Its type where none is named.
    pub(super) const DEFAULT_KIND: &str = "xfs";

    pub(super) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(Self::DEFAULT_KIND)
    }
}

/// Reads the lists; a missing one is empty.
pub(super) fn read(at: &At<'_>, findings: &mut Findings) -> Elements {
    if !at.object(findings) {
        return Elements::default();
    }
    Elements {
        parteds: list(at, "parteds", parted, findings),
        mds: list(at, "mds", md, findings),
        pvs: list(at, "pvs", pv, findings),
        vgs: list(at, "vgs", vg, findings),
        lvs: list(at, "lvs", lv, findings),
        fss: list(at, "fss", fs, findings),
    }
}

fn list<T>(
    at: &At<'_>,
    key: &str,
    read: impl Fn(&At<'_>, &mut Findings) -> Option<T>,
    findings: &mut Findings,
) -> Vec<T> {
    let Some(list) = at.get(key) else {
        return Vec::new();
    };
    let items = list.items(findings);
    items
        .iter()
        .filter_map(|item| read(item, findings))
        .collect()
}

/// Unlike elsewhere, a key that upstream does not know makes it fail.
fn only(at: &At<'_>, keys: &[&str], findings: &mut Findings) {
    for (key, value) in at.entries(findings) {
        if !keys.contains(&key) {
            let hint = format!("leave it out; known are {}", keys.join(", "));
            findings.add(value.path(), "is no key of this element", hint);
        }
    }
}

fn parted(at: &At<'_>, findings: &mut Findings) -> Option<Parted> {
    only(
        at,
        &["name", "label", "partitions", "install_bootloader"],
        findings,
    );
    let name = at.required_text("name", "the disk's node, like `/dev/sda`", findings);
    let label = at.required_text("label", "`gpt` or `msdos`", findings);
    let partitions = at.require(
        "partitions",
        "an array of partitions, which may be empty",
        findings,
    );
    partitions.as_ref()?;
    Some(Parted {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        label: label?.to_owned(),
        install_bootloader: at
            .get("install_bootloader")
            .is_some_and(|flag| flag.truthy()),
        partitions: list(at, "partitions", partition, findings),
    })
}

fn partition(at: &At<'_>, findings: &mut Findings) -> Option<Partition> {
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
    only(at, &keys, findings);
    let name = at.required_text("name", "the partition's node, like `/dev/sda1`", findings);
    let count = required_integer(at, "count", "the partition's number", findings);
    let device = at.required_text("device", "the disk's node", findings);
    let begin = required_integer(at, "begin", "where it begins, in MiB", findings);
    let end = required_integer(at, "end", "where it ends, in MiB", findings);
    let kind = at.required_text("partition_type", "`primary` or `logical`", findings);
    let flags = names(at, "flags", findings);
    let guid = match at.get("guid").filter(At::truthy) {
        Some(guid) => guid.text(findings).map(ToOwned::to_owned),
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

fn md(at: &At<'_>, findings: &mut Findings) -> Option<Md> {
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
        findings,
    );
    let name = at.required_text("name", "the array's node, like `/dev/md0`", findings);
    let level = at.require(
        "level",
        "`0`, `1`, `raid0`, `raid1`, `stripe` or `mirror`",
        findings,
    );
    // Upstream's own parse test has the number; its mdadm step then refuses what is no text.
    let level = level.and_then(|level| match level.value().as_u64() {
        Some(number) => Some(number.to_string()),
        None => level.text(findings).map(ToOwned::to_owned),
    });
    let metadata = at
        .get("metadata")
        .map_or(Some("default"), |metadata| metadata.text(findings));
    Some(Md {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        level: level?,
        metadata: metadata?.to_owned(),
        devices: names(at, "devices", findings),
        spares: names(at, "spares", findings),
        keep_data: kept(at),
    })
}

fn pv(at: &At<'_>, findings: &mut Findings) -> Option<Pv> {
    only(
        at,
        &["name", "metadatasize", "metadatacopies", "keep_data"],
        findings,
    );
    let name = at.require("name", "the node that it is made on", findings);
    let name = name.and_then(|name| named(&name, findings));
    let metadata_size = match at.get("metadatasize") {
        None => Bytes::mib(16),
        Some(size) => mebibytes(&size, findings),
    };
    let copies = match at.get("metadatacopies") {
        None => Some(2),
        Some(copies) => metadata_copies(&copies, findings),
    };
    Some(Pv {
        name: name?,
        metadata_size: metadata_size?,
        metadata_copies: copies?,
        keep_data: kept(at),
    })
}

fn metadata_copies(at: &At<'_>, findings: &mut Findings) -> Option<u32> {
    let number = at.integer(findings)?;
    let copies = u32::try_from(number).ok().filter(|copies| *copies <= 2);
    if copies.is_none() {
        findings.add(at.path(), format!("is {number}"), "give 0, 1 or 2");
    }
    copies
}

fn vg(at: &At<'_>, findings: &mut Findings) -> Option<Vg> {
    only(at, &["name", "pvnames", "keep_data"], findings);
    let name = at.required_text("name", "the group's name", findings);
    Some(Vg {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        pvnames: names(at, "pvnames", findings),
        keep_data: kept(at),
    })
}

fn lv(at: &At<'_>, findings: &mut Findings) -> Option<Lv> {
    only(at, &["name", "vgname", "size", "keep_data"], findings);
    let name = at.required_text("name", "the volume's name", findings);
    let vgname = at.required_text("vgname", "the name of its group", findings);
    let size = at.require("size", "the size in MiB", findings);
    let size = size.and_then(|size| mebibytes(&size, findings));
    Some(Lv {
        path: at.path().to_owned(),
        name: name?.to_owned(),
        vgname: vgname?.to_owned(),
        size: size?,
        keep_data: kept(at),
    })
}

fn fs(at: &At<'_>, findings: &mut Findings) -> Option<Fs> {
    let keys = [
        "device",
        "mount",
        "fs_type",
        "fs_options",
        "fs_label",
        "keep_data",
    ];
    only(at, &keys, findings);
    let device = at.require("device", "the node that it is made on", findings);
    let device = device.and_then(|device| named(&device, findings));
    let given = |key: &str| at.get(key).filter(|value| !value.value().is_null());
    let text = |key: &str, default: &str, findings: &mut Findings| match given(key) {
        Some(value) => value.text(findings).map(ToOwned::to_owned),
        None => Some(default.to_owned()),
    };
    let kind = text("fs_type", Fs::DEFAULT_KIND, findings);
    let kind = kind.map(|kind| given("fs_type").map(|_| kind));
    let options = text("fs_options", "", findings);
    let label = text("fs_label", "", findings);
    let mount = text("mount", "none", findings);
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

fn kept(at: &At<'_>) -> bool {
    at.get("keep_data").is_some_and(|flag| flag.truthy())
}

fn named(at: &At<'_>, findings: &mut Findings) -> Option<Named> {
    let text = at.text(findings)?.to_owned();
    Some(Named {
        path: at.path().to_owned(),
        text,
    })
}

fn names(at: &At<'_>, key: &str, findings: &mut Findings) -> Vec<Named> {
    list(at, key, named, findings)
}

fn required_integer(at: &At<'_>, key: &str, right: &str, findings: &mut Findings) -> Option<i64> {
    at.require(key, right, findings)?.integer(findings)
}

/// A positive number of MiB.
fn mebibytes(at: &At<'_>, findings: &mut Findings) -> Option<Bytes> {
    let number = at.integer(findings)?;
    let size = u64::try_from(number)
        .ok()
        .filter(|mib| *mib > 0)
        .and_then(Bytes::mib);
    if size.is_none() {
        findings.add(
            at.path(),
            format!("is {number}"),
            "give a number of MiB that a disk can have",
        );
    }
    size
}
