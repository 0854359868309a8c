//! The steps as a list, and beside each what it destroys.

use host::units::{Bytes, Extent};

use crate::model::index::FilesystemIndex;
use crate::model::storage::BlockRef;
use crate::wrap;

use super::format;
use super::width::Width;
use crate::model::plan::{Plan, PlannedPartition};
use crate::model::step::{ImageStep, Make, PlannedStep, Step};

/// Columns in which a step's destroyed bytes are named, and what a step's words leave free at their right.
const DESTROYED: usize = 34;
const MARGIN: usize = 12;

/// The list, by stages.
pub(in crate::plan) fn steps(plan: &Plan, page: Width) -> Vec<String> {
    let (destroys, wide) = (page.columns() - DESTROYED, page.columns() - MARGIN);
    let mut lines = vec![format!("{:<destroys$}destroys", "steps")];
    let mut stage = None;
    for planned in &plan.steps {
        if stage != Some(planned.stage) {
            lines.push(format!("  {}", planned.stage));
            stage = Some(planned.stage);
        }
        let lost = lost(plan, planned);
        let mut lost = lost.iter();
        let mut gutter = format!("{:>4}", planned.number);
        let what = wrap::lines(&planned.what, wide);
        for (index, line) in what.iter().enumerate() {
            let left = format!("{gutter}  {line}");
            let beside = index + 1 == what.len() && left.chars().count() < destroys - 1;
            let right = if beside {
                lost.next().map_or("", String::as_str)
            } else {
                ""
            };
            lines.push(format!("{left:<destroys$}{right}"));
            gutter = " ".repeat(4);
        }
        lines.extend(lost.map(|lost| format!("{:<destroys$}{lost}", "")));
    }
    lines
}

/// What a step destroys, one line for each disk: by the names of partitions where it is they that are meant.
fn lost(plan: &Plan, planned: &PlannedStep) -> Vec<String> {
    let mut disks: Vec<(&str, Vec<Extent>)> = Vec::new();
    for one in &planned.destroys {
        let extent = Extent {
            start: one.offset,
            length: one.length,
        };
        match disks.iter_mut().find(|(device, _)| *device == one.device) {
            Some((_, extents)) => extents.push(extent),
            None => disks.push((&one.device, vec![extent])),
        }
    }
    let within = if is_on_volume(plan, &planned.step) {
        "within "
    } else {
        ""
    };
    let line = |(device, extents): (&str, Vec<Extent>)| {
        format!("{within}{}", place(plan, device, &extents))
    };
    disks.into_iter().map(line).collect()
}

fn place(plan: &Plan, device: &str, extents: &[Extent]) -> String {
    let total = extents
        .iter()
        .fold(Bytes::ZERO, |sum, extent| sum.saturating_add(extent.length));
    let total = format::short(total);
    let partitions: Option<Vec<&str>> = extents
        .iter()
        .map(|extent| partition_at(plan, device, *extent))
        .collect();
    let is_disk = plan.disks.iter().any(|disk| disk.device == device);
    match (partitions, extents) {
        (Some(names), _) => names.join(", "),
        (None, _) if !is_disk => device.to_owned(),
        (None, [only]) if only.start == Bytes::ZERO => format!("{device}: first {total}"),
        (None, [only]) => format!("{device}: {total} at {}", only.start),
        (None, _) => match partition_around(plan, device, extents) {
            Some(partition) => format!("{partition}: {total} at its ends"),
            None => format!("{device}: {total} at {} places", extents.len()),
        },
    }
}

/// LVM decides where in a group a volume is: which bytes of it are lost cannot be predicted.
fn is_on_volume(plan: &Plan, step: &Step) -> bool {
    let on = |filesystem: FilesystemIndex| matches!(plan[filesystem].on, BlockRef::Logical(_));
    match step {
        Step::Make(Make::LogicalVolume(_)) => true,
        Step::Make(Make::Filesystem(filesystem)) => on(*filesystem) && !plan.keeps_partitions,
        Step::Image(ImageStep::Write { image, .. } | ImageStep::Unpack(image)) => {
            plan[*image].filesystem().is_some_and(on) && !plan.keeps_partitions
        }
        Step::Make(
            Make::Wipe { .. }
            | Make::Table(_)
            | Make::Raid(_)
            | Make::PhysicalVolume(_)
            | Make::VolumeGroup(_),
        )
        | Step::Image(ImageStep::Grow(_) | ImageStep::ReadTable(_))
        | Step::Release(_)
        | Step::Disarm { .. }
        | Step::ActivateKept
        | Step::Configure(_)
        | Step::Verify
        | Step::Arm(_) => false,
    }
}

fn partition_at<'a>(plan: &'a Plan, device: &str, extent: Extent) -> Option<&'a str> {
    let disk = plan.disks.iter().find(|disk| disk.device == device)?;
    disk.partitions
        .iter()
        .find(|partition| partition.extent == extent)
        .map(|partition| partition.device.as_str())
}

fn partition_around<'a>(plan: &'a Plan, device: &str, extents: &[Extent]) -> Option<&'a str> {
    let disk = plan.disks.iter().find(|disk| disk.device == device)?;
    let holds_all = |partition: &&PlannedPartition| {
        extents
            .iter()
            .all(|extent| partition.extent.contains(*extent))
    };
    disk.partitions
        .iter()
        .find(holds_all)
        .map(|partition| partition.device.as_str())
}
