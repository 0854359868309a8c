//! GRUB for BIOS: boot.img in the MBR, the core image in its partition, written and read back.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn install(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    let _ = (context, disk);
    Err(Error::new(Kind::Internal, "`bootcode` is not built yet"))
}

/// The partition that becomes the EFI system partition of a disk.
pub(crate) fn esp(disk: &crate::plan::PlannedDisk) -> Option<&crate::plan::PlannedPartition> {
    disk.partitions
        .iter()
        .find(|partition| partition.role == crate::request::spec::Role::Esp)
}

/// The identifier that a filesystem made by us on the partition gets: known before it is made, so that fstab can name it.
pub(crate) fn volume_id(partition: &crate::plan::PlannedPartition) -> u32 {
    partition.guid.as_fields().0
}
