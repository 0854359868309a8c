//! Disks as the kernel has them: below a root that tests can move.
//!
//! A disk is what a request may name: a whole device with a bus of its own, a multipath map, or a volume that the
//! machine's firmware makes of several disks. Not one: what the kernel makes up (loop, ram, zram, nbd, md, other maps),
//! optical and floppy drives, boot areas of eMMC chips, hidden paths of `NVMe`, a reader without a card.

use std::io::ErrorKind;
use std::path::Path;

use host::blockdev::{FileDisk, forecast};
use host::exec::ExecError;
use host::partition_table::{FoundPartition, FoundTable};
use host::units::{Bytes, Extent, KernelSectors};

use super::answers::{Signature, Signatures, parse_blkid};
use super::existing::Usage;
use super::graph::{Graph, Node};
use super::identity;
use super::reader::{Query, Reader};
use super::udev::{Record, words};
use crate::model::inventory::{AMBIVALENT, Disk, ExistingPartition, Unexamined};
use crate::model::partition_type::PartitionType;

/// Whether the device is one that a request may name.
pub(super) fn is_disk(reader: &Reader, node: &Node) -> bool {
    if node.partition.is_some() || size(reader, node) == Bytes::ZERO {
        return false;
    }
    let record = node.record.as_ref();
    let optical = record.and_then(|record| record.get("ID_CDROM")) == Some("1")
        // SCSI peripheral type 5.
        || attribute(reader, node, "device/type").as_deref() == Some("5")
        || is_numbered(&node.name, "sr")
        || is_numbered(&node.name, "fd");
    let flash = is_numbered(&node.name, "mtdblock");
    let area_of_a_chip = node.name.starts_with("mmcblk")
        && ["boot", "rpmb", "gp"]
            .iter()
            .any(|area| node.name.contains(area));
    if optical
        || flash
        || area_of_a_chip
        || attribute(reader, node, "hidden").as_deref() == Some("1")
    {
        return false;
    }
    // Heads of native multipath and namespaces of fabrics are there too.
    let made_up =
        node.folder.starts_with("/sys/devices/virtual/") && !node.name.starts_with("nvme");
    !made_up || node.is_multipath() || is_firmware_volume(reader, node)
}

/// Files that stand for disks.
pub(super) fn files(reader: &mut Reader, files: &[FileDisk]) -> Vec<Disk> {
    let mut disks = Vec::new();
    for file in files {
        if !file.file.exists() {
            disks.push(file_disk(file));
            continue;
        }
        let mut unexamined = Vec::new();
        let table = table(reader, &file.device, &mut unexamined);
        let listed = table.as_ref().map(|table| table.partitions.as_slice());
        let whole = probed(reader, Query::Signature(&file.file));
        unexamined.extend(failure_of(&file.device, &whole));
        let partitions = from_table(
            reader,
            &file.device,
            &file.file,
            listed.unwrap_or_default(),
            &mut unexamined,
        );
        disks.push(Disk {
            table: table.map(|table| table.kind.name().to_owned()),
            partitions,
            signature: whole.kind,
            unexamined,
            ..file_disk(file)
        });
    }
    disks
}

/// A file that stands for an empty disk.
fn file_disk(file: &FileDisk) -> Disk {
    Disk {
        path: file.device.display().to_string(),
        size_bytes: file.size,
        logical_sector_size: 512,
        physical_sector_size: 512,
        model: "file".to_owned(),
        transport: "file".to_owned(),
        ..Disk::default()
    }
}

/// Whether it is an array inside a container of the firmware: to the firmware, and so to the boot order, it is a disk.
fn is_firmware_volume(reader: &Reader, node: &Node) -> bool {
    let metadata = attribute(reader, node, "md/metadata_version");
    metadata.is_some_and(|version| {
        let inside = version.strip_prefix("external:");
        inside.is_some_and(|inside| inside.starts_with('/') || inside.starts_with('-'))
    })
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn attribute(reader: &Reader, node: &Node, name: &str) -> Option<String> {
    reader.text(&format!("{}/{name}", node.folder))
}

fn number<T: std::str::FromStr>(reader: &Reader, node: &Node, name: &str) -> Option<T> {
    attribute(reader, node, name)?.parse().ok()
}

fn flag(reader: &Reader, node: &Node, name: &str) -> bool {
    attribute(reader, node, name).as_deref() == Some("1")
}

fn sectors(reader: &Reader, node: &Node, name: &str) -> Bytes {
    let sectors = number(reader, node, name).map(KernelSectors);
    sectors
        .and_then(KernelSectors::to_bytes)
        .unwrap_or_default()
}

fn size(reader: &Reader, node: &Node) -> Bytes {
    sectors(reader, node, "size")
}

/// Everything about one disk.
pub(super) fn disk(
    reader: &mut Reader,
    graph: &Graph,
    usage: &Usage,
    signatures: &Signatures,
    node: &Node,
) -> Disk {
    let transport = identity::transport(&node.name, &node.folder);
    let logical = number(reader, node, "queue/logical_block_size").unwrap_or(512);
    let physical: Option<u32> = number(reader, node, "queue/physical_block_size");
    let mut unexamined = Vec::new();
    let table = table(reader, Path::new(&node.path), &mut unexamined);
    let probed = [node].into_iter().chain(graph.partitions(&node.name));
    unexamined.extend(
        probed.filter_map(|probed| {
            failure_of(Path::new(&probed.path), signatures.get(&probed.name)?)
        }),
    );
    let partitions = partitions(
        reader,
        graph,
        signatures,
        node,
        table.as_ref(),
        &mut unexamined,
    );
    let kind = table.map(|table| table.kind.name().to_owned());
    let record = node.record.as_ref();
    let claimed = record.and_then(|record| record.get("ID_PART_TABLE_TYPE"));
    let table = kind.or_else(|| claimed.map(str::to_owned));
    // Every way to a disk leads to the same one.
    let way = node.slaves.first().and_then(|name| graph.get(name));
    let who = way.filter(|_| node.is_multipath()).unwrap_or(node);
    let card = attribute(reader, node, "device/type").as_deref() == Some("SD");
    Disk {
        path: node.path.clone(),
        size_bytes: size(reader, node),
        logical_sector_size: logical,
        physical_sector_size: physical.unwrap_or(logical).max(logical),
        links: graph.links_to(node),
        model: model(reader, who),
        serial: serial(reader, who),
        wwn: wwn(reader, who),
        vendor: vendor(reader, who),
        rotational: flag(reader, node, "queue/rotational"),
        removable: flag(reader, node, "removable") || transport == "usb" || card,
        read_only: flag(reader, node, "ro"),
        holders: graph.above(&node.name),
        mounted: usage.is_used(graph, &node.name),
        booted_from: usage.is_root(graph, &node.name),
        multipath: node.is_multipath(),
        transport,
        table,
        partitions,
        signature: signatures
            .get(&node.name)
            .and_then(|found| found.kind.clone()),
        unexamined,
    }
}

/// The partition table of a disk; one that cannot be read is noted.
fn table(reader: &Reader, disk: &Path, unexamined: &mut Vec<Unexamined>) -> Option<FoundTable> {
    match reader.table(disk) {
        Ok(table) => table,
        // No device node, no permission to read it, or a file that is still to be made longer: nothing is wrong with
        // it.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::UnexpectedEof
            ) =>
        {
            tracing::debug!(device = %disk.display(), %error, "cannot read the partition table");
            None
        }
        Err(error) => {
            unexamined.push(Unexamined {
                by: "partition table".to_owned(),
                why: format!(
                    "cannot read the partition table of {}: {error}",
                    disk.display()
                ),
            });
            None
        }
    }
}

/// Why a device could not be examined, where that is so.
fn failure_of(device: &Path, signature: &Signature) -> Option<Unexamined> {
    let why = signature.failure.as_ref()?;
    Some(Unexamined {
        by: "blkid".to_owned(),
        why: format!("cannot look for signatures on {}: {why}", device.display()),
    })
}

fn model(reader: &Reader, node: &Node) -> String {
    let record = node.record.as_ref();
    let known = record.and_then(|record| record.decoded("ID_MODEL"));
    let plain = || attribute(reader, node, "device/model").map(|text| words(&text));
    known.or_else(plain).unwrap_or_default()
}

fn vendor(reader: &Reader, node: &Node) -> String {
    let record = node.record.as_ref();
    let known = record.and_then(|record| record.decoded("ID_VENDOR"));
    // virtio's and NVMe's is the number of a PCI vendor, not a name.
    let plain = || {
        let text = attribute(reader, node, "device/vendor").map(|text| words(&text));
        text.filter(|text| !text.starts_with("0x"))
    };
    known.or_else(plain).unwrap_or_default()
}

fn serial(reader: &Reader, node: &Node) -> String {
    let record = node.record.as_ref();
    // A SCSI disk's ID_SERIAL_SHORT is its world-wide name once more.
    let keys = ["ID_SCSI_SERIAL", "ID_SERIAL_SHORT"];
    let known = record.and_then(|record| keys.iter().find_map(|key| record.get(key)));
    let page = || {
        let page = reader.bytes(&format!("{}/device/vpd_pg80", node.folder))?;
        identity::vpd_serial(&page)
    };
    let plain = || {
        let mut files = ["serial", "device/serial"].iter();
        let found = files.find_map(|file| attribute(reader, node, file));
        found.filter(|serial| !serial.is_empty())
    };
    known
        .map(str::to_owned)
        .or_else(plain)
        .or_else(page)
        .unwrap_or_default()
}

fn wwn(reader: &Reader, node: &Node) -> String {
    let record = node.record.as_ref();
    let keys = ["ID_WWN_WITH_EXTENSION", "ID_WWN"];
    let known = record.and_then(|record| keys.iter().find_map(|key| record.get(key)));
    let plain = || {
        let mut files = ["wwid", "device/wwid"].iter();
        files.find_map(|file| identity::wwn(&attribute(reader, node, file)?))
    };
    known.map(str::to_owned).or_else(plain).unwrap_or_default()
}

/// Partitions as the kernel has them. Where it has none though the table names some (it has no parser for that kind, or
/// they were not registered yet), those of the table.
fn partitions(
    reader: &mut Reader,
    graph: &Graph,
    signatures: &Signatures,
    disk: &Node,
    table: Option<&FoundTable>,
    unexamined: &mut Vec<Unexamined>,
) -> Vec<ExistingPartition> {
    let listed = table.map(|table| table.partitions.as_slice());
    let listed = listed.unwrap_or_default();
    let known = graph.partitions(&disk.name);
    if known.is_empty() {
        let path = Path::new(&disk.path);
        return from_table(reader, path, path, listed, unexamined);
    }
    known
        .into_iter()
        .map(|node| known_partition(reader, signatures, node, listed))
        .collect()
}

fn known_partition(
    reader: &Reader,
    signatures: &Signatures,
    node: &Node,
    listed: &[FoundPartition],
) -> ExistingPartition {
    let number = node.partition.as_ref().map_or(0, |(number, _)| *number);
    let extent = Extent {
        start: sectors(reader, node, "start"),
        length: size(reader, node),
    };
    // The table may be newer than what the kernel has: then its types are not those of these partitions.
    let mut entries = listed.iter();
    let entry = entries.find(|entry| entry.number == number && entry.extent.start == extent.start);
    let record = node.record.as_ref();
    let claimed = record.and_then(|record| record.get("ID_PART_ENTRY_TYPE"));
    let partition_type = entry.map(|entry| entry.type_id.as_str()).or(claimed);
    let found = signatures.get(&node.name).cloned().unwrap_or_default();
    ExistingPartition {
        number,
        path: node.path.clone(),
        start_bytes: extent.start,
        size_bytes: extent.length,
        partition_type: partition_type.map(PartitionType::from),
        signature: found.kind,
        label: found.label,
        uuid: found.uuid,
    }
}

/// Partitions of `disk` by its table alone; what is in them is looked up in `content`, the disk or its file.
fn from_table(
    reader: &mut Reader,
    disk: &Path,
    content: &Path,
    listed: &[FoundPartition],
    unexamined: &mut Vec<Unexamined>,
) -> Vec<ExistingPartition> {
    let mut found = Vec::new();
    for entry in listed {
        let inside = probed(reader, Query::SignatureWithin(content, entry.extent));
        unexamined.extend(failure_of(&forecast(disk, entry.number), &inside));
        found.push(ExistingPartition {
            number: entry.number,
            path: forecast(disk, entry.number).display().to_string(),
            start_bytes: entry.extent.start,
            size_bytes: entry.extent.length,
            partition_type: Some(entry.type_id.as_str().into()),
            signature: inside.kind,
            label: inside.label,
            uuid: inside.uuid,
        });
    }
    found
}

/// Content of a device: as udev recorded it, else as blkid finds it. `None` for what has no content, or none that could
/// be a part of anything: it is not even probed.
pub(super) fn signature(reader: &mut Reader, node: &Node) -> Option<Signature> {
    let pretended = ["loop", "ram", "zram", "nbd", "sr", "fd"];
    if size(reader, node) == Bytes::ZERO
        || pretended
            .iter()
            .any(|prefix| is_numbered(&node.name, prefix))
    {
        return None;
    }
    let recorded = node.record.as_ref().and_then(recorded);
    // A record that names nothing may be of a udev whose rules never looked.
    Some(recorded.unwrap_or_else(|| probed(reader, Query::Signature(Path::new(&node.path)))))
}

/// Content of a medium in an optical or floppy drive. No disk is made of it; only a drive that has a medium has a size.
pub(super) fn medium(reader: &mut Reader, node: &Node) -> Option<Signature> {
    let is_optical = is_numbered(&node.name, "sr");
    if size(reader, node) == Bytes::ZERO || !(is_optical || is_numbered(&node.name, "fd")) {
        return None;
    }
    let recorded = node.record.as_ref().and_then(recorded);
    // A floppy drive without a medium takes seconds to say so.
    let probe = || is_optical.then(|| probed(reader, Query::Signature(Path::new(&node.path))));
    recorded.or_else(probe)
}

/// What udev recorded of a device's content.
fn recorded(record: &Record) -> Option<Signature> {
    let text = |key: &str| record.get(key).map(str::to_owned);
    let ambivalent = || text("ID_FS_AMBIVALENT").map(|_| AMBIVALENT.to_owned());
    Some(Signature {
        kind: Some(text("ID_FS_TYPE").or_else(ambivalent)?),
        label: record.decoded("ID_FS_LABEL"),
        uuid: text("ID_FS_UUID"),
        ..Signature::default()
    })
}

fn probed(reader: &mut Reader, query: Query<'_>) -> Signature {
    match reader.ask(query) {
        Ok(output) => parse_blkid(output.status, &output.stdout),
        // Without it the rest of the inventory is still complete, and a run asks for it before it writes.
        Err(error @ ExecError::Missing { .. }) => {
            tracing::debug!(%error, "cannot look for signatures");
            Signature::default()
        }
        Err(error) => Signature::unknown(error.to_string()),
    }
}
