//! Whether boot code can be made on this node, asked before anything is touched. Reads only.

use std::path::Path;

use host::units::Bytes;

use crate::inventory::grub as files;
use crate::model::error::{Error, Kind};
use crate::model::grub::Platform;
use crate::model::node::Firmware;
use crate::model::plan::{Plan, PlannedDisk};

/// Whether boot code can be made at all on this node, asked before anything is touched. That `grub-mkimage` is
/// installed is asked with the other tools of the plan.
pub(crate) fn check(plan: &Plan, grub: &Path) -> Result<(), Error> {
    let mut disks = plan.disks.iter().filter(|disk| disk.bootloader).peekable();
    if disks.peek().is_none() {
        return Ok(());
    }
    files::present(Platform::of(plan.firmware), grub)?;
    match plan.firmware {
        Firmware::Bios => disks.try_for_each(bios_fits),
        Firmware::Uefi => Ok(()),
    }
}

/// Whether BIOS boot code can work on the disk at all.
fn bios_fits(disk: &PlannedDisk) -> Result<(), Error> {
    if disk.sector_size == Bytes(512) {
        return Ok(());
    }
    let what = format!(
        "{} has sectors of {}, which GRUB cannot start from on a BIOS node",
        disk.device, disk.sector_size
    );
    Err(Error::new(Kind::Hardware, what)
        .device(&disk.device)
        .hint("let the node boot by UEFI, or put /boot and the boot code on a disk with sectors of 512 bytes"))
}
