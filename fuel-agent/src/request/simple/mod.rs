//! An explicit layout (`partitioning`): six lists that name each other by their nodes.
//!
//! Upstream takes them unseen and fails on a wrong one half way. Here every reference is followed first.

mod elements;
mod options;
mod tables;

use std::collections::BTreeMap;

use super::layout::{Layout, Place};
use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};
use crate::model::index::{IndexedBy, PhysicalVolumeIndex};
use crate::model::storage::{
    BlockRef, LogicalVolumeSpec, PhysicalVolumeSpec, RaidLevel, RaidMetadata, RaidSpec, Role,
    VolumeGroupSpec,
};
use elements::{Elements, Fs, Lv, Md, Named, Vg};

/// The hint for a word that is none of these.
fn one_of<T>(words: &[(&str, T)]) -> String {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    format!("give one of {}", words.join(", "))
}

/// The layout that `partitioning` describes.
pub(super) fn lay_out(document: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Layout> {
    let right = "an object with `parteds`, `mds`, `pvs`, `vgs`, `lvs` and `fss`";
    let at = document.require("partitioning", right, diagnostics)?;
    let before = diagnostics.len();
    let elements = elements::read(&at, diagnostics);
    if diagnostics.len() > before {
        return None;
    }
    let mut builder = Builder {
        layout: Layout::default(),
        nodes: BTreeMap::new(),
        used: BTreeMap::new(),
        diagnostics,
    };
    builder.disks(&elements);
    builder.raids(&elements);
    builder.groups(&elements);
    builder.filesystems(&elements);
    if builder.layout.configdrive.is_none() {
        builder.diagnostics.refuse(
            at.path_of("parteds"),
            "have no partition with `configdrive`: the node would start without its identity",
            "set `configdrive` on a partition of at least 20 MiB",
        );
    }
    Some(builder.layout)
}

struct Builder<'a> {
    layout: Layout,
    /// What the lists make, by node.
    nodes: BTreeMap<String, BlockRef>,
    /// Devices in use, each with the path of the element that uses it.
    used: BTreeMap<BlockRef, String>,
    diagnostics: &'a mut Diagnostics,
}

impl Builder<'_> {
    fn disks(&mut self, elements: &Elements) {
        for parted in &elements.parteds {
            let spec = tables::disk(parted, &self.layout.storage.disks, self.diagnostics);
            let disk = self.layout.storage.next_index();
            for partition in &parted.partitions {
                let made = u32::try_from(partition.count).unwrap_or_default();
                let on = BlockRef::Partition { disk, number: made };
                self.define(&partition.path, &partition.name, on);
                if partition.configdrive {
                    self.configdrive(&partition.path, on);
                }
            }
            self.layout.storage.disks.push(spec);
        }
    }

    fn configdrive(&mut self, path: &str, on: BlockRef) {
        if self.layout.configdrive.is_some() {
            let what = "is set, as on an earlier partition";
            self.diagnostics.add(
                format!("{path}.configdrive"),
                what,
                "set it on one partition",
            );
            return;
        }
        self.layout.configdrive = Some(on);
        self.used.insert(on, format!("{path}.configdrive"));
    }

    fn raids(&mut self, elements: &Elements) {
        for md in &elements.mds {
            let on = BlockRef::Raid(self.layout.storage.next_index());
            // A wrong one is a problem of the request already; what refers to it is still checked.
            let (level, metadata) = self
                .check_raid(md)
                .unwrap_or((RaidLevel::Raid1, RaidMetadata::Default));
            self.define(&md.path, &md.name, on);
            let members = self.take_all(&md.devices, Role::Raid);
            let spares = self.take_all(&md.spares, Role::Raid);
            self.layout.storage.raids.push(RaidSpec {
                device: md.name.clone(),
                level,
                metadata,
                members,
                spares,
                keep_data: md.keep_data,
            });
        }
    }

    /// Names all that is wrong with an array; gives what it is to be.
    fn check_raid(&mut self, md: &Md) -> Option<(RaidLevel, RaidMetadata)> {
        let mut wrong = |key: &str, what: String, hint: String| {
            self.diagnostics
                .add(format!("{}.{key}", md.path), what, hint);
        };
        let number = md.name.strip_prefix("/dev/md");
        let numbered = number.is_some_and(|n| {
            !n.is_empty() && n.len() <= 3 && n.bytes().all(|b| b.is_ascii_digit())
        });
        if !numbered {
            let what = format!("`{}` is not an array device", redacted(&md.name));
            wrong("name", what, "give one like `/dev/md0`".to_owned());
        }
        let level = RaidLevel::from_word(&md.level);
        if level.is_none() {
            let what = format!("is `{}`", redacted(&md.level));
            wrong("level", what, one_of(&RaidLevel::WORDS));
        }
        let metadata = RaidMetadata::from_word(&md.metadata);
        if metadata.is_none() {
            let what = format!("is `{}`", redacted(&md.metadata));
            wrong("metadata", what, one_of(&RaidMetadata::WORDS));
        }
        if md.devices.is_empty() {
            wrong(
                "devices",
                "is empty or missing".to_owned(),
                "list the array's members".to_owned(),
            );
        }
        if !md.spares.is_empty() && level != Some(RaidLevel::Raid1) {
            let what = "is given, and only a mirror can have spares".to_owned();
            wrong("spares", what, "leave it out".to_owned());
        }
        level.zip(metadata)
    }

    fn groups(&mut self, elements: &Elements) {
        for pv in &elements.pvs {
            let Some(on) = self.take(&pv.name, Role::Pv) else {
                continue;
            };
            self.layout
                .storage
                .physical_volumes
                .push(PhysicalVolumeSpec {
                    on,
                    metadata_size: pv.metadata_size,
                    metadata_copies: pv.metadata_copies,
                    keep_data: pv.keep_data,
                });
        }
        let mut taken = BTreeMap::new();
        for vg in &elements.vgs {
            self.group(vg, &mut taken);
        }
        for lv in &elements.lvs {
            self.logical_volume(lv);
        }
    }

    fn group(&mut self, vg: &Vg, taken: &mut BTreeMap<PhysicalVolumeIndex, String>) {
        let name = redacted(&vg.name);
        let why = names::bad_volume_group(&vg.name).or_else(|| {
            let mut groups = self.layout.storage.volume_groups.iter();
            let known = groups.any(|group| group.name == vg.name);
            known.then_some("is the name of an earlier group")
        });
        if let Some(why) = why {
            self.diagnostics.add(
                format!("{}.name", vg.path),
                format!("`{name}` {why}"),
                names::LVM_HINT,
            );
        }
        if vg.pvnames.is_empty() {
            let what = "is empty or missing, and a group needs a physical volume";
            self.diagnostics
                .add(format!("{}.pvnames", vg.path), what, "list names of `pvs`");
        }
        let mut physical_volumes = Vec::new();
        for pv in &vg.pvnames {
            let on = self.nodes.get(&pv.text);
            let mut volumes = self.layout.storage.physical_volumes();
            let found = on.and_then(|on| volumes.find(|(_, volume)| volume.on == *on));
            let Some(index) = found.map(|(index, _)| index) else {
                let what = format!("`{}` is none of `pvs`", redacted(&pv.text));
                self.diagnostics
                    .add(&pv.path, what, "add it there, or name one that is there");
                continue;
            };
            if let Some(earlier) = taken.insert(index, pv.path.clone()) {
                let what = format!("is in a group already, by `{earlier}`");
                self.diagnostics
                    .add(&pv.path, what, "put each physical volume into one group");
            }
            physical_volumes.push(index);
        }
        self.layout.storage.volume_groups.push(VolumeGroupSpec {
            name: vg.name.clone(),
            physical_volumes,
            keep_data: vg.keep_data,
        });
    }

    fn logical_volume(&mut self, lv: &Lv) {
        let storage = &self.layout.storage;
        if !storage
            .volume_groups
            .iter()
            .any(|group| group.name == lv.vgname)
        {
            let what = format!("`{}` is none of `vgs`", redacted(&lv.vgname));
            self.diagnostics.add(
                format!("{}.vgname", lv.path),
                what,
                "add it there, or name one that is there",
            );
            return;
        }
        let spec = LogicalVolumeSpec {
            volume_group: lv.vgname.clone(),
            name: lv.name.clone(),
            size: lv.size,
            keep_data: lv.keep_data,
        };
        if let Some((why, hint)) = names::bad_new_volume(&spec, &storage.logical_volumes) {
            let what = format!("`{}` {why}", redacted(&lv.name));
            self.diagnostics
                .add(format!("{}.name", lv.path), what, hint);
            return;
        }
        let on = BlockRef::Logical(storage.next_index());
        self.define(&lv.path, &spec.device(), on);
        // lvm2 makes this link too, and upstream would have taken it.
        self.nodes
            .insert(format!("/dev/{}/{}", lv.vgname, lv.name), on);
        self.layout.storage.logical_volumes.push(spec);
    }

    fn filesystems(&mut self, elements: &Elements) {
        for fs in &elements.fss {
            let role = match fs.mount.as_deref() {
                Some("/boot") => Role::Boot,
                Some("swap") => Role::Swap,
                _ if fs.kind().is_swap() => Role::Swap,
                _ => Role::Data,
            };
            let Some(on) = self.take(&fs.device, role) else {
                continue;
            };
            for (key, text) in [("fs_options", &fs.options), ("fs_label", &fs.label)] {
                if names::has_control(text) {
                    let path = format!("{}.{key}", fs.path);
                    self.diagnostics.add(
                        path,
                        "has control characters in it",
                        "give printable text",
                    );
                }
            }
            if let Some(word) = options::stray(&fs.kind(), &fs.options) {
                let what = format!(
                    "has `{}`, which is no option of mkfs that may be given, or no value of one",
                    redacted(word)
                );
                let hint =
                    "give options like `-m 0`, each as a word of its own; docs/input.md lists them";
                self.diagnostics
                    .add(format!("{}.fs_options", fs.path), what, hint);
            }
            let place = Place {
                on,
                path: &fs.path,
                mount: fs.mount.as_deref(),
                kind: fs.kind.as_deref(),
                default_kind: Fs::DEFAULT_KIND,
                kind_key: "fs_type",
                label: &fs.label,
            };
            let before = self.layout.storage.filesystems.len();
            self.layout.add_filesystem(place, self.diagnostics);
            if let Some(added) = self.layout.storage.filesystems.get_mut(before) {
                added.options.clone_from(&fs.options);
                added.keep_data = fs.keep_data;
            }
        }
    }

    /// Notes that the lists make this node.
    fn define(&mut self, path: &str, node: &str, on: BlockRef) {
        if self.nodes.insert(node.to_owned(), on).is_some() {
            let what = format!("makes `{}` a second time", redacted(node));
            self.diagnostics.add(path, what, "give each its own name");
        }
    }

    fn take_all(&mut self, names: &[Named], role: Role) -> Vec<BlockRef> {
        names
            .iter()
            .filter_map(|name| self.take(name, role))
            .collect()
    }

    /// What a node means, which from now on is in use as `role`.
    fn take(&mut self, name: &Named, role: Role) -> Option<BlockRef> {
        let on = match self.nodes.get(&name.text) {
            Some(on) => *on,
            None => self.undefined(name)?,
        };
        if let Some(earlier) = self.used.insert(on, name.path.clone()) {
            let what = format!(
                "`{}` is in use already, by `{earlier}`",
                redacted(&name.text)
            );
            self.diagnostics
                .add(&name.path, what, "use each device for one thing");
        }
        if let BlockRef::Partition { disk, number } = on {
            let mut partitions = self.layout.storage[disk].partitions.iter_mut();
            let found = partitions.find(|p| p.number == number);
            if let Some(partition) = found.filter(|p| p.role == Role::Data) {
                partition.role = role;
            }
        }
        Some(on)
    }

    /// A node that no list makes: upstream's own sample has one. It can be planned, but nothing is written to it.
    fn undefined(&mut self, name: &Named) -> Option<BlockRef> {
        if !tables::is_node(&name.text) {
            let what = format!("`{}` is not a device", redacted(&name.text));
            self.diagnostics.add(
                &name.path,
                what,
                "give one that the lists make, like `/dev/sda3`",
            );
            return None;
        }
        self.diagnostics.refuse(
            &name.path,
            format!("`{}` is not made by any of the lists", name.text),
            "add its disk to `parteds`, its array to `mds` or its volume to `lvs`, or correct the name",
        );
        let on = BlockRef::Undefined(self.layout.storage.next_index());
        self.layout.storage.undefined.push(name.text.clone());
        self.nodes.insert(name.text.clone(), on);
        Some(on)
    }
}
