//! `keep_data` moves up: from partitions to groups, volumes and filesystems, as upstream does it.
//!
//! A kept array member keeps its flag on the partition alone: upstream never carries it to the array.

use crate::model::storage::{BlockRef, Storage};

/// Moves the flags up to what is built on the flagged devices.
pub(super) fn elevate(storage: &mut Storage) {
    to_groups(storage);
    to_volumes(storage);
    to_filesystems(storage);
}

fn kept(storage: &mut Storage, on: BlockRef) -> Option<&mut bool> {
    match on {
        BlockRef::Partition { disk, number } => {
            let mut partitions = storage[disk].partitions.iter_mut();
            let found = partitions.find(|p| p.number == number)?;
            Some(&mut found.keep_data)
        }
        BlockRef::Logical(volume) => Some(&mut storage[volume].keep_data),
        BlockRef::Raid(_) | BlockRef::Undefined(_) => None,
    }
}

/// Takes the flag off what is below, and returns whether it was set.
fn take(storage: &mut Storage, on: BlockRef) -> bool {
    kept(storage, on).is_some_and(std::mem::take)
}

fn to_groups(storage: &mut Storage) {
    let groups: Vec<_> = storage.volume_groups().map(|(group, _)| group).collect();
    for group in groups {
        for volume in storage[group].physical_volumes.clone() {
            let on = storage[volume].on;
            if take(storage, on) {
                storage[group].keep_data = true;
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
    let filesystems: Vec<_> = storage.filesystems().map(|(index, _)| index).collect();
    for filesystem in filesystems {
        let on = storage[filesystem].on;
        if take(storage, on) {
            storage[filesystem].keep_data = true;
        }
    }
}
