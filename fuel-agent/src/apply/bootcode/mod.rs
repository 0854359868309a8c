//! Boot code: what makes a disk bootable, written last, and read back.
//!
//! No `grub-install` runs, and no program of the image: GRUB's pieces come from the ramdisk, the core image is put
//! together by `grub-mkimage`, and what `grub-install` would do with a BIOS disk or an ESP is done here.

pub(crate) mod bios;
mod core;
pub(crate) mod efi_boot_entry;
pub(crate) mod stub;
pub(crate) mod uefi;

use std::io;
use std::path::Path;

use host::Host;
use host::blockdev::{Access, Devices};

use super::context::Context;
use super::outcome::Outcome;
use super::stamp;
use crate::events::Event;
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::node::Firmware;
use crate::model::plan::{Plan, PlannedDisk, PlannedPartition};
use crate::model::stage::Stage;
use crate::model::storage::Role;

pub(super) fn install(context: &mut Context<'_>, disk: DiskIndex) -> Result<Outcome, Error> {
    if let Some(skipped) = without_configuration(context) {
        return Ok(skipped);
    }
    let done = match context.plan.firmware {
        Firmware::Bios => bios::install(context, disk),
        Firmware::Uefi => uefi::install(context, disk),
    };
    if done.is_err() {
        // At once; the error that led here is the one that is reported.
        for error in disarm_again(context.plan, context.host) {
            let stage = Some(Stage::Bootloader);
            let message = error.one_line();
            context.events.emit(&Event::Warning { stage, message });
        }
    }
    done.map(|()| Outcome::Changed)
}

/// Files that stand for disks have no boot configuration, since that needs a mounted filesystem; then boot code would
/// end in GRUB's shell, and a stamp would call ready what is not.
pub(super) fn without_configuration(context: &Context<'_>) -> Option<Outcome> {
    let files = context.on_files();
    (files && context.state.boot_folder.is_none()).then(|| Outcome::Skipped {
        why: "GRUB has no configuration on these disks, so they are left as they are: not bootable"
            .to_owned(),
    })
}

/// Takes boot code and stamp from every disk that the plan gives them to, also those that were done before: a run that
/// failed leaves a node that its orchestrator can reach. (The other disks have been disarmed and never get boot code.)
/// What cannot be taken is reported; the rest is tried all the same.
pub fn disarm_again(plan: &Plan, host: &Host) -> Vec<Error> {
    let disks = plan.disks.iter().filter(|disk| disk.bootloader);
    let failures = disks.filter_map(|disk| {
        let source = take_back(plan.firmware, disk, host.devices.as_ref()).err()?;
        let what = format!(
            "{} may still boot: its boot code could not be taken back",
            disk.device
        );
        Some(
            Error::new(Kind::Disk, what)
                .device(&disk.device)
                .because(source),
        )
    });
    let mut failures: Vec<Error> = failures.collect();
    if plan.firmware == Firmware::Uefi
        && let Err(source) = efi_boot_entry::forget(&host.variables)
    {
        let what = "our entry in the firmware's boot list could not be removed";
        failures.push(Error::new(Kind::Internal, what).because(source));
    }
    failures
}

fn take_back(firmware: Firmware, disk: &PlannedDisk, devices: &dyn Devices) -> io::Result<()> {
    let mut device = devices.open(disk.device.as_ref(), Access::Write)?;
    let device = device.as_mut();
    let taken = match (firmware, esp(disk)) {
        (Firmware::Uefi, Some(esp)) => uefi::take_back(device, esp),
        _ => stub::write(device),
    };
    // Whether or not the node was installed: a stamp marks it as ready, and it is not.
    let cleared = stamp::clear(device).and_then(|_| device.flush());
    taken.and(cleared)
}

/// Whether every disk that the plan gives boot code has some now: what a later run asks before it calls a node
/// installed.
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

/// The identifier that a filesystem made by the agent on the partition gets: known before it is made, so that fstab can
/// name it.
pub(crate) fn volume_id(partition: &PlannedPartition) -> u32 {
    partition.guid.as_fields().0
}

#[cfg(test)]
mod qemu;
#[cfg(test)]
mod tests;
