//! The plan as text: what each disk will look like, what is done in which order, what is lost and what stays.

use std::fmt;

use host::units::{Bytes, Extent};

use crate::inventory::Firmware;
use crate::request::spec::{BlockRef, Dialect, Mount, Table};

use super::step::{PlannedStep, Step};
use super::{Plan, PlannedDisk, PlannedFilesystem, PlannedPartition, RefusedBy, map, words};

/// Column at which a step's destroyed bytes are named.
const DESTROYS: usize = 70;
/// Columns that a step's words may take before they go on in the next line.
const WIDE: usize = 92;

impl fmt::Display for Plan {
    /// The whole plan, as `provision plan` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", headline(self))?;
        for index in 0..self.disks.len() {
            writeln!(f)?;
            for line in disk(self, index) {
                writeln!(f, "{line}")?;
            }
        }
        for section in [volumes(self), steps(self), fate(self), doubts(self)] {
            if !section.is_empty() {
                writeln!(f)?;
            }
            for line in section {
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

fn headline(plan: &Plan) -> String {
    let dialect = match plan.dialect {
        Dialect::Nailgun => "nailgun",
        Dialect::NailgunSimple => "nailgun_simple",
        Dialect::Ironic => "ironic",
    };
    let firmware = match plan.firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI",
    };
    let digest: String = plan.request_digest.chars().take(12).collect();
    let name = plan
        .node
        .as_ref()
        .map_or(String::new(), |node| format!(" for {}", node.hostname));
    format!(
        "plan{name}: {dialect} request {digest}, {firmware}, {} steps",
        plan.steps.len()
    )
}

fn disk(plan: &Plan, index: usize) -> Vec<String> {
    let disk = &plan.disks[index];
    let mut lines = vec![disk_head(disk)];
    lines.extend(map::lines(plan, index));
    for partition in &disk.partitions {
        let on = BlockRef::Partition {
            disk: index,
            number: partition.number,
        };
        let role = words::role(partition.role);
        lines.push(row(
            &partition.device,
            partition.extent.length,
            Some(partition.extent.start),
            role,
            &state(plan, on),
        ));
    }
    for (number, extent) in &disk.others {
        let device = words::partition_node(&disk.device, *number);
        lines.push(row(
            &device,
            extent.length,
            Some(extent.start),
            "",
            "KEPT: not in the request",
        ));
    }
    lines
}

/// A line of the tables: everything in the same columns, whatever it is made on.
fn row(device: &str, size: Bytes, start: Option<Bytes>, role: &str, state: &str) -> String {
    let at = start.map_or_else(String::new, |start| format!("at {start}"));
    format!(
        "  {device:<26} {:>10} {at:<15} {role:<11} {state}",
        size.to_string()
    )
    .trim_end()
    .to_owned()
}

/// What is on something, and whether it stays.
fn state(plan: &Plan, on: BlockRef) -> String {
    let content = on_it(plan, on);
    match (is_kept(plan, on), content.is_empty()) {
        (true, true) => "KEPT".to_owned(),
        (true, false) => format!("KEPT: {content}"),
        (false, _) => content,
    }
}

fn disk_head(disk: &PlannedDisk) -> String {
    let mut facts = vec![words::short(disk.size)];
    if !disk.model.is_empty() {
        facts.push(disk.model.clone());
    }
    if !disk.disk_id.is_empty() {
        facts.push(format!("serial {}", disk.disk_id));
    }
    let table = match disk.table {
        Table::Gpt => "GPT",
        Table::Msdos => "MBR",
    };
    facts.push(format!("{table} in sectors of {}", disk.sector_size));
    if disk.bootloader {
        facts.push("boot code".to_owned());
    }
    format!("{}  {}", disk.device, facts.join(", "))
}

/// What is made on something, in a few words.
fn on_it(plan: &Plan, on: BlockRef) -> String {
    if let Some(filesystem) = plan
        .filesystems
        .iter()
        .find(|filesystem| filesystem.on == on)
    {
        return content(plan, filesystem);
    }
    if let Some(raid) = plan.raids.iter().find(|raid| raid.members.contains(&on)) {
        return format!("member of {}", raid.device);
    }
    if let Some(raid) = plan.raids.iter().find(|raid| raid.spares.contains(&on)) {
        return format!("spare of {}", raid.device);
    }
    if plan.configdrive == Some(on) {
        return "cloud-init data".to_owned();
    }
    let group = plan.volume_groups.iter().find(|group| {
        let volumes = group
            .physical_volumes
            .iter()
            .filter_map(|index| plan.physical_volumes.get(*index));
        volumes.into_iter().any(|volume| volume.on == on)
    });
    group.map_or_else(String::new, |group| format!("group `{}`", group.name))
}

fn content(plan: &Plan, filesystem: &PlannedFilesystem) -> String {
    let mount = match &filesystem.mount {
        Some(Mount::Path(path)) => format!(" on {path}"),
        Some(Mount::Swap) => String::new(),
        None => ", not mounted".to_owned(),
    };
    let image = filesystem
        .image
        .and_then(|image| plan.images.get(image))
        .map_or(String::new(), |image| {
            let url = words::printable_url(&image.url);
            format!(", from {}", url.rsplit('/').next().unwrap_or(&url))
        });
    format!("{}{mount}{image}", filesystem.kind)
}

fn is_kept(plan: &Plan, on: BlockRef) -> bool {
    let filesystem = plan.filesystems.iter().any(|filesystem| {
        filesystem.on == on && filesystem.keep_data && filesystem.image.is_none()
    });
    let flagged = match on {
        BlockRef::Partition { disk, number } => plan
            .partition(disk, number)
            .is_some_and(|partition| partition.keep_data),
        BlockRef::Raid(raid) => plan.raids.get(raid).is_some_and(|raid| raid.keep_data),
        BlockRef::Logical(volume) => plan
            .logical_volumes
            .get(volume)
            .is_some_and(|volume| volume.spec.keep_data),
        BlockRef::Undefined(_) => false,
    };
    filesystem || flagged
}

/// Arrays and volume groups with what is in them.
fn volumes(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    if !plan.raids.is_empty() {
        lines.push("arrays".to_owned());
    }
    for (index, raid) in plan.raids.iter().enumerate() {
        let on = BlockRef::Raid(index);
        let members: Vec<String> = raid
            .members
            .iter()
            .map(|member| plan.node_of(*member))
            .collect();
        let of = format!("of {}; {}", members.join(", "), state(plan, on));
        lines.push(row(
            &raid.device,
            plan.size_of(on).unwrap_or_default(),
            None,
            &raid.level,
            &of,
        ));
    }
    for group in &plan.volume_groups {
        let on: Vec<String> = group
            .physical_volumes
            .iter()
            .filter_map(|index| plan.physical_volumes.get(*index))
            .map(|volume| plan.node_of(volume.on))
            .collect();
        let kept = if group.keep_data { "KEPT: " } else { "" };
        lines.push(format!("{kept}group `{}` on {}", group.name, on.join(", ")));
        for (index, volume) in plan.logical_volumes.iter().enumerate() {
            if volume.spec.volume_group == group.name {
                lines.push(row(
                    &volume.device,
                    volume.spec.size,
                    None,
                    "",
                    &state(plan, BlockRef::Logical(index)),
                ));
            }
        }
    }
    lines
}

fn steps(plan: &Plan) -> Vec<String> {
    let mut lines = vec![format!("{:<DESTROYS$}destroys", "steps")];
    let mut stage = None;
    for planned in &plan.steps {
        if stage != Some(planned.stage) {
            lines.push(format!("  {}", planned.stage));
            stage = Some(planned.stage);
        }
        let lost = lost(plan, planned);
        let mut lost = lost.iter();
        let mut gutter = format!("{:>4}", planned.number);
        let what = wrapped(&planned.what, WIDE);
        for (index, line) in what.iter().enumerate() {
            let left = format!("{gutter}  {line}");
            let beside = index + 1 == what.len() && left.chars().count() < DESTROYS - 1;
            let right = if beside {
                lost.next().map_or("", String::as_str)
            } else {
                ""
            };
            lines.push(format!("{left:<DESTROYS$}{right}"));
            gutter = " ".repeat(4);
        }
        lines.extend(lost.map(|lost| format!("{:<DESTROYS$}{lost}", "")));
    }
    lines
}

/// The text in lines of at most `width` columns, broken at spaces; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
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
    let total = words::short(total);
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

/// LVM decides where in a group a volume lies: which bytes of it go cannot be foretold.
fn is_on_volume(plan: &Plan, step: &Step) -> bool {
    let on = |filesystem: usize| {
        matches!(
            plan.filesystems
                .get(filesystem)
                .map(|filesystem| filesystem.on),
            Some(BlockRef::Logical(_))
        )
    };
    match step {
        Step::MakeLogicalVolume { .. } => true,
        Step::MakeFilesystem { filesystem } => on(*filesystem) && !plan.keeps_partitions,
        Step::WriteImage { image } => on(plan.images[*image].filesystem) && !plan.keeps_partitions,
        Step::StopRaid { .. }
        | Step::DeactivateVolumeGroup { .. }
        | Step::CloseMapping { .. }
        | Step::Disarm { .. }
        | Step::Wipe { .. }
        | Step::WriteTable { .. }
        | Step::MakeRaid { .. }
        | Step::MakePhysicalVolume { .. }
        | Step::MakeVolumeGroup { .. }
        | Step::ActivateKept
        | Step::GrowFilesystem { .. }
        | Step::MoveContent { .. }
        | Step::WriteFstab
        | Step::WriteIdentity
        | Step::WriteBootConfig
        | Step::WriteConfigdrive { .. }
        | Step::Verify
        | Step::InstallBootcode { .. }
        | Step::WriteStamp { .. } => false,
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

/// What becomes of what is on the disks now.
fn fate(plan: &Plan) -> Vec<String> {
    let disks: Vec<&str> = plan.disks.iter().map(|disk| disk.device.as_str()).collect();
    if !plan.keeps_partitions {
        return vec![format!(
            "lost      everything that is on {} now",
            disks.join(", ")
        )];
    }
    let mut lines = vec![format!(
        "kept      the partition tables of {}",
        disks.join(", ")
    )];
    for node in super::keep::nodes(plan) {
        lines.push(format!("kept      {node}"));
    }
    for filesystem in plan
        .filesystems
        .iter()
        .filter(|filesystem| !filesystem.keep_data || filesystem.image.is_some())
    {
        lines.push(format!(
            "lost      {} ({})",
            filesystem.device,
            words::purpose(filesystem.mount.as_ref())
        ));
    }
    lines
}

fn doubts(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> = plan
        .warnings
        .iter()
        .map(|warning| format!("warning   {warning}"))
        .collect();
    for refusal in &plan.refusals {
        let who = match refusal.by {
            RefusedBy::Plan => "refused",
            RefusedBy::Run => "run will refuse",
        };
        lines.push(format!(
            "{who} (exit {}): {}",
            refusal.kind.exit_status(),
            refusal.what
        ));
        lines.push(format!("  hint: {}", refusal.hint));
    }
    lines
}
