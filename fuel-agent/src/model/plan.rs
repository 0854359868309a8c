//! The plan: a value that says everything that will happen. `plan` makes it, `apply` carries it out.

use host::units::{Bytes, Extent};
use uuid::Uuid;

use super::error::Kind;
use super::filesystem::{FilesystemType, ImageFormat};
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

/// Where the identity stamp lies on every disk that gets boot code: in the gap between the partition table and the
/// first MiB, where no partition of ours ever starts.
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
    /// `instance-id` of this installation.
    pub instance_id: Uuid,
    /// How the node boots.
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
    /// Whether the installed kernel is started without the firmware in between.
    pub kexec: bool,
    /// Whether boot code on a BIOS node comes with the protective entry of the disk's MBR marked active; never on a
    /// UEFI node.
    pub gpt_active: bool,
    /// Nodes that the request uses without making them; `run` refuses.
    pub undefined: Vec<String>,
    /// How the installed system starts.
    pub boot: BootSpec,
    /// Who the node is.
    pub node: Option<NodeSpec>,
    /// Something is kept, so no table, array, group or volume is made anew.
    pub keeps_partitions: bool,
    /// What is odd but will be done.
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
    /// Who can fix it: decides the exit status.
    pub kind: Kind,
    /// Who refuses.
    pub by: RefusedBy,
    /// What is refused.
    pub what: String,
    /// What to do.
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
    /// Its node.
    pub device: String,
    /// Serial number or wwn: how it is found again.
    pub disk_id: String,
    /// Its model.
    pub model: String,
    /// Its size.
    pub size: Bytes,
    /// Its logical sector size.
    pub sector_size: Bytes,
    /// The partition table.
    pub table: Table,
    /// Identifier of the new table.
    pub guid: Uuid,
    /// Whether boot code goes onto it.
    pub bootloader: bool,
    /// Partitions, in order of creation.
    pub partitions: Vec<PlannedPartition>,
    /// Partitions that are there, that the request does not know, and that stay because something is kept: number and
    /// place.
    pub others: Vec<(u32, Extent)>,
}

/// A partition that will be.
#[derive(Clone, Debug)]
pub struct PlannedPartition {
    /// Its number in the table.
    pub number: u32,
    /// Forecast of its node, for people.
    pub device: String,
    /// Where it lies.
    pub extent: Extent,
    /// What it is for.
    pub role: Role,
    /// Its type, as the request gives it or as its role has it; `None` is
    /// [`DATA`](super::partition_type::DATA).
    pub partition_type: Option<PartitionType>,
    /// Its GPT name.
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
    /// Its node.
    pub device: String,
    /// Its level.
    pub level: RaidLevel,
    /// Format of its superblocks.
    pub metadata: RaidMetadata,
    /// Its members.
    pub members: Vec<BlockRef>,
    /// Its spares.
    pub spares: Vec<BlockRef>,
    /// Its identifier.
    pub uuid: Uuid,
    /// Whether what is on it stays.
    pub keep_data: bool,
}

/// A physical volume that will be.
#[derive(Clone, Debug)]
pub struct PlannedPhysicalVolume {
    /// What it is made on.
    pub on: BlockRef,
    /// Size of each metadata area.
    pub metadata_size: Bytes,
    /// Number of metadata areas.
    pub metadata_copies: u32,
}

/// A volume group that will be.
#[derive(Clone, Debug)]
pub struct PlannedVolumeGroup {
    /// Its name.
    pub name: String,
    /// Its physical volumes.
    pub physical_volumes: Vec<PhysicalVolumeIndex>,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// A logical volume that will be.
#[derive(Clone, Debug)]
pub struct PlannedLogicalVolume {
    /// As asked for.
    pub spec: LogicalVolumeSpec,
    /// Its node.
    pub device: String,
}

/// A filesystem that will be.
#[derive(Clone, Debug)]
pub struct PlannedFilesystem {
    /// What it is made on.
    pub on: BlockRef,
    /// Forecast of its node, for people; the real one is found through `on`.
    pub device: String,
    /// How much room it has.
    pub size: Bytes,
    /// Where it is mounted.
    pub mount: Option<Mount>,
    /// Its type.
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
    /// Where it comes from.
    pub url: RedactedUrl,
    /// What it is written onto.
    pub onto: ImageTarget,
    /// What is in it.
    pub format: ImageFormat,
    /// How it is wrapped.
    pub container: Container,
    /// What is known of it.
    pub facts: SourceFacts,
}

/// What an image is written onto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageTarget {
    /// The device of a filesystem: the image brings that filesystem, or, as an archive, the files in it.
    Filesystem(FilesystemIndex),
    /// A whole disk, from its first byte on. What the image brings is not looked at.
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
