//! Every block device of a machine and which is built on which, read once from `/sys/class/block`.

use std::collections::{BTreeMap, BTreeSet};

use super::identity::natural_order;
use super::reader::Reader;
use super::udev::Record;

/// One block device: a disk, a partition, an array, a mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Its kernel name: `sda1`, `dm-0`.
    pub(super) name: String,
    /// Its folder of sysfs, all links followed.
    pub(super) folder: String,
    /// `MAJOR:MINOR`.
    pub(super) number: String,
    /// Where it is found: `/dev/sda1`, `/dev/mapper/NAME`.
    pub(super) path: String,
    /// Number of a partition, and the disk that it is on.
    pub(super) partition: Option<(u32, String)>,
    /// Kernel names of the devices it is built on.
    pub(super) slaves: Vec<String>,
    /// Kernel names of the devices built directly on it.
    pub(super) holders: Vec<String>,
    /// Name and identifier of a device-mapper map.
    pub(super) mapping: Option<(String, String)>,
    /// What udev recorded, where it runs.
    pub(super) record: Option<Record>,
}

impl Node {
    /// The identifier of a device-mapper map; empty for all else.
    pub(super) fn mapping_uuid(&self) -> &str {
        self.mapping.as_ref().map_or("", |(_, uuid)| uuid)
    }

    /// Whether it is a map over several ways to one disk.
    pub(super) fn is_multipath(&self) -> bool {
        let prefix = self.mapping_uuid().get(..6);
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("mpath-"))
    }

    /// Whether it is an md array, or a partition of one.
    pub(super) fn is_array(&self) -> bool {
        self.name.starts_with("md")
    }
}

/// All of them, by kernel name.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    /// What each link under `/dev/disk` and `/dev/mapper` points to, by kernel name.
    links: BTreeMap<String, String>,
}

impl Graph {
    /// Reads all block devices from sysfs.
    pub(super) fn read(reader: &Reader) -> Self {
        let names = reader.names("/sys/class/block");
        let nodes = names.into_iter().filter_map(|name| {
            let node = read_node(reader, &name)?;
            Some((name, node))
        });
        let mut graph = Self {
            nodes: nodes.collect(),
            links: BTreeMap::new(),
        };
        graph.links = read_links(reader);
        graph
    }

    /// The device of that kernel name.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// All devices, in kernel order.
    pub(super) fn all(&self) -> Vec<&Node> {
        let mut all: Vec<&Node> = self.nodes.values().collect();
        all.sort_by_cached_key(|node| natural_order(&node.name));
        all
    }

    /// The device of that `MAJOR:MINOR`.
    pub(super) fn by_number(&self, number: &str) -> Option<&Node> {
        self.nodes.values().find(|node| node.number == number)
    }

    /// The device that a path means: its node, or a link to it.
    pub(super) fn by_path(&self, path: &str) -> Option<&Node> {
        let linked = self.links.get(path).and_then(|name| self.get(name));
        linked
            .or_else(|| self.nodes.values().find(|node| node.path == path))
            .or_else(|| self.get(&path.strip_prefix("/dev/")?.replace('/', "!")))
            // A link that does not exist in this tree, but that udev claims for the device.
            .or_else(|| {
                self.nodes.values().find(|node| {
                    let record = node.record.as_ref();
                    record.is_some_and(|record| record.links.iter().any(|link| link == path))
                })
            })
    }

    /// All links to a device: those that exist and those that udev claims for it.
    pub(super) fn links_to(&self, node: &Node) -> Vec<String> {
        let existing = self.links.iter().filter(|(_, name)| **name == node.name);
        let mut links: BTreeSet<String> = existing.map(|(link, _)| link.clone()).collect();
        links.extend(node.record.iter().flat_map(|record| record.links.clone()));
        links
            .into_iter()
            .filter(|link| link.starts_with("/dev/disk/") || link.starts_with("/dev/mapper/"))
            .collect()
    }

    /// Partitions of a disk, by number.
    pub(super) fn partitions(&self, disk: &str) -> Vec<&Node> {
        let on = |node: &&Node| matches!(&node.partition, Some((_, parent)) if parent == disk);
        let mut found: Vec<&Node> = self.nodes.values().filter(on).collect();
        found.sort_by_key(|node| node.partition.as_ref().map(|(number, _)| *number));
        found
    }

    /// Everything that is built on a device or on its partitions, the nearest first, each once.
    pub(super) fn above(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.climb(name, &mut found);
        found
    }

    fn climb(&self, name: &str, found: &mut Vec<String>) {
        let own = self.get(name).into_iter();
        let parts = self.partitions(name).into_iter();
        let holders: Vec<&String> = own.chain(parts).flat_map(|node| &node.holders).collect();
        let new: Vec<&String> = holders
            .into_iter()
            .filter(|holder| {
                let is_new = !found.contains(holder);
                if is_new {
                    found.push((*holder).clone());
                }
                is_new
            })
            .collect();
        for holder in new {
            self.climb(holder, found);
        }
    }

    /// The nearest devices below one that `wanted` accepts, itself included: the disks that an array is built on.
    pub(super) fn below(&self, name: &str, wanted: &dyn Fn(&Node) -> bool) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut found = BTreeSet::new();
        let mut left = vec![name.to_owned()];
        while let Some(name) = left.pop() {
            let Some(node) = self.get(&name).filter(|_| seen.insert(name.clone())) else {
                continue;
            };
            if wanted(node) {
                found.insert(name);
                continue;
            }
            left.extend(node.slaves.iter().cloned());
            left.extend(node.partition.iter().map(|(_, disk)| disk.clone()));
        }
        found
    }
}

fn read_node(reader: &Reader, name: &str) -> Option<Node> {
    let class = format!("/sys/class/block/{name}");
    let folder = reader.followed(&class)?;
    let number = reader.text(&format!("{folder}/dev"))?;
    let number_of_partition = reader.text(&format!("{folder}/partition"));
    let parent = folder.rsplit('/').nth(1).map(str::to_owned);
    let mapping = reader.text(&format!("{folder}/dm/name")).map(|name| {
        let uuid = reader.text(&format!("{folder}/dm/uuid"));
        (name, uuid.unwrap_or_default())
    });
    let uevent = reader.text(&format!("{folder}/uevent")).unwrap_or_default();
    let devname = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVNAME="));
    let path = match (&mapping, devname) {
        (Some((name, _)), _) if !name.is_empty() => format!("/dev/mapper/{name}"),
        (_, Some(devname)) => format!("/dev/{devname}"),
        _ => format!("/dev/{}", name.replace('!', "/")),
    };
    let record = reader.text(&format!("/run/udev/data/b{number}"));
    Some(Node {
        name: name.to_owned(),
        partition: number_of_partition
            .and_then(|number| number.parse().ok())
            .zip(parent),
        slaves: reader.names(&format!("{folder}/slaves")),
        holders: reader.names(&format!("{folder}/holders")),
        record: record.map(|text| Record::parse(&text)),
        folder,
        number,
        path,
        mapping,
    })
}

/// The links below `/dev/disk`, and those in `/dev/mapper` and `/dev/md`, by where they point.
fn read_links(reader: &Reader) -> BTreeMap<String, String> {
    let kinds = reader.names("/dev/disk");
    let folders = kinds.into_iter().map(|kind| format!("/dev/disk/{kind}"));
    let others = ["/dev/mapper", "/dev/md"].map(str::to_owned);
    let mut links = BTreeMap::new();
    for folder in folders.chain(others) {
        for name in reader.names(&folder) {
            let link = format!("{folder}/{name}");
            // `../../sda`: the last part is the kernel's name, but for nodes in folders of their own.
            if let Some(target) = reader.link(&link) {
                let kernel = target.trim_start_matches("../").trim_start_matches("/dev/");
                links.insert(link, kernel.replace('/', "!"));
            }
        }
    }
    links
}
