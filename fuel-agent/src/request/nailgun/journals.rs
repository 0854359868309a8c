//! Ceph journals: the space of a `cephjournal` volume is cut into one partition for each data disk that it serves.

use super::super::reader::Diagnostics;
use super::spaces::{Spaces, Volume};

/// No journal is larger, in MiB.
const LARGEST: i64 = 10 << 10;

/// How many journals are still to be handed out.
#[derive(Debug)]
pub(super) struct Journals {
    data: i64,
    volumes: i64,
    left: i64,
}

/// Partitions that a journal volume becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) count: i64,
    /// Size of each, in MiB.
    pub(super) size: i64,
}

impl Journals {
    /// Counts data and journal volumes on all disks that have a size.
    pub(super) fn new(spaces: &Spaces) -> Self {
        let count = |name: &str| {
            let disks = spaces.disks.iter().filter(|disk| disk.size > 0);
            let found = disks
                .flat_map(|disk| &disk.volumes)
                .filter(|volume| volume.size > 0 && volume.name.as_deref() == Some(name))
                .count();
            i64::try_from(found).unwrap_or(i64::MAX)
        };
        let data = count("ceph");
        Self {
            data,
            volumes: count("cephjournal"),
            left: data,
        }
    }

    /// Whether the volume is a journal.
    pub(super) fn is_journal(volume: &Volume) -> bool {
        volume.name.as_deref() == Some("cephjournal")
    }

    /// What the next journal volume becomes; without any data volume upstream divides by zero.
    pub(super) fn share(
        &mut self,
        volume: &Volume,
        diagnostics: &mut Diagnostics,
    ) -> Option<Share> {
        if self.data == 0 {
            diagnostics.add(
                &volume.path,
                "is a ceph journal, but no disk has a volume named `ceph` for it",
                "add the data volumes, or give the journal size 0",
            );
            return None;
        }
        // rounded up; there is a journal, and there are data volumes
        let both = self.data.saturating_add(self.volumes).saturating_sub(1);
        let ratio = both.checked_div(self.volumes.max(1)).unwrap_or(1);
        let size = volume.size.checked_div(ratio).unwrap_or_default();
        let size = size.min(LARGEST);
        let count = ratio.min(self.left);
        self.left = self.left.saturating_sub(count);
        if count > 0 && size == 0 {
            diagnostics.add(
                format!("{}.size", volume.path),
                format!("is {} MiB, too little for {ratio} journals", volume.size),
                format!("give at least {ratio}"),
            );
            return None;
        }
        Some(Share { count, size })
    }
}
