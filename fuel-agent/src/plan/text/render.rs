//! The plan as text: what each disk will hold, what is done in which order, what is lost and what stays.

use std::fmt;

use host::units::Bytes;

use crate::model::index::DiskIndex;
use crate::model::node::Firmware;
use crate::model::request::Dialect;
use crate::model::storage::{BlockRef, Mount, Table};

use super::width::Width;
use super::{format, listing, map};
use crate::model::plan::{Plan, PlannedDisk, PlannedFilesystem, RefusedBy};

impl fmt::Display for Plan {
    /// The whole plan, as wide as it comes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Width::default()))
    }
}

impl Plan {
    /// The whole plan, as `provision plan` prints it, with a line end behind each line.
    pub fn text(&self, page: Width) -> String {
        let disks = self.disks().map(|(index, _)| disk(self, index, page));
        let mut sections: Vec<Vec<String>> = vec![vec![headline(self)]];
        sections.extend(disks);
        sections.extend([
            volumes(self, page),
            listing::steps(self, page),
            first_boot(self),
            fate(self),
            lints(self),
        ]);
        let mut text = String::new();
        for section in sections.iter().filter(|section| !section.is_empty()) {
            if !text.is_empty() {
                text.push('\n');
            }
            for line in section.iter().flat_map(|line| page.wrapped(line)) {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
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
    let generation = plan
        .generation
        .as_ref()
        .map_or(String::new(), |generation| {
            format!(", generation {generation}")
        });
    let name = plan
        .node
        .as_ref()
        .map_or(String::new(), |node| format!(" for {}", node.hostname));
    format!(
        "plan{name}: {dialect} request {digest}{generation}, {firmware}, {} steps",
        plan.steps.len()
    )
}

/// What the installed system will change of itself.
fn first_boot(plan: &Plan) -> Vec<String> {
    let lines = plan.first_boot.lines().into_iter().enumerate();
    lines
        .map(|(index, line)| {
            let head = if index == 0 { "first boot" } else { "" };
            format!("{head:<10}  {line}")
        })
        .collect()
}

fn disk(plan: &Plan, index: DiskIndex, page: Width) -> Vec<String> {
    let disk = &plan[index];
    let mut lines = vec![disk_head(disk)];
    lines.extend(map::lines(plan, index, page.map()));
    let planned = disk.partitions.iter().map(|it| it.device.len());
    let first = page.first_column(planned.max().unwrap_or_default());
    for partition in &disk.partitions {
        let on = BlockRef::Partition {
            disk: index,
            number: partition.number,
        };
        let role = format::role(partition.role);
        let row = Row {
            device: &partition.device,
            size: partition.extent.length,
            start: Some(partition.extent.start),
            role,
            state: state(plan, on),
        };
        lines.push(row.line(first, page));
    }
    for (number, extent) in &disk.others {
        let device = format::partition_node(&disk.device, *number);
        let row = Row {
            device: &device,
            size: extent.length,
            start: Some(extent.start),
            role: "",
            state: "KEPT: not in the request".to_owned(),
        };
        lines.push(row.line(first, page));
    }
    lines
}

/// A line of the tables: everything in the same columns, whatever it is made on.
struct Row<'a> {
    device: &'a str,
    size: Bytes,
    start: Option<Bytes>,
    role: &'a str,
    state: String,
}

impl Row<'_> {
    /// The line, with `first` columns for the device. Columns that nothing of its kind fills are left out where room is
    /// short.
    fn line(&self, first: usize, page: Width) -> String {
        let (device, role, state) = (self.device, self.role, &self.state);
        let size = self.size.to_string();
        if page.is_narrow() && self.start.is_none() && role.is_empty() {
            let line = format!("  {device:<first$} {size:>10} {state}");
            return line.trim_end().to_owned();
        }
        let start = self.start.map(|start| format!("at {start}"));
        let at = start.unwrap_or_default();
        format!("  {device:<first$} {size:>10} {at:<15} {role:<11} {state}")
            .trim_end()
            .to_owned()
    }
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
    let mut facts = vec![format::short(disk.size)];
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
        let mut volumes = group.physical_volumes.iter();
        volumes.any(|volume| plan[*volume].on == on)
    });
    group.map_or_else(String::new, |group| format!("group `{}`", group.name))
}

fn content(plan: &Plan, filesystem: &PlannedFilesystem) -> String {
    let mount = match &filesystem.mount {
        Some(Mount::Path(path)) => format!(" on {path}"),
        Some(Mount::Swap) => String::new(),
        None => ", not mounted".to_owned(),
    };
    let image = filesystem.image.map_or(String::new(), |image| {
        format!(", from {}", plan[image].url.file_name())
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
        BlockRef::Raid(raid) => plan[raid].keep_data,
        BlockRef::Logical(volume) => plan[volume].spec.keep_data,
        BlockRef::Undefined(_) => false,
    };
    filesystem || flagged
}

/// Arrays and volume groups with what is in them.
fn volumes(plan: &Plan, page: Width) -> Vec<String> {
    let mut lines = Vec::new();
    let arrays = plan.raids.iter().map(|it| it.device.len());
    let volumes = plan.logical_volumes.iter().map(|it| it.device.len());
    let first = page.first_column(arrays.chain(volumes).max().unwrap_or_default());
    if !plan.raids.is_empty() {
        lines.push("arrays".to_owned());
    }
    for (index, raid) in plan.raids() {
        let on = BlockRef::Raid(index);
        let members: Vec<String> = raid
            .members
            .iter()
            .map(|member| plan.node_of(*member))
            .collect();
        let row = Row {
            device: &raid.device,
            size: plan.size_of(on).unwrap_or_default(),
            start: None,
            role: raid.level.as_str(),
            state: format!("of {}; {}", members.join(", "), state(plan, on)),
        };
        lines.push(row.line(first, page));
    }
    for group in &plan.volume_groups {
        let on: Vec<String> = group
            .physical_volumes
            .iter()
            .map(|volume| plan.node_of(plan[*volume].on))
            .collect();
        let kept = if group.keep_data { "KEPT: " } else { "" };
        lines.push(format!("{kept}group `{}` on {}", group.name, on.join(", ")));
        for (index, volume) in plan.logical_volumes() {
            if volume.spec.volume_group == group.name {
                let row = Row {
                    device: &volume.device,
                    size: volume.spec.size,
                    start: None,
                    role: "",
                    state: state(plan, BlockRef::Logical(index)),
                };
                lines.push(row.line(first, page));
            }
        }
    }
    lines
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
    for node in super::super::keep::nodes(plan) {
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
            format::purpose(filesystem.mount.as_ref())
        ));
    }
    lines
}

fn lints(plan: &Plan) -> Vec<String> {
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
