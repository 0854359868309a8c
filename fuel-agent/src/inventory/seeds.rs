//! Filesystems that cloud-init of an installed system takes for its data, on any device: disks, partitions, volumes and
//! media in drives.

use std::path::Path;

use super::answers::{Signatures, parse_blkid};
use super::graph::{Graph, Node};
use super::reader::{Query, Reader};
use super::sysfs;
use crate::model::inventory::{Disk, Seed};

/// All of them, in kernel order.
pub(super) fn find(
    reader: &mut Reader,
    graph: &Graph,
    signatures: &Signatures,
    disks: &[(&Node, Disk)],
) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for node in graph.all() {
        let found = match signatures.get(&node.name) {
            Some(found) => found.clone(),
            None => sysfs::medium(reader, node).unwrap_or_default(),
        };
        let is_fat = found.kind.as_deref() == Some("vfat");
        let mut label = found.label.filter(|label| Seed::is_label(label));
        if label.is_none() && is_fat {
            label = boot_sector_label(reader, node);
        }
        let Some(label) = label else {
            continue;
        };
        let is_disk = |below: &Node| disks.iter().any(|(disk, _)| disk.name == below.name);
        let below = graph.below(&node.name, &is_disk);
        let below = below.iter().filter_map(|name| graph.get(name));
        seeds.push(Seed {
            path: node.path.clone(),
            label,
            disks: below.map(|disk| disk.path.clone()).collect(),
        });
    }
    seeds
}

/// FAT has a label in its boot sector too, which cloud-init looks at and udev does not.
fn boot_sector_label(reader: &mut Reader, node: &Node) -> Option<String> {
    let output = reader.ask(Query::Signature(Path::new(&node.path))).ok()?;
    let found = parse_blkid(output.status, &output.stdout);
    found.boot_label.filter(|label| Seed::is_label(label))
}
