//! Arithmetic on runs of bytes: ends, unions, which device backs which, and where tables keep theirs.

use host::units::{Bytes, Extent};

use crate::model::index::DiskIndex;
use crate::model::signature_places;
pub(super) use crate::model::signature_places::END;
use crate::model::storage::{BlockRef, Table};

use crate::model::plan::Plan;

/// The first and the last [`END`] of an extent; one piece where they meet.
pub(super) fn ends(extent: Extent) -> Vec<Extent> {
    union(signature_places::ends(extent))
}

/// Everything in an extent that may hold a signature; pieces that touch made one.
pub(super) fn signatures(extent: Extent) -> Vec<Extent> {
    union(signature_places::all(extent))
}

/// The bytes that two extents share; `None` without any.
pub(super) fn intersection(a: Extent, b: Extent) -> Option<Extent> {
    let start = a.start.max(b.start);
    let length = a.end().min(b.end()).checked_sub(start)?;
    (length > Bytes::ZERO).then_some(Extent { start, length })
}

/// The same bytes in ascending order, pieces that overlap or touch made one.
pub(super) fn union(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.retain(|extent| extent.length > Bytes::ZERO);
    extents.sort_unstable();
    let mut pieces: Vec<Extent> = Vec::new();
    for extent in extents {
        match pieces.last_mut() {
            Some(last) if extent.start <= last.end() => {
                last.length = last.end().max(extent.end()).saturating_sub(last.start);
            }
            _ => pieces.push(extent),
        }
    }
    pieces
}

/// `from` without the bytes of `without`, both as [`union`] gives them.
pub(super) fn difference(from: Vec<Extent>, without: &[Extent]) -> Vec<Extent> {
    let mut left = from;
    for hole in without {
        left = left
            .into_iter()
            .flat_map(|extent| around(extent, *hole))
            .collect();
    }
    left
}

fn around(extent: Extent, hole: Extent) -> Vec<Extent> {
    let Some(shared) = intersection(extent, hole) else {
        return vec![extent];
    };
    let before = Extent {
        start: extent.start,
        length: shared.start.saturating_sub(extent.start),
    };
    let after = Extent {
        start: shared.end(),
        length: extent.end().saturating_sub(shared.end()),
    };
    union(vec![before, after])
}

/// The bytes at the start and at the end of a disk that its table takes.
pub(super) fn table(table: Table, size: Bytes, sector: Bytes) -> Vec<Extent> {
    let sectors = |count: u64| Bytes(sector.0.saturating_mul(count));
    match table {
        // Protective MBR, header, 128 entries of 128 bytes; entries and header once more at the end.
        Table::Gpt => {
            let entries = (128 * 128u64).div_ceil(sector.0.max(1));
            let tail = sectors(entries + 1);
            vec![
                Extent {
                    start: Bytes::ZERO,
                    length: sectors(entries + 2),
                },
                Extent {
                    start: size.align_down(sector).saturating_sub(tail),
                    length: tail,
                },
            ]
        }
        Table::Msdos => vec![Extent {
            start: Bytes::ZERO,
            length: sector,
        }],
    }
}

/// The partitions' extents beneath `on`, with the index of their disk: the widest that can be written to through it.
pub(super) fn backing_extents(plan: &Plan, on: BlockRef) -> Vec<(DiskIndex, Extent)> {
    match on {
        BlockRef::Partition { disk, number } => plan
            .partition(disk, number)
            .map(|partition| (disk, partition.extent))
            .into_iter()
            .collect(),
        BlockRef::Raid(raid) => {
            let raid = &plan[raid];
            let members = raid.members.iter().chain(&raid.spares);
            members
                .flat_map(|member| backing_extents(plan, *member))
                .collect()
        }
        BlockRef::Logical(volume) => plan.group_of(volume).map_or_else(Vec::new, |group| {
            group
                .physical_volumes
                .iter()
                .flat_map(|volume| backing_extents(plan, plan[*volume].on))
                .collect()
        }),
        BlockRef::Undefined(_) => Vec::new(),
    }
}
