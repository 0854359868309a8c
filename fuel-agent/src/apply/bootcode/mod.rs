//! Boot code: what makes a disk bootable, written last, and read back.
//!
//! No `grub-install` runs, and no program of the image: GRUB's pieces come from the ramdisk, the core image is put
//! together by `grub-mkimage`, and what `grub-install` would do with a BIOS disk or an ESP is done here.

pub(crate) mod bios;
mod core;
pub(crate) mod stub;
pub(crate) mod uefi;

pub(crate) use core::Platform;

use std::io;
use std::path::Path;

use host::blockdev::{Access, Devices};
use host::units::Bytes;

use super::{Context, Outcome, medium};
use crate::error::Error;
use crate::events::Event;
use crate::inventory::Firmware;
use crate::plan::{Plan, PlannedDisk, PlannedPartition};
use crate::request::spec::Role;
use crate::stage::Stage;

pub(super) fn install(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    if let Some(skipped) = without_configuration(context) {
        return Ok(skipped);
    }
    let done = match context.plan.firmware {
        Firmware::Bios => bios::install(context, disk),
        Firmware::Uefi => uefi::install(context, disk),
    };
    if done.is_err() {
        take_back(context);
    }
    done.map(|()| Outcome::Changed)
}

/// Files that stand for disks have no boot configuration, since that needs a mounted filesystem; then boot code would end
/// in GRUB's shell, and a stamp would call ready what is not.
pub(super) fn without_configuration(context: &Context<'_>) -> Option<Outcome> {
    let files = (0..context.plan.disks.len()).any(|disk| context.is_file(disk));
    (files && context.state.boot_folder.is_none()).then(|| Outcome::Skipped {
        why: "GRUB has no configuration on these disks, so they are left as they are: not bootable"
            .to_owned(),
    })
}

/// After a failure no disk of the node boots, also those that were done before: a run that failed leaves a node that its
/// orchestrator can reach. The error that led here is the one that is told.
fn take_back(context: &Context<'_>) {
    for disk in context.plan.disks.iter().filter(|disk| disk.bootloader) {
        let opened = context
            .host
            .devices
            .open(disk.device.as_ref(), Access::Write);
        let taken = opened.and_then(|mut device| {
            if let (Firmware::Uefi, Some(esp)) = (context.plan.firmware, esp(disk)) {
                return uefi::take_back(device.as_mut(), esp);
            }
            medium::write_and_check(device.as_mut(), &stub::CODE, Bytes::ZERO)
        });
        if let Err(source) = taken {
            let message = format!(
                "{} may still boot: its boot code could not be taken back: {source}",
                disk.device
            );
            let stage = Some(Stage::Bootloader);
            context.events.tell(&Event::Warning { stage, message });
        }
    }
}

/// Whether boot code can be made at all on this node, asked before anything is touched. That `grub-mkimage` is installed is
/// asked with the other tools of the plan.
pub fn preflight(plan: &Plan, grub: &Path) -> Result<(), Error> {
    let mut disks = plan.disks.iter().filter(|disk| disk.bootloader).peekable();
    if disks.peek().is_none() {
        return Ok(());
    }
    Platform::of(plan.firmware).present(grub)?;
    match plan.firmware {
        Firmware::Bios => disks.try_for_each(bios::fits),
        Firmware::Uefi => Ok(()),
    }
}

/// Whether every disk that the plan gives boot code has some now: what a later run asks before it calls a node installed.
pub fn is_armed(plan: &Plan, devices: &dyn Devices) -> io::Result<bool> {
    for disk in plan.disks.iter().filter(|disk| disk.bootloader) {
        let mut device = devices.open(Path::new(&disk.device), Access::Read)?;
        let armed = match plan.firmware {
            Firmware::Bios => bios::is_armed(device.as_ref())?,
            Firmware::Uefi => match esp(disk) {
                Some(esp) => uefi::is_armed(device.as_mut(), esp.extent)?,
                None => false,
            },
        };
        if !armed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The partition that becomes the EFI system partition of a disk.
pub(crate) fn esp(disk: &PlannedDisk) -> Option<&PlannedPartition> {
    disk.partitions
        .iter()
        .find(|partition| partition.role == Role::Esp)
}

/// The identifier that a filesystem made by us on the partition gets: known before it is made, so that fstab can name it.
pub(crate) fn volume_id(partition: &PlannedPartition) -> u32 {
    partition.guid.as_fields().0
}

#[cfg(test)]
mod qemu;
#[cfg(test)]
mod tests;
