//! Disks with their tables: what is listed is taken as it stands, if parted would take it.

use host::units::{Bytes, Extent};

use super::super::reader::{Diagnostics, redacted};
use super::elements::{Parted, Partition};
use crate::model::partition_type::PartitionType;
use crate::model::storage::{DiskSelector, DiskSpec, PartitionSpec, Role, Table};

/// Flags that upstream passes to parted.
const FLAGS: [&str; 5] = ["bios_grub", "legacy_boot", "boot", "raid", "lvm"];

/// The disk, with its partitions.
pub(super) fn disk(
    parted: &Parted,
    earlier: &[DiskSpec],
    diagnostics: &mut Diagnostics,
) -> DiskSpec {
    let selector = DiskSelector::Node(parted.name.clone());
    if !is_node(&parted.name) {
        let what = format!("`{}` is not a disk device", redacted(&parted.name));
        diagnostics.add(
            format!("{}.name", parted.path),
            what,
            "give one like `/dev/sda`",
        );
    }
    if let Some(same) = earlier.iter().find(|other| other.selector == selector) {
        let what = format!("names the same disk as `{}`", same.path);
        diagnostics.add(&parted.path, what, "describe each disk once");
    }
    let table = match parted.label.as_str() {
        "gpt" => Table::Gpt,
        "msdos" => Table::Msdos,
        other => {
            let what = format!("is `{}`", redacted(other));
            diagnostics.add(
                format!("{}.label", parted.path),
                what,
                "give `gpt` or `msdos`",
            );
            Table::Gpt
        }
    };
    let mut spec = DiskSpec {
        selector,
        path: parted.path.clone(),
        table,
        bootloader: parted.install_bootloader,
        partitions: Vec::new(),
    };
    for partition in &parted.partitions {
        let made = self::partition(partition, parted, &spec, diagnostics);
        spec.partitions.extend(made);
    }
    spec
}

fn partition(
    partition: &Partition,
    parted: &Parted,
    disk: &DiskSpec,
    diagnostics: &mut Diagnostics,
) -> Option<PartitionSpec> {
    let number = number(partition, disk, diagnostics);
    let extent = extent(partition, disk, diagnostics);
    if partition.device != parted.name {
        let what = format!("is `{}`", redacted(&partition.device));
        let hint = format!(
            "give the disk that it is listed with, `{}`",
            redacted(&parted.name)
        );
        diagnostics.add(format!("{}.device", partition.path), what, hint);
    }
    let logical = match partition.kind.as_str() {
        "primary" => false,
        "logical" => true,
        other => {
            let what = format!("is `{}`", redacted(other));
            diagnostics.add(
                format!("{}.partition_type", partition.path),
                what,
                "give `primary` or `logical`",
            );
            false
        }
    };
    for flag in partition
        .flags
        .iter()
        .filter(|flag| !FLAGS.contains(&flag.text.as_str()))
    {
        let what = format!("is `{}`", redacted(&flag.text));
        diagnostics.add(&flag.path, what, format!("use {}", FLAGS.join(", ")));
    }
    let partition_type = partition.guid.as_deref().map(PartitionType::from);
    if let Some(PartitionType::Other(guid)) = &partition_type {
        let what = format!("`{}` is not a valid GUID", redacted(guid));
        let hint = "give one like `0fc63daf-8483-4772-8e79-3d69d8477de4`, or null";
        diagnostics.refuse(format!("{}.guid", partition.path), what, hint);
    }
    // With a problem too: others are compared with it.
    let extent = extent?;
    Some(PartitionSpec {
        number: number?,
        start: extent.start,
        size: extent.length,
        role: role(partition, disk.table),
        partition_type,
        flags: partition
            .flags
            .iter()
            .map(|flag| flag.text.clone())
            .collect(),
        logical,
        keep_data: partition.keep_data,
    })
}

/// Role by the flags; the filesystem on it may change that later.
fn role(partition: &Partition, table: Table) -> Role {
    let flag = |name: &str| partition.flags.iter().any(|flag| flag.text == name);
    if partition.configdrive {
        Role::Configdrive
    } else if flag("bios_grub") {
        Role::BiosGrub
    } else if flag("boot") && table == Table::Gpt {
        // parted's `boot` on a GPT is the type of an EFI system partition.
        Role::Esp
    } else {
        Role::Data
    }
}

fn number(partition: &Partition, disk: &DiskSpec, diagnostics: &mut Diagnostics) -> Option<u32> {
    let number = u32::try_from(partition.count)
        .ok()
        .filter(|n| (1..=128).contains(n));
    let path = format!("{}.count", partition.path);
    let Some(number) = number else {
        diagnostics.add(
            path,
            format!("is {}", partition.count),
            "give a number from 1 to 128",
        );
        return None;
    };
    if disk.partitions.iter().any(|other| other.number == number) {
        diagnostics.add(
            path,
            format!("is {number}, as that of an earlier partition"),
            "give each its own",
        );
    }
    let tail = number.to_string();
    let separator = partition
        .name
        .strip_prefix(partition.device.as_str())
        .and_then(|rest| rest.strip_suffix(&tail));
    if !separator.is_some_and(|text| matches!(text, "" | "p" | "-part")) {
        diagnostics.add(
            format!("{}.name", partition.path),
            format!(
                "`{}` is not partition {number} of `{}`",
                redacted(&partition.name),
                redacted(&partition.device)
            ),
            "give the node that the kernel will give it, like `/dev/sda1` or `/dev/nvme0n1p1`",
        );
    }
    Some(number)
}

fn extent(partition: &Partition, disk: &DiskSpec, diagnostics: &mut Diagnostics) -> Option<Extent> {
    let mib = |number: i64| u64::try_from(number).ok().and_then(Bytes::mib);
    let (begin, end) = (mib(partition.begin), mib(partition.end));
    let sane = begin
        .zip(end)
        .filter(|(begin, end)| Bytes::MIB <= *begin && begin < end);
    let Some((begin, end)) = sane else {
        diagnostics.add(
            &partition.path,
            format!(
                "begins at {} and ends at {}",
                partition.begin, partition.end
            ),
            "begin at 1 or more, and end behind the beginning",
        );
        return None;
    };
    let extent = Extent::new(begin, end.saturating_sub(begin))?;
    let overlaps = |other: &&PartitionSpec| {
        Extent::new(other.start, other.size).is_some_and(|other| other.overlaps(extent))
    };
    if let Some(other) = disk.partitions.iter().find(overlaps) {
        let what = format!("overlaps partition {} of the same disk", other.number);
        diagnostics.add(&partition.path, what, "leave each partition its own place");
    }
    Some(extent)
}

/// Whether it can be the path of a device.
pub(super) fn is_node(text: &str) -> bool {
    text.strip_prefix("/dev/").is_some_and(|rest| {
        !rest.is_empty()
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            && rest
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
    })
}
