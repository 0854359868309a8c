//! The plan for one image onto one device or file, and onto nothing else: what `provision write` does.
//!
//! ```text
//!   target   whether the device may be written to
//!   fit      whether the image fits it
//! ```

mod fit;
mod target;

use host::units::{Bytes, Extent};
use uuid::Uuid;

use super::diagnostics::Diagnostics;
use super::{Options, extents, steps, wipe};
use crate::model::first_boot::FirstBoot;
use crate::model::index::{DiskIndex, ImageIndex};
use crate::model::inventory::{Disk, Inventory};
use crate::model::node::Firmware;
use crate::model::operating_system::OperatingSystem;
use crate::model::plan::{ImageTarget, Plan, PlannedDisk, PlannedImage};
use crate::model::request::{BootSpec, Dialect};
use crate::model::step::{ImageStep, Make, Step};
use crate::model::storage::Table;

/// The one disk of such a plan: the target.
const DISK: DiskIndex = DiskIndex(0);

/// What an image is written onto, as it was found.
#[derive(Clone, Debug)]
pub struct Target {
    /// Kind of the device or file.
    pub kind: TargetKind,
    /// What is known of it, as of a disk: its node or file, size and sectors, and of a whole device its partitions.
    pub disk: Disk,
    /// What the node has beside it; nothing where the target is a file.
    pub node: Inventory,
}

/// Kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A regular file: it has no sectors, and no machine starts from it.
    File,
    /// A partition of a disk.
    Partition,
    /// A whole block device.
    Device,
}

impl Target {
    /// The part of an inventory that is compared again before the first write: the target, and what is stacked on it.
    pub fn inventory(&self) -> Inventory {
        Inventory {
            disks: vec![self.disk.clone()],
            stacks: self.node.stacks.clone(),
            ..Inventory::default()
        }
    }

    fn sector_size(&self) -> Bytes {
        Bytes(self.disk.logical_sector_size.max(512).into())
    }
}

/// Makes the plan: a pure function. The image goes onto the target's first byte, whatever `image` has; a plan that is
/// refused is a plan all the same, with its refusals in it: first those of the target, then those of the image.
pub fn plan(image: PlannedImage, target: &Target, options: &Options) -> Plan {
    let mut diagnostics = Diagnostics::default();
    target::check(target, options, &mut diagnostics);
    fit::check(&image, target, &mut diagnostics);
    let mut plan = Plan {
        disks: vec![disk(target)],
        images: vec![PlannedImage {
            onto: ImageTarget::Disk(DISK),
            ..image
        }],
        warnings: diagnostics.warnings,
        refusals: diagnostics.refusals,
        ..empty()
    };
    plan.steps = steps::numbered(&plan, made(&plan, target));
    plan
}

/// The target as the one disk of the plan. The plan makes no table on it.
fn disk(target: &Target) -> PlannedDisk {
    let Disk {
        path,
        size_bytes,
        serial,
        wwn,
        model,
        ..
    } = &target.disk;
    PlannedDisk {
        device: path.clone(),
        disk_id: if serial.is_empty() { wwn } else { serial }.clone(),
        model: model.clone(),
        size: *size_bytes,
        sector_size: target.sector_size(),
        table: Table::Gpt,
        guid: Uuid::nil(),
        bootloader: false,
        partitions: Vec::new(),
        others: Vec::new(),
    }
}

/// A plan without a layout, and without a system that is configured.
fn empty() -> Plan {
    Plan {
        dialect: Dialect::Ironic,
        request_digest: String::new(),
        generation: None,
        instance_id: Uuid::nil(),
        // The target may be any disk, for any machine: this node's boot list is left alone.
        firmware: Firmware::Bios,
        disks: Vec::new(),
        raids: Vec::new(),
        physical_volumes: Vec::new(),
        volume_groups: Vec::new(),
        logical_volumes: Vec::new(),
        filesystems: Vec::new(),
        images: Vec::new(),
        configdrive: None,
        phone_home: None,
        first_boot: FirstBoot::default(),
        kexec: false,
        gpt_active: false,
        undefined: Vec::new(),
        boot: BootSpec {
            kernel_params: String::new(),
            grub_version: 2,
            system: OperatingSystem::new("", "", ""),
            profile: String::new(),
        },
        node: None,
        keeps_partitions: false,
        warnings: Vec::new(),
        refusals: Vec::new(),
        steps: Vec::new(),
    }
}

/// A device is disarmed, and loses old signatures that the image does not cover; of a file nothing but what the image
/// covers is touched. The image flushes, verifies and arms: its first MiB comes last.
fn made(plan: &Plan, target: &Target) -> Vec<Step> {
    let write = Step::Image(ImageStep::Write {
        image: ImageIndex(0),
        with_previous: false,
    });
    let wipe = old_signatures(plan, target).map(|extents| Make::Wipe {
        disk: DISK,
        extents,
    });
    let wipe = wipe.map(Step::Make);
    match target.kind {
        TargetKind::File => vec![write],
        TargetKind::Partition => wipe.into_iter().chain([write]).collect(),
        TargetKind::Device => {
            let disarm = Step::Disarm {
                disk: DISK,
                areas: boot_areas(plan, target),
            };
            let read = Step::Image(ImageStep::ReadTable(DISK));
            let steps = [disarm].into_iter().chain(wipe);
            steps.chain([write, read]).collect()
        }
    }
}

/// Old core images and EFI system partitions, then both copies of a GPT: firmware would start the old system by the
/// second one while the first is being written.
fn boot_areas(plan: &Plan, target: &Target) -> Vec<Extent> {
    let disk = &plan[DISK];
    let mut areas = wipe::boot_areas(plan, DISK, &target.inventory());
    let tables = extents::table(Table::Gpt, disk.size, disk.sector_size);
    let tables = extents::difference(wipe::spared(plan, DISK, tables), &areas);
    areas.extend(tables);
    areas
}

/// What the image does not cover and the installed system would take for a member of something.
fn old_signatures(plan: &Plan, target: &Target) -> Option<Vec<Extent>> {
    let sector = target.sector_size();
    let old: Vec<Extent> = target.disk.partitions.iter().map(wipe::place).collect();
    let image = plan.images[0].facts.raw_size_bytes;
    let image = image.and_then(|image| image.align_up(sector));
    let extents = wipe::around_image(target.disk.size_bytes.align_down(sector), &old, image);
    (!extents.is_empty()).then_some(extents)
}

#[cfg(test)]
mod tests;
