//! The whole vocabulary of what can happen to a machine, and what each of it destroys.

use host::units::Extent;
use serde::Serialize;

use super::index::{
    DiskIndex, FilesystemIndex, ImageIndex, LogicalVolumeIndex, PhysicalVolumeIndex, RaidIndex,
    VolumeGroupIndex,
};
use super::stage::Stage;
use super::storage::BlockRef;

/// A step with its place in the plan.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// Number in the plan, from 1.
    pub number: usize,
    /// Stage that performs it.
    pub stage: Stage,
    /// What it does.
    pub step: Step,
    /// For people: one line, names and sizes as they will be.
    pub what: String,
    /// Bytes whose old content is gone afterwards.
    pub destroys: Vec<Destroyed>,
}

/// Bytes on a disk whose old content will be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destroyed {
    /// Node of the disk.
    pub device: String,
    /// Offset of the first byte.
    #[serde(rename = "offset_bytes")]
    pub offset: host::units::Bytes,
    /// Length in bytes.
    #[serde(rename = "length_bytes")]
    pub length: host::units::Bytes,
}

/// One effect. No `_ =>` when matching on it or on one of its groups: a new effect has to be asked what it destroys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Releases something that is stacked on chosen disks.
    Release(Release),
    /// Takes from a disk what could boot: boot code, core image, ESP boot files, identity stamp. The first write.
    Disarm {
        /// Disk to disarm.
        disk: DiskIndex,
        /// Where core images and ESPs begin that are there now or are kept, besides the boot code and the stamp:
        /// zeroed.
        areas: Vec<Extent>,
    },
    /// Makes a part of the layout.
    Make(Make),
    /// Activates what is kept: arrays and volume groups of the kept layout.
    ActivateKept,
    /// Brings an image onto what was made.
    Image(ImageStep),
    /// Makes the installed system the node's own.
    Configure(Configure),
    /// Flushes everything, reads tables, signatures and digests back, and checks that the root is found.
    Verify,
    /// Makes a disk bootable again; the last writes.
    Arm(Arm),
}

/// Releasing what is stacked wholly on chosen disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Stops an md array; its superblocks go with the wipe of what it lay on.
    StopRaid {
        /// Device node of the array.
        device: String,
        /// Nodes of its members.
        members: Vec<String>,
    },
    /// Deactivates a volume group.
    DeactivateVolumeGroup {
        /// Name of the volume group.
        name: String,
    },
    /// Closes a crypt or other device-mapper mapping.
    CloseMapping {
        /// Name of the mapping, without /dev/mapper.
        name: String,
    },
}

/// Creation of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// Zeroes extents so that no old signature is found in them.
    Wipe {
        /// Disk to wipe.
        disk: DiskIndex,
        /// Where: ascending, apart from each other.
        extents: Vec<Extent>,
    },
    /// Writes a disk's new partition table and registers each partition with the kernel.
    Table(DiskIndex),
    /// Makes an md array.
    Raid(RaidIndex),
    /// Makes a physical volume.
    PhysicalVolume(PhysicalVolumeIndex),
    /// Makes a volume group.
    VolumeGroup(VolumeGroupIndex),
    /// Makes a logical volume.
    LogicalVolume(LogicalVolumeIndex),
    /// Makes a filesystem or swap space.
    Filesystem(FilesystemIndex),
}

/// From an image to a filesystem that fills its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageStep {
    /// Streams an image onto its filesystem's device and verifies it.
    Write {
        /// Image to write.
        image: ImageIndex,
        /// Whether it is written at the same time as the image of the step before it, which is a `Write` too. Such
        /// steps begin together; the first that fails stops the others.
        with_previous: bool,
    },
    /// Streams an archive, verifies it, and makes its files in a filesystem that was made for them.
    Unpack(ImageIndex),
    /// Grows a filesystem that came with an image to its volume.
    Grow(FilesystemIndex),
    /// Has the kernel read the partition table that an image has brought to a disk.
    ReadTable(DiskIndex),
}

/// What is written into the installed system, and beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configure {
    /// Moves what an image has under `path` into the filesystem that is mounted there.
    MoveContent {
        /// Filesystem that has the files now.
        from: FilesystemIndex,
        /// Filesystem that is mounted there later.
        to: FilesystemIndex,
        /// The path of the latter's mount point, relative to the former's.
        path: String,
    },
    /// Writes /etc/fstab of the installed system.
    Fstab,
    /// Writes hostname, network names and the admin interface's address into the target.
    Identity,
    /// Writes grub.cfg, GRUB's modules and the kernel parameters for later runs of update-grub.
    BootConfig,
    /// Takes the installed kernel into memory, to be started without the firmware in between.
    LoadKernel,
    /// Writes the cloud-init data to a partition.
    Configdrive(BlockRef),
}

/// Making a disk bootable again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Puts boot code on it, and reads it back.
    BootCode(DiskIndex),
    /// Writes the identity stamp.
    Stamp(DiskIndex),
}

impl Step {
    /// The image that it writes onto its device.
    pub const fn image(&self) -> Option<ImageIndex> {
        match self {
            Self::Image(ImageStep::Write { image, .. }) => Some(*image),
            Self::Image(ImageStep::Unpack(_) | ImageStep::Grow(_) | ImageStep::ReadTable(_))
            | Self::Release(_)
            | Self::Disarm { .. }
            | Self::Make(_)
            | Self::ActivateKept
            | Self::Configure(_)
            | Self::Verify
            | Self::Arm(_) => None,
        }
    }

    /// Whether it is performed at the same time as the step before it.
    pub const fn goes_with_previous(&self) -> bool {
        matches!(
            self,
            Self::Image(ImageStep::Write {
                with_previous: true,
                ..
            })
        )
    }
}
