//! The whole vocabulary of what can happen to a machine, and what each of it destroys.

use host::units::Extent;
use serde::Serialize;

use super::stage::Stage;
use super::storage::BlockRef;

/// A step with its place in the plan.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// From 1.
    pub number: usize,
    /// The stage that performs it.
    pub stage: Stage,
    /// What is done.
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
    /// Where they start.
    #[serde(rename = "offset_bytes")]
    pub offset: host::units::Bytes,
    /// How many.
    #[serde(rename = "length_bytes")]
    pub length: host::units::Bytes,
}

/// One effect. Indexes point into the lists of the [`Plan`](super::plan::Plan). No `_ =>` when matching on it: a new effect
/// has to be asked what it destroys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Stops an md array that lies wholly on chosen disks; its superblocks go with the wipe of what it lay on.
    StopRaid {
        /// Its node.
        device: String,
        /// Nodes of its members.
        members: Vec<String>,
    },
    /// Deactivates a volume group that lies wholly on chosen disks.
    DeactivateVolumeGroup {
        /// Its name.
        name: String,
    },
    /// Closes a crypt or other device-mapper mapping that lies wholly on chosen disks.
    CloseMapping {
        /// Its name.
        name: String,
    },
    /// Takes from a disk what could boot: boot code, core image, ESP boot files, identity stamp. The first write.
    Disarm {
        /// Index of the disk.
        disk: usize,
        /// Where core images and ESPs begin that are there now or are kept, besides the boot code and the stamp: zeroed.
        areas: Vec<Extent>,
    },
    /// Zeroes extents so that no old signature is found in them.
    Wipe {
        /// Index of the disk.
        disk: usize,
        /// Where: ascending, apart from each other.
        extents: Vec<Extent>,
    },
    /// Writes a new partition table and tells the kernel of each partition.
    WriteTable {
        /// Index of the disk.
        disk: usize,
    },
    /// Makes an md array.
    MakeRaid {
        /// Its index.
        raid: usize,
    },
    /// Makes a physical volume.
    MakePhysicalVolume {
        /// Its index.
        physical_volume: usize,
    },
    /// Makes a volume group.
    MakeVolumeGroup {
        /// Its index.
        volume_group: usize,
    },
    /// Makes a logical volume.
    MakeLogicalVolume {
        /// Its index.
        logical_volume: usize,
    },
    /// Activates what is kept: arrays and volume groups of the kept layout.
    ActivateKept,
    /// Makes a filesystem or swap space.
    MakeFilesystem {
        /// Its index.
        filesystem: usize,
    },
    /// Streams an image onto its filesystem's device and verifies it.
    WriteImage {
        /// Its index.
        image: usize,
        /// Whether it is written at the same time as the image of the step before it, which is a `WriteImage` too. Such steps
        /// begin together; the first that fails stops the others.
        with_previous: bool,
    },
    /// Streams an archive, verifies it, and makes its files in a filesystem that was made for them.
    UnpackArchive {
        /// Its index.
        image: usize,
    },
    /// Grows the filesystem that came with an image to its volume.
    GrowFilesystem {
        /// Its index.
        filesystem: usize,
    },
    /// Moves what an image has under `path` into the filesystem that is mounted there.
    MoveContent {
        /// The filesystem it is in now, by index.
        from: usize,
        /// The filesystem it belongs to, by index.
        to: usize,
        /// The path of the latter's mount point, relative to the former's.
        path: String,
    },
    /// Writes fstab.
    WriteFstab,
    /// Writes hostname, network names and the admin interface's address into the target.
    WriteIdentity,
    /// Writes grub.cfg, GRUB's modules and the kernel parameters for later runs of update-grub.
    WriteBootConfig,
    /// Takes the installed kernel into memory, to be started without the firmware in between.
    LoadKernel,
    /// Writes the cloud-init data.
    WriteConfigdrive {
        /// The partition.
        on: BlockRef,
    },
    /// Flushes everything, reads tables, signatures and digests back, and checks that the root is found.
    Verify,
    /// Puts boot code on a disk, and reads it back.
    InstallBootcode {
        /// Index of the disk.
        disk: usize,
    },
    /// Writes the identity stamp.
    WriteStamp {
        /// Index of the disk.
        disk: usize,
    },
}

impl Step {
    /// The image that it writes onto its device, by index.
    pub const fn image(&self) -> Option<usize> {
        match self {
            Self::WriteImage { image, .. } => Some(*image),
            Self::StopRaid { .. }
            | Self::DeactivateVolumeGroup { .. }
            | Self::CloseMapping { .. }
            | Self::Disarm { .. }
            | Self::Wipe { .. }
            | Self::WriteTable { .. }
            | Self::MakeRaid { .. }
            | Self::MakePhysicalVolume { .. }
            | Self::MakeVolumeGroup { .. }
            | Self::MakeLogicalVolume { .. }
            | Self::ActivateKept
            | Self::MakeFilesystem { .. }
            | Self::UnpackArchive { .. }
            | Self::GrowFilesystem { .. }
            | Self::MoveContent { .. }
            | Self::WriteFstab
            | Self::WriteIdentity
            | Self::WriteBootConfig
            | Self::LoadKernel
            | Self::WriteConfigdrive { .. }
            | Self::Verify
            | Self::InstallBootcode { .. }
            | Self::WriteStamp { .. } => None,
        }
    }

    /// Whether it is performed at the same time as the step before it.
    pub const fn goes_with_previous(&self) -> bool {
        matches!(
            self,
            Self::WriteImage {
                with_previous: true,
                ..
            }
        )
    }
}
