//! Questions that a plan answers: what is where, how much room it has, what is needed for it.

use host::units::Bytes;

use crate::model::filesystem::FilesystemType;
use crate::model::storage::{BlockRef, Mount};
use crate::tools::Tool;

use super::text::json;
use super::{lvm, raid, tools};
use crate::model::plan::{
    Plan, PlannedFilesystem, PlannedImage, PlannedPartition, PlannedVolumeGroup,
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

    /// Partition `number` of disk `disk`, if it is planned.
    pub fn partition(&self, disk: usize, number: u32) -> Option<&PlannedPartition> {
        let disk = self.disks.get(disk)?;
        disk.partitions
            .iter()
            .find(|partition| partition.number == number)
    }

    /// The volume group of a logical volume, by the latter's index.
    pub fn group_of(&self, volume: usize) -> Option<&PlannedVolumeGroup> {
        let name = &self.logical_volumes.get(volume)?.spec.volume_group;
        self.volume_groups.iter().find(|group| group.name == *name)
    }

    /// Forecast of a node, for people; whoever opens it asks the machine.
    pub fn node_of(&self, on: BlockRef) -> String {
        let known = match on {
            BlockRef::Partition { disk, number } => self
                .partition(disk, number)
                .map(|partition| partition.device.clone()),
            BlockRef::Raid(raid) => self.raids.get(raid).map(|raid| raid.device.clone()),
            BlockRef::Logical(volume) => self
                .logical_volumes
                .get(volume)
                .map(|volume| volume.device.clone()),
            BlockRef::Undefined(index) => self.undefined.get(index).cloned(),
        };
        known.unwrap_or_else(|| match on {
            BlockRef::Partition { disk, number } => format!("partition {number} of disk {disk}"),
            BlockRef::Raid(raid) => format!("array {raid}"),
            BlockRef::Logical(volume) => format!("logical volume {volume}"),
            BlockRef::Undefined(index) => format!("device {index}"),
        })
    }

    /// How much room there is on something, as far as that can be foretold; `None` where it is not of this plan's
    /// making.
    pub fn size_of(&self, on: BlockRef) -> Option<Bytes> {
        match on {
            BlockRef::Partition { disk, number } => self
                .partition(disk, number)
                .map(|partition| partition.extent.length),
            BlockRef::Raid(raid) => raid::capacity(self.raids.get(raid)?, self),
            BlockRef::Logical(volume) => self
                .logical_volumes
                .get(volume)?
                .spec
                .size
                .align_up(lvm::EXTENT),
            BlockRef::Undefined(_) => None,
        }
    }

    /// The image that is a filesystem's every byte, if it comes with one: none that is an archive.
    pub fn image_over(&self, filesystem: &PlannedFilesystem) -> Option<&PlannedImage> {
        let image = filesystem.image.and_then(|image| self.images.get(image));
        image.filter(|image| !image.is_archive())
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

    /// The filesystem mounted on `/`, by index.
    pub fn root(&self) -> Option<usize> {
        let root = Mount::Path("/".to_owned());
        self.filesystems
            .iter()
            .position(|filesystem| filesystem.mount.as_ref() == Some(&root))
    }
}
