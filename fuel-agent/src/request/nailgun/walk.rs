//! `ks_spaces` to disks, partitions, arrays and filesystems: upstream's layout, number for number.

use host::units::Bytes;

use super::super::layout::{Layout, Place};
use super::super::reader::{Diagnostics, redacted};
use super::journals::{Journals, Share};
use super::spaces::{Disk, Kind, Spaces, Volume};
use super::{boot, keep, lvm};
use crate::model::filesystem::FilesystemType;
use crate::model::index::IndexedBy;
use crate::model::partition_type::PartitionType;
use crate::model::storage::{
    BlockRef, DiskSpec, FilesystemSpec, Mount, PartitionSpec, RaidLevel, RaidMetadata, RaidSpec,
    Role, Table,
};

/// Space for GRUB's core image, in MiB.
const BIOS_GRUB: i64 = 24;
/// Space for an EFI system partition, in MiB.
const ESP: i64 = 200;
/// The cloud-init data, in MiB.
const CONFIGDRIVE: i64 = 20;
/// A GPT as everyone makes it has this many entries.
const MOST_PARTITIONS: u32 = 128;
/// Upstream names arrays from /dev/md0 up to this one.
const LAST_ARRAY: u32 = 127;

/// What the layout depends on beside `ks_spaces`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayoutOptions<'a> {
    /// Whether there has to be a partition for the cloud-init data.
    pub(super) configdrive: bool,
    /// Superblock format of md arrays.
    pub(super) raid_metadata: RaidMetadata,
    /// Path of `ks_spaces` in the document.
    pub(super) path: &'a str,
}

/// Lays out the disks.
pub(super) fn lay_out(
    spaces: &Spaces,
    options: LayoutOptions<'_>,
    diagnostics: &mut Diagnostics,
) -> Layout {
    let mut walk = Walk {
        spaces,
        options,
        boot: boot::candidates(spaces, diagnostics),
        boot_done: false,
        journals: Journals::new(spaces),
        layout: Layout::default(),
        diagnostics,
    };
    for (index, disk) in spaces.disks.iter().enumerate() {
        if takes_part(disk) {
            walk.disk(index, disk);
        }
    }
    walk.layout.without_size = without_size(spaces);
    walk.finish()
}

fn without_size(spaces: &Spaces) -> Vec<(String, String, i64)> {
    let disks = spaces.disks.iter().flat_map(|disk| &disk.volumes);
    let volumes = disks.map(|volume| (&volume.mount, &volume.path, volume.size));
    let groups = spaces.groups.iter().flat_map(|group| &group.volumes);
    volumes
        .chain(groups.map(|volume| (&volume.mount, &volume.path, volume.size)))
        .filter(|(.., size)| *size <= 0)
        .filter_map(|(mount, path, size)| Some((mount.clone()?, path.clone(), size)))
        .collect()
}

/// A disk takes part if anything but `/boot` and bookkeeping is allocated on it.
fn takes_part(disk: &Disk) -> bool {
    disk.size > 0
        && disk.volumes.iter().any(|volume| {
            volume.size > 0
                && volume.kind != Kind::Bookkeeping
                && volume.mount.as_deref() != Some("/boot")
        })
}

struct Walk<'a> {
    spaces: &'a Spaces,
    options: LayoutOptions<'a>,
    boot: Vec<usize>,
    boot_done: bool,
    journals: Journals,
    layout: Layout,
    diagnostics: &'a mut Diagnostics,
}

impl Walk<'_> {
    fn disk(&mut self, index: usize, disk: &Disk) {
        let earlier = &self.layout.storage.disks;
        if let Some(same) = earlier
            .iter()
            .find(|other| other.selector == disk.selector())
        {
            self.diagnostics.add(
                &disk.path,
                format!("names the same disk as `{}`", same.path),
                "describe each disk once",
            );
        }
        self.layout.storage.disks.push(DiskSpec {
            selector: disk.selector(),
            path: disk.path.clone(),
            table: Table::Gpt,
            bootloader: true,
            partitions: Vec::new(),
        });
        self.add(&disk.path, BIOS_GRUB, Role::BiosGrub);
        if let Some(first) = self.last_partition() {
            first.flags.push("bios_grub".to_owned());
        }
        self.add(&disk.path, ESP, Role::Esp);
        for volume in disk.volumes.iter().filter(|volume| volume.size > 0) {
            self.volume(index, volume);
        }
        let root = disk.volumes.iter().any(|volume| volume.is_for("/"));
        if self.options.configdrive
            && self.layout.configdrive.is_none()
            && (root || boot::holds_os(disk))
        {
            self.layout.configdrive = self.add(&disk.path, CONFIGDRIVE, Role::Configdrive);
        }
    }

    fn volume(&mut self, disk: usize, volume: &Volume) {
        if Journals::is_journal(volume) {
            if let Some(share) = self.journals.share(volume, self.diagnostics) {
                self.add_journals(volume, &share);
            }
            return;
        }
        let for_boot = volume.mount.as_deref() == Some("/boot");
        if for_boot && (self.boot_done || !self.boot.contains(&disk)) {
            return;
        }
        let role = match &volume.kind {
            Kind::Bookkeeping => return,
            Kind::Pv { .. } => Role::Pv,
            Kind::Partition | Kind::Raid if for_boot => Role::Boot,
            Kind::Raid if volume.mount().is_some() => Role::Raid,
            Kind::Partition if is_swap(volume) => Role::Swap,
            Kind::Partition | Kind::Raid => Role::Data,
        };
        self.boot_done |= for_boot;
        let Some(on) = self.add(&volume.path, volume.size, role) else {
            return;
        };
        if let Some(partition) = self.last_partition() {
            partition.keep_data = volume.keep_data;
        }
        match &volume.kind {
            Kind::Partition => self.partition(on, volume),
            Kind::Raid if for_boot => {
                self.filesystem(on, volume, volume.file_system.as_deref(), "ext2");
            }
            Kind::Raid => self.raid_member(on, volume),
            Kind::Pv { group, meta } => {
                let storage = &mut self.layout.storage;
                lvm::add_physical_volume(storage, volume, group, *meta, on, self.diagnostics);
            }
            Kind::Bookkeeping => {}
        }
    }

    fn add_journals(&mut self, volume: &Volume, share: &Share) {
        if volume.kind != Kind::Partition {
            return;
        }
        for _ in 0..share.count {
            if self.add(&volume.path, share.size, Role::Data).is_none() {
                return;
            }
            self.set_type(volume);
        }
    }

    fn partition(&mut self, on: BlockRef, volume: &Volume) {
        self.set_type(volume);
        let typed = volume.file_system.as_deref().filter(|kind| *kind != "none");
        if volume.mount().is_some() || typed.is_some() {
            self.filesystem(on, volume, typed, "xfs");
        }
    }

    fn filesystem(
        &mut self,
        on: BlockRef,
        volume: &Volume,
        kind: Option<&str>,
        default_kind: &'static str,
    ) {
        let place = Place {
            on,
            path: &volume.path,
            mount: volume.mount(),
            kind,
            default_kind,
            kind_key: "file_system",
            label: &volume.label,
        };
        self.layout.add_filesystem(place, self.diagnostics);
    }

    /// Gives the newest partition the type that its volume names.
    fn set_type(&mut self, volume: &Volume) {
        let Some(guid) = &volume.guid else { return };
        let partition_type = PartitionType::from(guid.as_str());
        if partition_type.guid().is_none() {
            self.diagnostics.refuse(
                format!("{}.partition_guid", volume.path),
                format!("`{}` is not a valid GUID", redacted(guid)),
                "give one like `4fbd7e29-9d25-41b8-afd0-062c0ceff05d`, or null",
            );
        }
        if let Some(partition) = self.last_partition() {
            partition.partition_type = Some(partition_type);
        }
    }

    /// Adds a partition to the array of its mount point; the first one makes the array and its filesystem.
    fn raid_member(&mut self, on: BlockRef, volume: &Volume) {
        let Some(mount) = volume.mount() else { return };
        let of_mount = |filesystem: &&FilesystemSpec| {
            filesystem.mount.as_ref().map(Mount::as_str) == Some(mount)
                && matches!(filesystem.on, BlockRef::Raid(_))
        };
        let found = self.layout.storage.filesystems.iter().find(of_mount);
        if let Some(BlockRef::Raid(index)) = found.map(|filesystem| filesystem.on) {
            self.layout.storage[index].members.push(on);
            return;
        }
        let Some(device) = self.free_array() else {
            self.diagnostics.add(
                &volume.path,
                format!("needs one array more than /dev/md0 to /dev/md{LAST_ARRAY}"),
                "use fewer arrays",
            );
            return;
        };
        let raid = BlockRef::Raid(self.layout.storage.next_index());
        self.layout.storage.raids.push(RaidSpec {
            device,
            level: RaidLevel::Raid1,
            metadata: self.options.raid_metadata,
            members: vec![on],
            spares: Vec::new(),
            keep_data: false,
        });
        self.filesystem(raid, volume, volume.file_system.as_deref(), "xfs");
    }

    /// The first array name that neither an array nor a (fake RAID) disk of this request has.
    fn free_array(&self) -> Option<String> {
        (0..=LAST_ARRAY).map(|n| format!("md{n}")).find_map(|name| {
            let device = format!("/dev/{name}");
            let disk = self.spaces.disks.iter().any(|disk| disk.name == name);
            let array = self
                .layout
                .storage
                .raids
                .iter()
                .any(|raid| raid.device == device);
            (!disk && !array).then_some(device)
        })
    }

    fn last_partition(&mut self) -> Option<&mut PartitionSpec> {
        self.layout.storage.disks.last_mut()?.partitions.last_mut()
    }

    /// Appends a partition to the current disk, one MiB behind the one before.
    fn add(&mut self, path: &str, size: i64, role: Role) -> Option<BlockRef> {
        let (disk, _) = self.layout.storage.disks().next_back()?;
        let partitions = &mut self.layout.storage[disk].partitions;
        let end = partitions
            .last()
            .map_or(Bytes::ZERO, |last| last.start.saturating_add(last.size));
        let place = end.checked_add(Bytes::MIB).and_then(|start| {
            let size = Bytes::mib(u64::try_from(size).ok()?)?;
            start.checked_add(size).map(|_| (start, size))
        });
        let Some((start, size)) = place else {
            self.diagnostics.add(
                format!("{path}.size"),
                "puts the end of the partition beyond what a disk can have",
                "give a size in MiB that fits a disk",
            );
            return None;
        };
        let number = u32::try_from(partitions.len()).ok()?.checked_add(1)?;
        if number > MOST_PARTITIONS {
            self.diagnostics.add(
                path,
                format!("needs partition {number}, and a GPT holds {MOST_PARTITIONS}"),
                "use fewer volumes on this disk",
            );
            return None;
        }
        partitions.push(PartitionSpec {
            number,
            start,
            size,
            role,
            partition_type: None,
            flags: Vec::new(),
            logical: false,
            keep_data: false,
        });
        Some(BlockRef::Partition { disk, number })
    }

    fn finish(mut self) -> Layout {
        lvm::add_logical_volumes(&mut self.layout, &self.spaces.groups, self.diagnostics);
        let mut listed = self
            .spaces
            .disks
            .iter()
            .filter(|disk| disk.size > 0)
            .flat_map(|disk| &disk.volumes);
        if let (false, Some(volume)) =
            (self.boot_done, listed.find(|volume| volume.is_for("/boot")))
        {
            self.diagnostics.add(
                &volume.path,
                "`/boot` has no place: it may not lie on an NVMe disk, nor on one where nothing else is allocated, \
                 nor off the disk marked `bootable`",
                "give a suitable disk a `/boot` volume with a size, and mark no other disk `bootable`",
            );
        }
        if self.options.configdrive && self.layout.configdrive.is_none() {
            self.diagnostics.add(
                self.options.path,
                "leaves no place for the configdrive: no disk that takes part has a volume for `/` or a non-empty \
                 `pv` of the volume group `os`",
                "put `/` onto a partition or an array, or call the volume group of the root volume `os`",
            );
        }
        keep::elevate(&mut self.layout.storage);
        self.layout
    }
}

fn is_swap(volume: &Volume) -> bool {
    volume.mount() == Some("swap")
        || volume.file_system.as_deref() == Some(FilesystemType::Swap.as_str())
}
