//! What is on the disks now: what is mounted or used as swap, what the system was started from, and everything that is
//! stacked on them, running or not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use host::procfs::{MountInfo, parse_mountinfo, parse_swaps};

use super::answers::{Array, Signatures};
use super::graph::{Graph, Node};
use super::members;
use super::reader::Reader;
use crate::model::error::Error;
use crate::model::inventory::{
    AMBIVALENT, Disk, PHYSICAL_VOLUME, RAID_MEMBERS, Stack, StackKind, Unexamined,
};

/// Filesystem types of a root that came with the kernel's own ramdisk: then `root=` was not followed.
const RAMDISK_ROOTS: [&str; 3] = ["rootfs", "tmpfs", "ramfs"];

/// Disks, by path, each with a question about it that got no answer.
pub(super) type Unanswered = Vec<(String, Unexamined)>;

/// Which devices are in use, by kernel name.
#[derive(Debug, Default)]
pub(super) struct Usage {
    used: BTreeSet<String>,
    root: BTreeSet<String>,
}

impl Usage {
    /// Reads mounts, swaps, btrfs and the kernel command line.
    pub(super) fn read(reader: &Reader, graph: &Graph) -> Self {
        let mountinfo = reader.bytes("/proc/self/mountinfo").unwrap_or_default();
        let mounts = parse_mountinfo(&mountinfo);
        let mut used: BTreeSet<String> = mounts
            .iter()
            .filter_map(|mount| device_of(graph, mount))
            .collect();
        let swaps = parse_swaps(&reader.bytes("/proc/swaps").unwrap_or_default());
        used.extend(swaps.iter().filter_map(|swap| {
            let node = graph.by_path(swap.to_str()?)?;
            Some(node.name.clone())
        }));
        // A mount of a btrfs over several devices names one of them only; those that the kernel lists are all in use.
        for filesystem in reader.names("/sys/fs/btrfs") {
            used.extend(reader.names(&format!("/sys/fs/btrfs/{filesystem}/devices")));
        }
        let last_root = mounts.iter().rfind(|mount| mount.target == Path::new("/"));
        let mut root: BTreeSet<String> = last_root
            .and_then(|mount| device_of(graph, mount))
            .into_iter()
            .collect();
        let followed = last_root.is_none_or(|mount| !RAMDISK_ROOTS.contains(&&*mount.kind));
        let cmdline = reader.text("/proc/cmdline").unwrap_or_default();
        if followed && let Some(node) = root_of(&cmdline).and_then(|path| graph.by_path(&path)) {
            root.insert(node.name.clone());
        }
        Self { used, root }
    }

    /// Whether the disk, or anything on it, is mounted or swap.
    pub(super) fn is_used(&self, graph: &Graph, disk: &str) -> bool {
        touches(graph, disk, &self.used)
    }

    /// Whether the running system's root is on it.
    pub(super) fn is_root(&self, graph: &Graph, disk: &str) -> bool {
        touches(graph, disk, &self.root)
    }
}

/// Whether one of `devices` is the disk, a partition of it, or built on it.
fn touches(graph: &Graph, disk: &str, devices: &BTreeSet<String>) -> bool {
    let is_it = |node: &Node| node.name == disk;
    let mut devices = devices.iter();
    devices.any(|device| !graph.below(device, &is_it).is_empty())
}

fn device_of(graph: &Graph, mount: &MountInfo) -> Option<String> {
    let named = || graph.by_path(mount.source.to_str()?);
    let node = graph.by_number(&mount.device).or_else(named)?;
    Some(node.name.clone())
}

/// What `root=` on a kernel command line means, as a path: the last one counts.
fn root_of(cmdline: &str) -> Option<String> {
    let words = cmdline.split_whitespace();
    let value = words
        .filter_map(|word| word.strip_prefix("root="))
        .next_back()?;
    let value = value
        .strip_prefix("live:")
        .unwrap_or(value)
        .trim_matches('"');
    let link = |kind: &str, name: &str| Some(format!("/dev/disk/{kind}/{name}"));
    match value.split_once('=') {
        Some(("UUID", name)) => link("by-uuid", name),
        Some(("LABEL", name)) => link("by-label", name),
        Some(("PARTUUID", name)) => link("by-partuuid", name),
        Some(("PARTLABEL", name)) => link("by-partlabel", name),
        _ => value.starts_with("/dev/").then(|| value.to_owned()),
    }
}

/// What a stack is found from: the machine as read so far, and which of its devices are disks.
struct Ground<'a> {
    graph: &'a Graph,
    /// Path of each disk by its kernel name.
    disks: BTreeMap<&'a str, &'a str>,
}

impl Ground<'_> {
    fn stack(&self, kind: StackKind, name: &str, members: &[&Node], nodes: Vec<String>) -> Stack {
        let below = members
            .iter()
            .flat_map(|member| self.disks_of(&member.name));
        let disks: BTreeSet<String> = below.collect();
        let mut members: Vec<PathBuf> = members
            .iter()
            .map(|member| PathBuf::from(&member.path))
            .collect();
        members.sort();
        Stack {
            kind,
            name: name.to_owned(),
            members,
            disks: disks.into_iter().collect(),
            active: !nodes.is_empty(),
            nodes,
        }
    }

    /// Paths of the disks below a device.
    fn disks_of(&self, name: &str) -> Vec<String> {
        let is_disk = |node: &Node| self.disks.contains_key(node.name.as_str());
        let found = self.graph.below(name, &is_disk);
        let paths = found
            .iter()
            .filter_map(|name| self.disks.get(name.as_str()));
        paths.map(|path| (*path).to_owned()).collect()
    }

    /// Notes that a device could not be examined for each disk below it.
    fn note(&self, unexamined: &mut Unanswered, node: &Node, by: &str, why: &str) {
        let what = Unexamined {
            by: by.to_owned(),
            why: format!("{}: {why}", node.path),
        };
        let disks = self.disks_of(&node.name).into_iter();
        unexamined.extend(disks.map(|disk| (disk, what.clone())));
    }

    fn slaves(&self, node: &Node) -> Vec<&Node> {
        let names = node.slaves.iter();
        names.filter_map(|name| self.graph.get(name)).collect()
    }

    /// Whether a disk is built on the same devices: then it is what the firmware makes of them.
    fn is_container(&self, node: &Node) -> bool {
        let disks = self.disks.keys().filter_map(|name| self.graph.get(name));
        let mut arrays = disks.filter(|disk| disk.is_array());
        arrays.any(|disk| disk.slaves.iter().any(|slave| node.slaves.contains(slave)))
    }

    fn is_disk(&self, node: &Node) -> bool {
        self.disks.contains_key(node.name.as_str())
    }
}

/// Everything that is built on disks or partitions, and the disks, by path, of which that is unknown. Signatures are
/// those of all devices, by kernel name.
pub(super) fn stacks(
    reader: &mut Reader,
    graph: &Graph,
    disks: &[(&Node, &Disk)],
    signatures: &Signatures,
) -> Result<(Vec<Stack>, Unanswered), Error> {
    let ground = Ground {
        graph,
        disks: disks
            .iter()
            .map(|(node, disk)| (node.name.as_str(), disk.path.as_str()))
            .collect(),
    };
    let mut unexamined = Unanswered::new();
    let mut stacks = running_arrays(&ground);
    let members = suspects(graph, signatures, &RAID_MEMBERS);
    let arrays = members::arrays(reader, &members, |node, why| {
        ground.note(&mut unexamined, node, Unexamined::MDADM, why);
    })?;
    stopped_arrays(&ground, &arrays, &mut stacks);
    let members = suspects(graph, signatures, &[PHYSICAL_VOLUME, AMBIVALENT]);
    let volumes = members::volumes(reader, &members, |node, why| {
        ground.note(&mut unexamined, node, Unexamined::LVM, why);
    })?;
    let mut groups = BTreeMap::new();
    for volume in volumes {
        let group: &mut Group = groups.entry(volume.group_uuid).or_default();
        group.name = volume.group;
        group.members.extend(graph.by_path(&volume.device));
    }
    stacks.extend(volume_groups(&ground, groups));
    stacks.extend(mappings(&ground));
    stacks.extend(btrfs(reader, &ground, signatures));
    Ok((stacks, unexamined))
}

/// The devices with one of these signatures.
fn suspects<'a>(graph: &'a Graph, signatures: &Signatures, kinds: &[&str]) -> Vec<&'a Node> {
    let found = signatures.iter().filter(|(_, signature)| {
        let kind = signature.kind.as_deref();
        kind.is_some_and(|kind| kinds.contains(&kind))
    });
    found.filter_map(|(name, _)| graph.get(name)).collect()
}

/// Arrays that the kernel has, started or only assembled: both hold their members. A container of the firmware is not
/// one: its volumes are the disks, and the devices below it are left alone.
fn running_arrays(ground: &Ground<'_>) -> Vec<Stack> {
    let nodes = ground.graph.all().into_iter();
    let arrays = nodes.filter(|node| {
        node.is_array()
            && node.partition.is_none()
            && !node.slaves.is_empty()
            && !ground.is_disk(node)
            && !ground.is_container(node)
    });
    arrays
        .map(|node| {
            let members = ground.slaves(node);
            let nodes = vec![node.name.clone()];
            ground.stack(StackKind::Raid, &node.path, &members, nodes)
        })
        .collect()
}

/// Adds the arrays that only the superblocks of their members name.
fn stopped_arrays(ground: &Ground<'_>, arrays: &[Array], stacks: &mut Vec<Stack>) {
    for array in arrays {
        let paths = array.members.iter();
        let members: Vec<&Node> = paths
            .filter_map(|path| ground.graph.by_path(path))
            .collect();
        // One that runs has been found already, and a container of the firmware is left alone. A member that is in an
        // array of another name by now only has an old superblock left.
        let held = members.iter().any(|member| {
            let mut holders = member.holders.iter();
            holders.any(|holder| ground.graph.get(holder).is_some_and(Node::is_array))
        });
        if !held && !members.is_empty() {
            stacks.push(ground.stack(StackKind::Raid, &array.node, &members, Vec::new()));
        }
    }
}

#[derive(Default)]
struct Group<'a> {
    name: String,
    members: Vec<&'a Node>,
}

/// Groups that LVM reports, and those whose volumes the kernel has though LVM does not report them.
fn volume_groups<'a>(ground: &Ground<'a>, mut groups: BTreeMap<String, Group<'a>>) -> Vec<Stack> {
    let mut volumes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in ground.graph.all() {
        let Some(uuid) = node.mapping_uuid().strip_prefix("LVM-") else {
            continue;
        };
        let uuid = uuid.get(..32).unwrap_or(uuid).to_owned();
        let group = groups.entry(uuid.clone()).or_default();
        if group.name.is_empty() {
            let name = node.mapping.as_ref().map_or("", |(name, _)| name);
            group.name = group_of(name);
        }
        let below = node.slaves.iter().filter_map(|name| ground.graph.get(name));
        for member in below.filter(|member| !member.mapping_uuid().starts_with("LVM-")) {
            if !group.members.iter().any(|known| known.name == member.name) {
                group.members.push(member);
            }
        }
        volumes.entry(uuid).or_default().push(node.name.clone());
    }
    let stacks = groups.into_iter().map(|(uuid, group)| {
        let nodes = volumes.remove(&uuid).unwrap_or_default();
        ground.stack(StackKind::VolumeGroup, &group.name, &group.members, nodes)
    });
    let mut stacks: Vec<Stack> = stacks.collect();
    stacks.sort_by(|a, b| a.name.cmp(&b.name));
    stacks
}

/// The group in the name of a logical volume's map: up to the first `-` that is not doubled.
fn group_of(mapping: &str) -> String {
    let marked = mapping.replace("--", "\0");
    let group = marked.split('-').next().unwrap_or_default();
    group.replace('\0', "-")
}

/// Maps that are neither disks nor logical volumes. What else the kernel stacks (bcache, drbd) has no name here, so a
/// disk below it cannot be released.
fn mappings(ground: &Ground<'_>) -> Vec<Stack> {
    let mut stacks = Vec::new();
    for node in ground.graph.all() {
        let uuid = node.mapping_uuid();
        if node.slaves.is_empty()
            || node.mapping.is_none()
            || uuid.starts_with("LVM-")
            || ground.is_disk(node)
        {
            continue;
        }
        let kind = if uuid.starts_with("CRYPT-") {
            StackKind::Crypt
        } else {
            StackKind::Mapping
        };
        let name = node
            .mapping
            .as_ref()
            .map_or(node.name.as_str(), |(name, _)| name);
        let members = ground.slaves(node);
        stacks.push(ground.stack(kind, name, &members, vec![node.name.clone()]));
    }
    stacks
}

/// A btrfs on more than one device: as the kernel has it where it is mounted, else by its identifier, which is the same
/// on all its devices.
fn btrfs(reader: &Reader, ground: &Ground<'_>, signatures: &Signatures) -> Vec<Stack> {
    let mut found: BTreeMap<String, (BTreeSet<String>, bool)> = BTreeMap::new();
    for (name, signature) in signatures {
        if let (Some("btrfs"), Some(uuid)) = (signature.kind.as_deref(), &signature.uuid) {
            let (devices, _) = found.entry(uuid.clone()).or_default();
            devices.insert(name.clone());
        }
    }
    for uuid in reader.names("/sys/fs/btrfs") {
        let devices = reader.names(&format!("/sys/fs/btrfs/{uuid}/devices"));
        if !devices.is_empty() {
            let (known, active) = found.entry(uuid).or_default();
            known.extend(devices);
            *active = true;
        }
    }
    let several = found
        .into_iter()
        .filter(|(_, (devices, _))| devices.len() > 1);
    several
        .map(|(uuid, (devices, active))| {
            let devices = devices.iter();
            let members: Vec<&Node> = devices.filter_map(|name| ground.graph.get(name)).collect();
            let stack = ground.stack(StackKind::Btrfs, &uuid, &members, Vec::new());
            Stack { active, ..stack }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_on_the_command_line_is_a_path() {
        for (cmdline, path) in [
            ("quiet root=/dev/sda1 ro", Some("/dev/sda1")),
            ("root=UUID=ab-cd", Some("/dev/disk/by-uuid/ab-cd")),
            ("root=\"PARTUUID=12\"", Some("/dev/disk/by-partuuid/12")),
            ("root=live:LABEL=live", Some("/dev/disk/by-label/live")),
            (
                "root=/dev/sda root=PARTLABEL=r",
                Some("/dev/disk/by-partlabel/r"),
            ),
            ("root=/dev/nfs nfsroot=x", Some("/dev/nfs")),
            ("root=zfs:x", None),
            ("noroot=/dev/sda", None),
            ("", None),
        ] {
            assert_eq!(root_of(cmdline).as_deref(), path, "{cmdline}");
        }
    }

    #[test]
    fn the_group_of_a_volume_is_in_its_maps_name() {
        for (name, group) in [("os-root", "os"), ("my--vg-a--b", "my-vg"), ("x", "x")] {
            assert_eq!(group_of(name), group);
        }
    }
}
