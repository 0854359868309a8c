//! The layout that the disks get, complete for planning, whatever the dialect of the request.
//!
//! Disks are named by selectors, not by device nodes; everything on them refers to (disk, partition number), array or
//! logical volume by index. `plan::select` decides which real disk is meant, `plan` where its extents are.

use std::fmt;

use host::units::Bytes;
use serde::Serialize;

use super::filesystem::FilesystemType;
use super::index::{
    DiskIndex, FilesystemIndex, LogicalVolumeIndex, PhysicalVolumeIndex, RaidIndex, UndefinedIndex,
    VolumeGroupIndex, indexed_lists,
};
use super::partition_type::PartitionType;

/// The storage part of a request. What is made on something else names it by its index in these lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Disks that take part, in the order they are worked on.
    pub disks: Vec<DiskSpec>,
    /// md arrays, in the order they are created in.
    pub raids: Vec<RaidSpec>,
    /// LVM physical volumes, which volume groups refer to by index.
    pub physical_volumes: Vec<PhysicalVolumeSpec>,
    /// LVM volume groups, which logical volumes refer to by index.
    pub volume_groups: Vec<VolumeGroupSpec>,
    /// LVM logical volumes, in the order they are created in.
    pub logical_volumes: Vec<LogicalVolumeSpec>,
    /// Filesystems and swap, in the order they are made and stand in fstab.
    pub filesystems: Vec<FilesystemSpec>,
    /// Nodes that an explicit layout uses but does not make, like a partition of a disk that it does not list. Each has
    /// its entry in [`Request::refusals`](super::request::Request::refusals).
    pub undefined: Vec<String>,
}

indexed_lists!(Storage {
    disks: [DiskIndex] DiskSpec,
    raids: [RaidIndex] RaidSpec,
    physical_volumes: [PhysicalVolumeIndex] PhysicalVolumeSpec,
    volume_groups: [VolumeGroupIndex] VolumeGroupSpec,
    logical_volumes: [LogicalVolumeIndex] LogicalVolumeSpec,
    filesystems: [FilesystemIndex] FilesystemSpec,
    undefined: [UndefinedIndex] String,
});

impl Storage {
    /// Whether anything on the disks is to be kept: then no partition table, array, group or volume is made anew.
    pub fn keeps_anything(&self) -> bool {
        self.disks
            .iter()
            .flat_map(|disk| &disk.partitions)
            .any(|partition| partition.keep_data)
            || self.volume_groups.iter().any(|group| group.keep_data)
            || self.logical_volumes.iter().any(|volume| volume.keep_data)
            || self
                .filesystems
                .iter()
                .any(|filesystem| filesystem.keep_data)
            || self.raids.iter().any(|raid| raid.keep_data)
            || self.physical_volumes.iter().any(|volume| volume.keep_data)
    }
}

/// A disk as the request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// How the real disk is found.
    pub selector: DiskSelector,
    /// Where in the request it stands, as a JSON path.
    pub path: String,
    /// Kind of the partition table.
    pub table: Table,
    /// Whether boot code goes onto it.
    pub bootloader: bool,
    /// Its partitions, in order of creation.
    pub partitions: Vec<PartitionSpec>,
}

/// The ids and the name by which a request selects a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSelector {
    /// Fuel's rule: any of the `extra` links that is a by-id link, else (without `extra`) the `id` as a link; else, or
    /// if the links match several and the name just one, the kernel name.
    Fuel {
        /// Links without `/dev/`, as in `extra`.
        extra: Vec<String>,
        /// Link or kernel name without `/dev/`; used when `extra` is empty.
        id: String,
        /// Kernel name without `/dev/`, may hold a slash.
        name: String,
    },
    /// Exactly this node (`nailgun_simple`).
    Node(String),
}

/// Kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// GUID partition table, with a protective MBR.
    Gpt,
    /// MBR, which parted calls msdos.
    Msdos,
}

/// Use of a partition; decides its type in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// GRUB's core image on a GPT disk of a BIOS node.
    BiosGrub,
    /// EFI system partition; on a BIOS node just the space for one.
    Esp,
    /// A filesystem mounted on `/boot`.
    Boot,
    /// A filesystem, or whatever its user makes of it.
    Data,
    /// Member of an md array.
    Raid,
    /// LVM physical volume.
    Pv,
    /// Swap space.
    Swap,
    /// The cloud-init data (`config-2`).
    Configdrive,
}

/// A partition that the request defines. Its place is exact: Fuel's layout does not depend on the real disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Number in the table, from 1.
    pub number: u32,
    /// Offset of its first byte on the disk.
    pub start: Bytes,
    /// Length in bytes.
    pub size: Bytes,
    /// Use, which decides its type.
    pub role: Role,
    /// Its type as the request gives it; one that is not a GUID is kept as upstream keeps it, and refused by `run`.
    pub partition_type: Option<PartitionType>,
    /// Flags of the explicit layout (`bios_grub`, `legacy_boot`, `boot`, `raid`, `lvm`).
    pub flags: Vec<String>,
    /// `primary` or `logical`.
    pub logical: bool,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// Something that can hold a filesystem, a physical volume or an array member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockRef {
    /// A partition, by disk and number.
    Partition {
        /// Index of the disk in the request.
        disk: DiskIndex,
        /// Number in the partition table.
        number: u32,
    },
    /// An md array, by index.
    Raid(RaidIndex),
    /// A logical volume, by index.
    Logical(LogicalVolumeIndex),
    /// A node that the request names without making it, one of [`Storage::undefined`]: planned, never run.
    Undefined(UndefinedIndex),
}

/// Level of an md array. There are no others: a request that asks for one is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RaidLevel {
    /// Striped: without redundancy.
    Raid0,
    /// Mirrored: each member has all data.
    Raid1,
}

impl RaidLevel {
    /// The words of requests, and what each means.
    pub const WORDS: [(&str, Self); 6] = [
        ("0", Self::Raid0),
        ("1", Self::Raid1),
        ("raid0", Self::Raid0),
        ("raid1", Self::Raid1),
        ("stripe", Self::Raid0),
        ("mirror", Self::Raid1),
    ];

    /// The level that a request calls `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(known, _)| *known == word);
        known.map(|(_, level)| *level)
    }

    /// As mdadm names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raid0 => "raid0",
            Self::Raid1 => "raid1",
        }
    }
}

impl fmt::Display for RaidLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Format of the superblocks of an md array's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RaidMetadata {
    /// What mdadm takes by itself: 1.2.
    #[default]
    Default,
    /// 0.90, at the end of each member.
    V0_90,
    /// 1.0, at the end of each member.
    V1_0,
    /// 1.1, at the beginning of each member.
    V1_1,
    /// 1.2, 4 KiB from the beginning of each member.
    V1_2,
}

impl RaidMetadata {
    /// The words of requests, and what each means.
    pub const WORDS: [(&str, Self); 7] = [
        ("default", Self::Default),
        ("0", Self::V0_90),
        ("0.90", Self::V0_90),
        ("1", Self::V1_2),
        ("1.0", Self::V1_0),
        ("1.1", Self::V1_1),
        ("1.2", Self::V1_2),
    ];

    /// The format that a request calls `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(known, _)| *known == word);
        known.map(|(_, metadata)| *metadata)
    }

    /// As mdadm names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::V0_90 => "0.90",
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// Whether the md superblock is at the end, so that the member begins with the array's own first byte.
    pub const fn at_end(self) -> bool {
        matches!(self, Self::V0_90 | Self::V1_0)
    }
}

impl fmt::Display for RaidMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An md array to be created or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaidSpec {
    /// Node it gets, like `/dev/md0`.
    pub device: String,
    /// RAID level.
    pub level: RaidLevel,
    /// Format of its superblocks.
    pub metadata: RaidMetadata,
    /// Active members; spares are apart.
    pub members: Vec<BlockRef>,
    /// Its spares (parsed by upstream, never given to mdadm there; given here).
    pub spares: Vec<BlockRef>,
    /// Whether what is on it stays.
    pub keep_data: bool,
}

/// An LVM physical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolumeSpec {
    /// Device that becomes the physical volume.
    pub on: BlockRef,
    /// Size of each metadata area.
    pub metadata_size: Bytes,
    /// Number of metadata areas.
    pub metadata_copies: u32,
    /// Whether what is on it stays.
    pub keep_data: bool,
}

/// An LVM volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroupSpec {
    /// Name of the volume group.
    pub name: String,
    /// Physical volumes, at least one.
    pub physical_volumes: Vec<PhysicalVolumeIndex>,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// An LVM logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalVolumeSpec {
    /// Its volume group, by name.
    pub volume_group: String,
    /// Name within its volume group.
    pub name: String,
    /// Size asked for; LVM rounds up to extents.
    pub size: Bytes,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

impl LogicalVolumeSpec {
    /// The node it gets: `-` in names is doubled.
    pub fn device(&self) -> String {
        format!(
            "/dev/mapper/{}-{}",
            self.volume_group.replace('-', "--"),
            self.name.replace('-', "--")
        )
    }
}

/// Mount point of a filesystem, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mount {
    /// An absolute path in the installed system.
    Path(String),
    /// Swap space: in fstab, but not mounted.
    Swap,
}

impl Mount {
    /// From the text of a request: `swap`, else a path.
    pub(crate) fn from_text(text: &str) -> Self {
        match text {
            "swap" => Self::Swap,
            path => Self::Path(path.to_owned()),
        }
    }

    /// As it stands in the request and in fstab's second field.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(path) => path,
            Self::Swap => "swap",
        }
    }
}

/// A filesystem or swap space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesystemSpec {
    /// Device that it is made on.
    pub on: BlockRef,
    /// Where it is mounted; `None` is formatted but not mounted.
    pub mount: Option<Mount>,
    /// Its type; one that is not made here is planned, and refused by `run` where it would have to be made.
    pub kind: FilesystemType,
    /// Its label; cut to what the type can hold when it is made.
    pub label: String,
    /// More options for mkfs, split at spaces (explicit layout only).
    pub options: String,
    /// Whether what is in it stays.
    pub keep_data: bool,
}
