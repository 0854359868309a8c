//! The plan: a value that lists everything that will happen. `plan` makes it, `apply` carries it out.

use host::units::{Bytes, Extent};
use uuid::Uuid;

use super::error::Kind;
use super::filesystem::{FilesystemType, ImageFormat};
use super::first_boot::FirstBoot;
use super::index::{
    DiskIndex, FilesystemIndex, ImageIndex, LogicalVolumeIndex, PhysicalVolumeIndex, RaidIndex,
    UndefinedIndex, VolumeGroupIndex, indexed_lists,
};
use super::node::{Firmware, NodeSpec};
use super::partition_type::PartitionType;
use super::request::{BootSpec, Container, Dialect};
use super::sources::SourceFacts;
use super::step::PlannedStep;
use super::storage::{BlockRef, LogicalVolumeSpec, Mount, RaidLevel, RaidMetadata, Role, Table};
use super::url::RedactedUrl;

/// Offset of the identity stamp on every disk that gets boot code: in the gap between the partition table and the first
/// MiB, where the agent never starts a partition.
pub const STAMP: Extent = Extent {
    start: Bytes(512 << 10),
    length: Bytes(64 << 10),
};

/// Everything that will happen. Apply takes no decision that is not in here.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Dialect of the request.
    pub dialect: Dialect,
    /// Identity of the request.
    pub request_digest: String,
    /// Generation of the request, if it has one.
    pub generation: Option<String>,
    /// `instance-id` of this installation.
    pub instance_id: Uuid,
    /// Firmware that the boot code is for.
    pub firmware: Firmware,
    /// Chosen disks, in the order they are worked on.
    pub disks: Vec<PlannedDisk>,
    /// md arrays, in the order they are made.
    pub raids: Vec<PlannedRaid>,
    /// Physical volumes, in the order they are made.
    pub physical_volumes: Vec<PlannedPhysicalVolume>,
    /// Volume groups, in the order they are made.
    pub volume_groups: Vec<PlannedVolumeGroup>,
    /// Logical volumes, in the order they are made.
    pub logical_volumes: Vec<PlannedLogicalVolume>,
    /// Filesystems, in the order they are made.
    pub filesystems: Vec<PlannedFilesystem>,
    /// Images, in the order they are written.
    pub images: Vec<PlannedImage>,
    /// The partition that gets the cloud-init data.
    pub configdrive: Option<BlockRef>,
    /// Where cloud-init of the installed system calls when it is done.
    pub phone_home: Option<RedactedUrl>,
    /// What the installed system changes of itself at its first boot.
    pub first_boot: FirstBoot,
    /// Whether the installed kernel is started without the firmware in between.
    pub kexec: bool,
    /// Whether boot code on a BIOS node comes with the protective entry of the disk's MBR marked active; never on a
    /// UEFI node.
    pub gpt_active: bool,
    /// Nodes that the request uses without making them; `run` refuses.
    pub undefined: Vec<String>,
    /// How the installed system starts.
    pub boot: BootSpec,
    /// Identity of the node; `None` where the dialect has none.
    pub node: Option<NodeSpec>,
    /// Something is kept, so no table, array, group or volume is made anew.
    pub keeps_partitions: bool,
    /// What is unusual but will be done.
    pub warnings: Vec<String>,
    /// Why `run` will not do this as it stands, though it can be planned.
    pub refusals: Vec<Refusal>,
    /// What will be done, in order.
    pub steps: Vec<PlannedStep>,
}

indexed_lists!(Plan {
    disks: [DiskIndex] PlannedDisk,
    raids: [RaidIndex] PlannedRaid,
    physical_volumes: [PhysicalVolumeIndex] PlannedPhysicalVolume,
    volume_groups: [VolumeGroupIndex] PlannedVolumeGroup,
    logical_volumes: [LogicalVolumeIndex] PlannedLogicalVolume,
    filesystems: [FilesystemIndex] PlannedFilesystem,
    images: [ImageIndex] PlannedImage,
    undefined: [UndefinedIndex] String,
});

/// Why a plan will not be carried out as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Decides the exit status.
    pub kind: Kind,
    /// The rule that refuses it.
    pub by: RefusedBy,
    /// Message: what is refused.
    pub what: String,
    /// Hint: what to do.
    pub hint: String,
}

/// Which sub-commands end with the exit status of a [`Refusal`]; all of them print the plan first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusedBy {
    /// `plan` too: what is asked for does not fit on this node.
    Plan,
    /// `validate` and `run`: it can be planned, as upstream plans it, but would do harm or fail.
    Run,
}

/// A chosen disk.
#[derive(Clone, Debug)]
pub struct PlannedDisk {
    /// Device node at the time of planning.
    pub device: String,
    /// Serial number or wwn: how it is found again.
    pub disk_id: String,
    /// Model, from the inventory.
    pub model: String,
    /// Size of the whole disk.
    pub size: Bytes,
    /// Logical sector size.
    pub sector_size: Bytes,
    /// Kind of the partition table.
    pub table: Table,
    /// Identifier of the new table.
    pub guid: Uuid,
    /// Whether boot code goes onto it.
    pub bootloader: bool,
    /// Partitions, in order of creation.
    pub partitions: Vec<PlannedPartition>,
    /// Existing partitions that are not in the request and stay because something is kept: number and place.
    pub others: Vec<(u32, Extent)>,
}

/// A partition that will be.
#[derive(Clone, Debug)]
pub struct PlannedPartition {
    /// Number in the table, from 1.
    pub number: u32,
    /// Forecast of its node, for people.
    pub device: String,
    /// Place on the disk.
    pub extent: Extent,
    /// Use, which decides its type.
    pub role: Role,
    /// Its type, as the request gives it or as its role has it; `None` is
    /// [`DATA`](super::partition_type::DATA).
    pub partition_type: Option<PartitionType>,
    /// Name in the GPT.
    pub name: String,
    /// Whether its GPT attribute for legacy BIOS boot is set.
    pub legacy_boot: bool,
    /// Identifier of the partition itself.
    pub guid: Uuid,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// An md array that will be.
#[derive(Clone, Debug)]
pub struct PlannedRaid {
    /// Device node of the array, `/dev/mdN`.
    pub device: String,
    /// RAID level.
    pub level: RaidLevel,
    /// Format of its superblocks.
    pub metadata: RaidMetadata,
    /// Active members.
    pub members: Vec<BlockRef>,
    /// Spare members.
    pub spares: Vec<BlockRef>,
    /// UUID that the array is created with.
    pub uuid: Uuid,
    /// Whether what is on it stays.
    pub keep_data: bool,
}

/// A physical volume that will be.
#[derive(Clone, Debug)]
pub struct PlannedPhysicalVolume {
    /// Device that becomes the physical volume.
    pub on: BlockRef,
    /// Size of each metadata area.
    pub metadata_size: Bytes,
    /// Number of metadata areas.
    pub metadata_copies: u32,
}

/// A volume group that will be.
#[derive(Clone, Debug)]
pub struct PlannedVolumeGroup {
    /// Name of the volume group.
    pub name: String,
    /// Physical volumes, by index.
    pub physical_volumes: Vec<PhysicalVolumeIndex>,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// A logical volume that will be.
#[derive(Clone, Debug)]
pub struct PlannedLogicalVolume {
    /// The volume as the request has it.
    pub spec: LogicalVolumeSpec,
    /// Device node below /dev/mapper.
    pub device: String,
}

/// A filesystem that will be.
#[derive(Clone, Debug)]
pub struct PlannedFilesystem {
    /// Device that it is made on.
    pub on: BlockRef,
    /// Forecast of its node, for people; the real one is found through `on`.
    pub device: String,
    /// Size of that device.
    pub size: Bytes,
    /// Mount point; `None` for one that is not mounted.
    pub mount: Option<Mount>,
    /// Type to make, or the type in the image.
    pub kind: FilesystemType,
    /// Its label, as asked for.
    pub label: String,
    /// More options for mkfs.
    pub options: String,
    /// The identifier it is made with; one that comes with an image or is kept has its own.
    pub uuid: Uuid,
    /// Whether what is in it stays.
    pub keep_data: bool,
    /// The image that it gets; unless that is an archive, it is not made.
    pub image: Option<ImageIndex>,
}

/// An image that will be written.
#[derive(Clone, Debug)]
pub struct PlannedImage {
    /// Address of the image, without secrets.
    pub url: RedactedUrl,
    /// Target that it is written to.
    pub onto: ImageTarget,
    /// Content that the request states.
    pub format: ImageFormat,
    /// Container that the request states.
    pub container: Container,
    /// Facts that were found about it.
    pub facts: SourceFacts,
}

/// Target that an image is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageTarget {
    /// The device of a filesystem: the image brings that filesystem, or, as an archive, the files in it.
    Filesystem(FilesystemIndex),
    /// A whole disk, from its first byte on. The content of the image is not checked.
    Disk(DiskIndex),
}

impl PlannedImage {
    /// The filesystem that it brings or fills.
    pub const fn filesystem(&self) -> Option<FilesystemIndex> {
        match self.onto {
            ImageTarget::Filesystem(filesystem) => Some(filesystem),
            ImageTarget::Disk(_) => None,
        }
    }

    /// Whether it is no filesystem, but files for one that is made.
    pub fn is_archive(&self) -> bool {
        self.format == ImageFormat::Archive
    }
}
