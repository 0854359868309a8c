//! A disk drawn to scale in box characters: the smallest partition is still seen, the largest is cut for it.

use host::units::{Bytes, Extent};

use crate::model::index::DiskIndex;
use crate::model::storage::{BlockRef, Mount, Role};

use super::format;
use crate::model::plan::{Plan, PlannedDisk};

/// Columns of a map, its borders included, where there is room for it.
pub(in crate::plan) const WIDTH: usize = 96;
/// Room that no partition takes is drawn from here on; the holes that Fuel leaves are not.
const LEAST_FREE: Bytes = Bytes(4 << 20);

/// One box of the map.
#[derive(Debug, PartialEq, Eq)]
struct Cell {
    /// Top line: the partition's number.
    number: String,
    /// Use of the piece, as its label in the map.
    label: String,
    /// Size with its unit.
    size: String,
    length: Bytes,
    /// Filled with dots: unused.
    free: bool,
}

impl Cell {
    /// What has to be seen of it: all of a short label.
    fn least(&self, cap: usize) -> usize {
        let wanted = self.label.chars().count().max(self.number.len());
        wanted.min(cap).max(self.number.len())
    }
}

/// The lines of the map of a disk, so many columns wide.
pub(in crate::plan) fn lines(plan: &Plan, index: DiskIndex, columns: usize) -> Vec<String> {
    let cells = cells(plan, index);
    let Some(widths) = widths(&cells, columns) else {
        return vec![format!("({} partitions: too many to draw)", cells.len())];
    };
    let border = |left: &str, middle: &str, right: &str| {
        let runs: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        format!("{left}{}{right}", runs.join(middle))
    };
    let row = |text: fn(&Cell) -> &str| {
        let boxes: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| fitted(text(cell), *width, cell.free))
            .collect();
        format!("│{}│", boxes.join("│"))
    };
    vec![
        border("┌", "┬", "┐"),
        row(|cell| &cell.number),
        row(|cell| &cell.label),
        row(|cell| &cell.size),
        border("└", "┴", "┘"),
        scale(&cells, &widths),
    ]
}

/// How much a column is, by the largest box, and which boxes are wider than that allows.
fn scale(cells: &[Cell], widths: &[usize]) -> String {
    let boxes = || cells.iter().zip(widths);
    let Some((largest, width)) = boxes().max_by_key(|(cell, _)| cell.length) else {
        return String::new();
    };
    let column = Bytes(largest.length.0 / u64::try_from(*width).unwrap_or(1).max(1));
    // A box may be one column too wide by rounding.
    let is_wider =
        |cell: &Cell, width: usize| share(cell.length, 1, u128::from(column.0.max(1))) + 1 < width;
    let wider: Vec<&str> = boxes()
        .filter(|(cell, width)| !cell.free && is_wider(cell, **width))
        .map(|(cell, _)| cell.number.as_str())
        .collect();
    match wider.len() {
        0 => format!("  one column is {}", format::short(column)),
        _ => format!(
            "  one column is {}; drawn wider: {}",
            format::short(column),
            wider.join(" ")
        ),
    }
}

/// The text in so many columns: a name is cut with an ellipsis, an amount (it ends in `B`) is left out rather than cut.
fn fitted(text: &str, width: usize, free: bool) -> String {
    let length = text.chars().count();
    let cut = if length <= width {
        text.to_owned()
    } else if text.ends_with('B') || width < 3 {
        String::new()
    } else {
        text.chars().take(width - 1).chain(['…']).collect()
    };
    let fill = if free { "·" } else { " " };
    let missing = width.saturating_sub(cut.chars().count());
    format!("{cut}{}", fill.repeat(missing))
}

fn cells(plan: &Plan, index: DiskIndex) -> Vec<Cell> {
    let disk = &plan[index];
    let mut pieces: Vec<(Extent, Cell)> = disk
        .partitions
        .iter()
        .map(|partition| {
            let on = BlockRef::Partition {
                disk: index,
                number: partition.number,
            };
            let label = label(plan, on, partition.role);
            (
                partition.extent,
                cell(
                    partition.number.to_string(),
                    label,
                    partition.extent.length,
                    false,
                ),
            )
        })
        .collect();
    pieces.extend(disk.others.iter().map(|(number, extent)| {
        (
            *extent,
            cell(number.to_string(), "stays".to_owned(), extent.length, false),
        )
    }));
    pieces.sort_by_key(|(extent, _)| *extent);
    with_free(disk, pieces)
}

fn cell(number: String, label: String, length: Bytes, free: bool) -> Cell {
    Cell {
        number,
        label,
        size: format::short(length),
        length,
        free,
    }
}

/// Puts boxes for what is free between the others.
fn with_free(disk: &PlannedDisk, pieces: Vec<(Extent, Cell)>) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut at = Bytes::ZERO;
    let free = |from: Bytes, to: Bytes, cells: &mut Vec<Cell>| {
        let length = to.saturating_sub(from);
        if length >= LEAST_FREE {
            cells.push(cell(String::new(), "free".to_owned(), length, true));
        }
    };
    for (extent, cell) in pieces {
        free(at, extent.start, &mut cells);
        at = extent.end();
        cells.push(cell);
    }
    free(at, disk.size, &mut cells);
    cells
}

/// What a partition is for, as short as can be.
fn label(plan: &Plan, on: BlockRef, role: Role) -> String {
    if let Some(filesystem) = plan
        .filesystems
        .iter()
        .find(|filesystem| filesystem.on == on)
    {
        match &filesystem.mount {
            Some(Mount::Path(path)) => return path.clone(),
            Some(Mount::Swap) => return "swap".to_owned(),
            None => return filesystem.kind.to_string(),
        }
    }
    if let Some(raid) = plan
        .raids
        .iter()
        .find(|raid| raid.members.contains(&on) || raid.spares.contains(&on))
    {
        return raid.device.trim_start_matches("/dev/").to_owned();
    }
    let group = plan.volume_groups.iter().find(|group| {
        let mut volumes = group.physical_volumes.iter();
        volumes.any(|volume| plan[*volume].on == on)
    });
    if let Some(group) = group {
        return format!("vg {}", group.name);
    }
    match role {
        Role::BiosGrub => "grub",
        Role::Configdrive => "cidata",
        other => format::role(other),
    }
    .to_owned()
}

/// Columns of each box: in proportion, but no less than it takes to be seen. `None` where even one column each is too
/// much.
fn widths(cells: &[Cell], columns: usize) -> Option<Vec<usize>> {
    let room = columns.checked_sub(cells.len() + 1)?;
    let cap = [8, 5, 3, 2, 1]
        .into_iter()
        .find(|cap| cells.iter().map(|cell| cell.least(*cap)).sum::<usize>() <= room)?;
    let least: Vec<usize> = cells.iter().map(|cell| cell.least(cap).max(1)).collect();
    if least.iter().sum::<usize>() > room {
        return None;
    }
    let mut widths = least.clone();
    // Those that are smaller than their share in columns keep the least; the others share what is left.
    let mut pinned: Vec<bool> = vec![false; cells.len()];
    loop {
        let left = room - sum(&least, &pinned, true);
        let total: u128 = cells
            .iter()
            .zip(&pinned)
            .filter(|(_, pinned)| !**pinned)
            .map(|(cell, _)| u128::from(cell.length.0))
            .sum();
        if total == 0 {
            break;
        }
        let mut again = false;
        for (index, cell) in cells
            .iter()
            .enumerate()
            .filter(|(index, _)| !pinned[*index])
            .collect::<Vec<_>>()
        {
            let share = share(cell.length, left, total);
            if share < least[index] {
                pinned[index] = true;
                again = true;
            } else {
                widths[index] = share;
            }
        }
        if !again {
            break;
        }
        for (index, width) in widths
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| pinned[*index])
        {
            *width = least[index];
        }
    }
    // What rounding down left over goes to the largest.
    let rest = room.saturating_sub(widths.iter().sum());
    if let Some(largest) = (0..cells.len()).max_by_key(|index| cells[*index].length) {
        widths[largest] += rest;
    }
    Some(widths)
}

fn sum(least: &[usize], pinned: &[bool], which: bool) -> usize {
    least
        .iter()
        .zip(pinned)
        .filter(|(_, pinned)| **pinned == which)
        .map(|(least, _)| *least)
        .sum()
}

fn share(length: Bytes, columns: usize, total: u128) -> usize {
    let columns = u128::try_from(columns).unwrap_or(0);
    usize::try_from(u128::from(length.0) * columns / total).unwrap_or(0)
}
