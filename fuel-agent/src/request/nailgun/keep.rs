//! `keep_data` moves up: from partitions to groups, volumes and filesystems, as upstream does it.
//!
//! A kept array member keeps its flag on the partition alone: upstream never carries it to the array.

use crate::model::storage::{BlockRef, Storage};

/// Moves the flags.
pub(super) fn elevate(storage: &mut Storage) {
    to_groups(storage);
    to_volumes(storage);
    to_filesystems(storage);
}

fn kept<'a>(storage: &'a mut Storage, on: BlockRef) -> Option<&'a mut bool> {
    match on {
        BlockRef::Partition { disk, number } => {
            let partitions: &'a mut Vec<_> = &mut storage.disks.get_mut(disk)?.partitions;
            let found = partitions.iter_mut().find(|p| p.number == number)?;
            Some(&mut found.keep_data)
        }
        BlockRef::Logical(index) => Some(&mut storage.logical_volumes.get_mut(index)?.keep_data),
        BlockRef::Raid(_) | BlockRef::Undefined(_) => None,
    }
}

/// Takes the flag off what is below, and says whether it was set.
fn take(storage: &mut Storage, on: BlockRef) -> bool {
    kept(storage, on).is_some_and(std::mem::take)
}

fn to_groups(storage: &mut Storage) {
    for group in 0..storage.volume_groups.len() {
        for index in storage.volume_groups[group].physical_volumes.clone() {
            let on = storage.physical_volumes[index].on;
            if take(storage, on) {
                storage.volume_groups[group].keep_data = true;
            }
        }
    }
}

fn to_volumes(storage: &mut Storage) {
    for group in storage
        .volume_groups
        .iter_mut()
        .filter(|group| group.keep_data)
    {
        for volume in &mut storage.logical_volumes {
            if volume.volume_group == group.name {
                volume.keep_data = true;
                group.keep_data = false;
            }
        }
    }
}

fn to_filesystems(storage: &mut Storage) {
    for index in 0..storage.filesystems.len() {
        let on = storage.filesystems[index].on;
        if take(storage, on) {
            storage.filesystems[index].keep_data = true;
        }
    }
}
