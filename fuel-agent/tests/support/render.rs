//! A request as a person would check it: one line a thing.

use fuel_agent::model::request::Request;
use fuel_agent::model::storage::{BlockRef, Mount, PartitionSpec, Storage};

use super::scheme;

/// Everything but the refusals.
pub fn request(request: &Request) -> String {
    let storage = &request.storage;
    let mut lines = vec![format!("dialect {:?}", request.dialect)];
    disks(storage, &mut lines);
    stacks(storage, &mut lines);
    filesystems(request, &mut lines);
    let configdrive = request.configdrive.map(|on| scheme::device(storage, on));
    lines.push(format!(
        "configdrive {}",
        configdrive.as_deref().unwrap_or("none")
    ));
    let boot = &request.boot;
    let system = (&boot.system.name, &boot.system.major, &boot.system.minor);
    lines.push(format!(
        "boot grub {} {:?} `{}`",
        boot.grub_version, system, boot.kernel_params
    ));
    lines.push(format!("keeps anything: {}", storage.keeps_anything()));
    lines.extend(request.node.iter().map(|node| format!("node {node:#?}")));
    lines.extend(
        request
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}")),
    );
    lines.join("\n") + "\n"
}

fn keep(keep: bool) -> &'static str {
    if keep { " keep" } else { "" }
}

fn nodes(storage: &Storage, blocks: &[BlockRef]) -> String {
    let nodes: Vec<String> = blocks
        .iter()
        .map(|on| scheme::device(storage, *on))
        .collect();
    nodes.join(" ")
}

fn disks(storage: &Storage, lines: &mut Vec<String>) {
    for (index, disk) in storage.disks() {
        let boot = if disk.bootloader { ", boot code" } else { "" };
        lines.push(format!(
            "disk {} {:?}{boot}",
            scheme::disk(storage, index),
            disk.table
        ));
        lines.extend(disk.partitions.iter().map(partition));
    }
}

fn partition(p: &PartitionSpec) -> String {
    let (start, end) = (p.start.0 >> 20, (p.start.0 + p.size.0) >> 20);
    let guid = p
        .partition_type
        .as_ref()
        .map_or(String::new(), |given| format!(" type {}", given.text()));
    let flags = p.flags.join(",");
    let flags = if flags.is_empty() {
        flags
    } else {
        format!(" flags {flags}")
    };
    format!(
        "  {} {start}..{end} {:?}{guid}{flags}{}",
        p.number,
        p.role,
        keep(p.keep_data)
    )
}

fn stacks(storage: &Storage, lines: &mut Vec<String>) {
    for raid in &storage.raids {
        let (members, spares) = (nodes(storage, &raid.members), nodes(storage, &raid.spares));
        let spares = if spares.is_empty() {
            spares
        } else {
            format!(" spares {spares}")
        };
        lines.push(format!(
            "raid {} {} {} of {members}{spares}",
            raid.device, raid.level, raid.metadata
        ));
    }
    for pv in &storage.physical_volumes {
        let node = scheme::device(storage, pv.on);
        lines.push(format!(
            "pv {node} {} x {}",
            pv.metadata_copies, pv.metadata_size
        ));
    }
    for vg in &storage.volume_groups {
        let pvs = vg.physical_volumes.iter().map(|&pv| storage[pv].on);
        let pvs = nodes(storage, &pvs.collect::<Vec<_>>());
        lines.push(format!("vg {} on {pvs}{}", vg.name, keep(vg.keep_data)));
    }
    for lv in &storage.logical_volumes {
        lines.push(format!(
            "lv {} {}{}",
            lv.device(),
            lv.size,
            keep(lv.keep_data)
        ));
    }
}

fn filesystems(request: &Request, lines: &mut Vec<String>) {
    let storage = &request.storage;
    for fs in &storage.filesystems {
        let node = scheme::device(storage, fs.on);
        let mount = fs.mount.as_ref().map_or("nowhere", Mount::as_str);
        let more = format!("`{}` `{}`{}", fs.label, fs.options, keep(fs.keep_data));
        lines.push(format!("fs {node} {} on {mount} {more}", fs.kind));
    }
    for image in &request.images {
        let node = scheme::device(storage, storage[image.filesystem].on);
        lines.push(format!(
            "image {} {:?} {} -> {node}",
            image.url.reveal(),
            image.container,
            image.format
        ));
    }
}
