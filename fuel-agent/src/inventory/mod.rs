//! What the node has: disks, links, firmware, interfaces, and what is on the disks already.
//!
//! From sysfs and udev, or from a file, so that every plan can be made without the hardware.
//!
//! ```text
//!   reader     read access to a machine, without means to change it
//!   graph      block devices and which is built on which
//!   sysfs      disks and partitions           identity, udev   serial numbers, models, links
//!   existing   mounts, swap, arrays, groups   answers          output of query tools
//!   members    what arrays and volume groups are made of, disk by disk where a tool dies
//!   machine    firmware, memory, interfaces
//!   seeds      data for cloud-init that is there already
//!   json       the same from a file
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod answers;
mod existing;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod graph;
pub(crate) mod grub;
mod identity;
mod json;
mod machine;
mod members;
mod reader;
mod seeds;
mod sysfs;
mod udev;

pub use json::from_json;
pub use reader::Reader;

use std::io;
use std::path::Path;

use host::blockdev::forecast;
use host::partition_table;

use crate::model::error::{Error, Kind};
use crate::model::inventory::{Disk, ExistingPartition, Inventory, Seed, Stack};
use answers::Signatures;

/// Asks the machine. Cheap enough to be repeated while a disk is waited for.
pub fn probe(reader: &mut Reader) -> Result<Inventory, Error> {
    let (disks, stacks, seeds) = match reader.files().map(<[_]>::to_vec) {
        Some(files) => (sysfs::files(reader, &files), Vec::new(), Vec::new()),
        None => probe_devices(reader)?,
    };
    Ok(Inventory {
        disks,
        seeds,
        firmware: machine::firmware(reader),
        architecture: std::env::consts::ARCH.to_owned(),
        memory_bytes: machine::memory(reader),
        interfaces: machine::interfaces(reader),
        stacks,
    })
}

/// Disks, what is stacked on them, and data for cloud-init.
type Probed = (Vec<Disk>, Vec<Stack>, Vec<Seed>);

fn probe_devices(reader: &mut Reader) -> Result<Probed, Error> {
    if !reader.exists("/sys/class/block") {
        let what = "cannot find the disks of this machine: /sys/class/block does not exist";
        return Err(Error::new(Kind::Hardware, what).hint("mount sysfs on /sys"));
    }
    let graph = graph::Graph::read(reader);
    let usage = existing::Usage::read(reader, &graph);
    let nodes = graph.all();
    let signatures: Signatures = nodes
        .iter()
        .filter_map(|node| Some((node.name.clone(), sysfs::signature(reader, node)?)))
        .collect();
    let mut disks = Vec::new();
    for node in nodes {
        if sysfs::is_disk(reader, node) {
            let disk = sysfs::disk(reader, &graph, &usage, &signatures, node);
            disks.push((node, disk));
        }
    }
    let seeds = seeds::find(reader, &graph, &signatures, &disks);
    let found: Vec<_> = disks.iter().map(|(node, disk)| (*node, disk)).collect();
    let (stacks, unexamined) = existing::stacks(reader, &graph, &found, &signatures)?;
    let mut disks: Vec<Disk> = disks.into_iter().map(|(_, disk)| disk).collect();
    for (path, what) in unexamined {
        if let Some(disk) = disks.iter_mut().find(|disk| disk.path == path) {
            disk.unexamined.push(what);
        }
    }
    Ok((disks, stacks, seeds))
}

/// A block device that need be none of the disks (a loop device, a volume, a partition), as if it were one: its size,
/// its sectors and, where it `is_whole`, the partitions that a table on it names.
pub fn device(reader: &Reader, path: &Path, is_whole: bool) -> io::Result<Disk> {
    let device = reader.open(path)?;
    let table = if is_whole {
        partition_table::read(device.as_ref())?
    } else {
        None
    };
    let kind = table.as_ref().map(|table| table.kind.name().to_owned());
    let partitions = table.map_or_else(Vec::new, |table| table.partitions);
    let partitions = partitions.into_iter().map(|found| ExistingPartition {
        number: found.number,
        path: forecast(path, found.number).display().to_string(),
        start_bytes: found.extent.start,
        size_bytes: found.extent.length,
        partition_type: Some(found.type_id.as_str().into()),
        ..ExistingPartition::default()
    });
    Ok(Disk {
        path: path.display().to_string(),
        size_bytes: device.size(),
        logical_sector_size: u32::try_from(device.sector_size().0).map_err(io::Error::other)?,
        table: kind,
        partitions: partitions.collect(),
        ..Disk::default()
    })
}
