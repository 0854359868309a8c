//! Which disks may hold `/boot`: upstream's rule, with its exceptions for `nvme` and for fake RAID.

use super::super::reader::Diagnostics;
use super::spaces::{Disk, Kind, Spaces};

/// Indexes of the disks on which a `/boot` volume becomes a partition. Only the first such volume does.
pub(super) fn candidates(spaces: &Spaces, diagnostics: &mut Diagnostics) -> Vec<usize> {
    let with = |mount: &'static str| {
        move |disk: &Disk| disk.size > 0 && disk.volumes.iter().any(|volume| volume.is_for(mount))
    };
    let on = |mount: &'static str| -> Vec<usize> {
        let lists = with(mount);
        let disks = spaces.disks.iter().enumerate();
        disks
            .filter(|(_, disk)| !disk.name.contains("nvme") && lists(disk))
            .map(|(index, _)| index)
            .collect()
    };
    let mut found = on("/boot");
    if found.is_empty() && !spaces.disks.iter().any(with("/boot")) {
        found = on("/");
    }
    let fake_raid: Vec<usize> = found
        .iter()
        .copied()
        .filter(|&index| spaces.disks.get(index).is_some_and(is_fake_raid))
        .collect();
    if !fake_raid.is_empty() {
        found = fake_raid;
    }
    prefer_bootable(spaces, found, diagnostics)
}

/// A fake-RAID disk (`md126`) that holds the system's volume group.
fn is_fake_raid(disk: &Disk) -> bool {
    disk.name.starts_with("md") && holds_os(disk)
}

/// Whether a non-empty physical volume of the group `os` is on it.
pub(super) fn holds_os(disk: &Disk) -> bool {
    disk.volumes.iter().any(|volume| {
        volume.size > 0 && matches!(&volume.kind, Kind::Pv { group, .. } if group == "os")
    })
}

fn prefer_bootable(
    spaces: &Spaces,
    found: Vec<usize>,
    diagnostics: &mut Diagnostics,
) -> Vec<usize> {
    let disks = found
        .iter()
        .filter_map(|index| Some((*index, spaces.disks.get(*index)?)));
    let mut bootable = disks.filter(|(_, disk)| disk.bootable);
    let Some((first, disk)) = bootable.next() else {
        return found;
    };
    for (_, other) in bootable {
        diagnostics.add(
            format!("{}.bootable", other.path),
            format!("is set, and so is `{}.bootable`", disk.path),
            "set it on one disk only",
        );
    }
    vec![first]
}
