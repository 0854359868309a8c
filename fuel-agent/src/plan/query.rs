//! Questions that a plan answers: what is where, how much room it has, what is needed for it.

use host::units::Bytes;

use crate::model::filesystem::FilesystemType;
use crate::model::index::{DiskIndex, FilesystemIndex, LogicalVolumeIndex};
use crate::model::storage::{BlockRef, Mount};
use crate::tools::Tool;

use super::text::json;
use super::{lvm, raid, tools};
use crate::model::plan::{
    ImageTarget, Plan, PlannedFilesystem, PlannedImage, PlannedPartition, PlannedVolumeGroup,
};

impl Plan {
    /// The plan as JSON (docs/plan.md): a contract.
    pub fn to_json(&self) -> serde_json::Value {
        json::plan(self)
    }

    /// The programs that its steps need.
    pub fn tools(&self) -> Vec<Tool> {
        tools::tools(self)
    }

    /// Partition `number` of a disk, if it is planned.
    pub fn partition(&self, disk: DiskIndex, number: u32) -> Option<&PlannedPartition> {
        let mut partitions = self[disk].partitions.iter();
        partitions.find(|partition| partition.number == number)
    }

    /// The volume group of a logical volume.
    pub fn group_of(&self, volume: LogicalVolumeIndex) -> Option<&PlannedVolumeGroup> {
        let name = &self[volume].spec.volume_group;
        self.volume_groups.iter().find(|group| group.name == *name)
    }

    /// Forecast of a device node, for display only: code that opens it takes the node from sysfs.
    pub fn node_of(&self, on: BlockRef) -> String {
        match on {
            BlockRef::Partition { disk, number } => match self.partition(disk, number) {
                Some(partition) => partition.device.clone(),
                None => format!("partition {number} of disk {}", disk.0),
            },
            BlockRef::Raid(raid) => self[raid].device.clone(),
            BlockRef::Logical(volume) => self[volume].device.clone(),
            BlockRef::Undefined(device) => self[device].clone(),
        }
    }

    /// How much room there is on something, as far as that can be foretold; `None` where it is not of this plan's
    /// making.
    pub fn size_of(&self, on: BlockRef) -> Option<Bytes> {
        match on {
            BlockRef::Partition { disk, number } => self
                .partition(disk, number)
                .map(|partition| partition.extent.length),
            BlockRef::Raid(raid) => raid::capacity(&self[raid], self),
            BlockRef::Logical(volume) => self[volume].spec.size.align_up(lvm::EXTENT),
            BlockRef::Undefined(_) => None,
        }
    }

    /// The image that is a filesystem's every byte, if it comes with one: none that is an archive.
    pub fn image_over(&self, filesystem: &PlannedFilesystem) -> Option<&PlannedImage> {
        let image = filesystem.image.map(|image| &self[image]);
        image.filter(|image| !image.is_archive())
    }

    /// The filesystem that an image brings or fills.
    pub fn filled_by(&self, image: &PlannedImage) -> Option<&PlannedFilesystem> {
        Some(&self[image.filesystem()?])
    }

    /// Forecast of the node that an image is written to.
    pub fn device_of(&self, image: &PlannedImage) -> &str {
        match image.onto {
            ImageTarget::Filesystem(filesystem) => &self[filesystem].device,
            ImageTarget::Disk(disk) => &self[disk].device,
        }
    }

    /// Whether a filesystem is made, with the identifier that is planned for it: it neither comes with an image nor is
    /// kept.
    pub fn is_made(&self, filesystem: &PlannedFilesystem) -> bool {
        match filesystem.image {
            Some(_) => self.image_over(filesystem).is_none(),
            None => !filesystem.keep_data,
        }
    }

    /// The type that a filesystem will really have: an image brings its own.
    pub fn kind_of<'a>(&'a self, filesystem: &'a PlannedFilesystem) -> &'a FilesystemType {
        let image = self.image_over(filesystem);
        let brought = image.and_then(|image| image.format.filesystem());
        brought.unwrap_or(&filesystem.kind)
    }

    /// The filesystem mounted on `/`.
    pub fn root(&self) -> Option<FilesystemIndex> {
        let root = Mount::Path("/".to_owned());
        let mut filesystems = self.filesystems();
        let found = filesystems.find(|(_, filesystem)| filesystem.mount.as_ref() == Some(&root));
        found.map(|(index, _)| index)
    }
}
