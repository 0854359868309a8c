//! GRUB on a BIOS disk: the core image in its partition, `boot.img` in the boot sector, each with the place of the
//! next.
//!
//! The numbers are GRUB's interface between its stages; they have not moved since GRUB 1.97, and each is checked
//! against what is there before it is written over.

use std::io;

use host::blockdev::{Access, BlockDevice};
use host::units::{Bytes, Extent};

use super::{core, stub};
use crate::apply::context::Context;
use crate::apply::disk_region::write_and_check;
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::plan::PlannedDisk;
use crate::model::storage::Role;

/// BIOS calls count in sectors of this size, and so does GRUB.
const SECTOR: usize = 512;
/// In `boot.img`: sector of the core image's first sector, as 64 bits.
const KERNEL_SECTOR: usize = 0x5c;
/// In `boot.img`: drive to read from; 0xff is the one that the BIOS started.
const BOOT_DRIVE: usize = 0x64;
/// In `boot.img`: a jump over the next instruction, which takes bogus drive numbers for the first hard disk.
const DRIVE_CHECK: usize = 0x66;
/// In the core image's first sector: the one entry of its list of what follows. Sector, count, segment to load to.
const BLOCK_LIST: usize = SECTOR - 12;
/// Segment that the second sector is loaded to.
const KERNEL_SEGMENT: u16 = 0x820;
/// Where real mode ends for the core image (0x8000 to 0x80000): more cannot be loaded.
const LONGEST: usize = 0x7_8000;

pub(crate) fn install(context: &mut Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    let planned = &context.plan[disk];
    let place = place(planned)?;
    let platform = crate::model::grub::Platform::Pc;
    let path = context.options.grub.join(platform.name()).join("boot.img");
    let boot = std::fs::read(&path).map_err(|source| {
        let what = format!("cannot read {}", path.display());
        Error::new(Kind::Tool, what).because(source)
    })?;
    let core = core::image(context, platform)?;
    let pieces = prepared(&boot, &core, place).map_err(|what| {
        Error::new(Kind::Tool, what)
            .hint("the ramdisk's GRUB is damaged, or of a kind that is not known here")
    })?;
    let failed = |source: io::Error| {
        let what = format!("cannot write boot code to {}", planned.device);
        Error::new(Kind::Disk, what)
            .device(&planned.device)
            .because(source)
    };
    let opened = context
        .host
        .devices
        .open(planned.device.as_ref(), Access::Write);
    let mut device = opened.map_err(failed)?;
    let active = context.plan.gpt_active;
    pieces
        .write(device.as_mut(), place.start, active)
        .map_err(failed)
}

fn place(disk: &PlannedDisk) -> Result<Extent, Error> {
    let partition = disk
        .partitions
        .iter()
        .find(|partition| partition.role == Role::BiosGrub);
    let place = partition.map(|partition| partition.extent);
    place.ok_or_else(|| {
        let what = format!("{} has no partition for GRUB's core image", disk.device);
        Error::new(Kind::Request, what).device(&disk.device)
    })
}

/// Both pieces, ready to be written.
#[derive(Debug)]
pub(crate) struct Code {
    boot: Vec<u8>,
    core: Vec<u8>,
}

/// Writes into `boot.img` where the core image is, and into the core image's first sector where the rest is.
pub(crate) fn prepared(boot: &[u8], core: &[u8], place: Extent) -> Result<Code, String> {
    let (mut boot, mut core) = (boot.to_vec(), core.to_vec());
    if boot.len() != SECTOR || boot.get(DRIVE_CHECK) != Some(&0xeb) || !is_grubs(&boot) {
        return Err("`boot.img` is not GRUB's".to_owned());
    }
    if core.len() <= SECTOR || core.len() > LONGEST {
        return Err(format!(
            "the core image is {} bytes long; between {SECTOR} and {LONGEST} can be started",
            core.len()
        ));
    }
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    if u64::try_from(core.len()).is_ok_and(|length| length > place.length.0) {
        return Err(format!(
            "the core image does not fit into the {} of its partition",
            place.length
        ));
    }
    let first = place.start.0 / 512;
    let follow =
        u16::try_from(core.len() / SECTOR - 1).map_err(|_| "the core image is too long")?;
    put(&mut boot, KERNEL_SECTOR, &first.to_le_bytes());
    put(&mut boot, BOOT_DRIVE, &[0xff]);
    // two NOPs, as for every hard disk: some BIOSes pass 0 or 1 for it
    put(&mut boot, DRIVE_CHECK, &[0x90, 0x90]);
    put(&mut core, BLOCK_LIST, &(first + 1).to_le_bytes());
    put(&mut core, BLOCK_LIST + 8, &follow.to_le_bytes());
    put(&mut core, BLOCK_LIST + 10, &KERNEL_SEGMENT.to_le_bytes());
    boot.truncate(stub::LENGTH);
    Ok(Code { boot, core })
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

impl Code {
    /// The core image first, on the medium and compared, then the boot sector's code, with the protective entry marked
    /// active if that is asked for: the write that arms the disk.
    pub(crate) fn write(
        &self,
        device: &mut dyn BlockDevice,
        place: Bytes,
        active: bool,
    ) -> io::Result<()> {
        write_and_check(device, &self.core, place)?;
        stub::put(device, &self.boot, active)
    }
}

/// Whether these are GRUB's boot sector code: its name stands there for its error messages.
fn is_grubs(sector: &[u8]) -> bool {
    let code = sector.get(..stub::LENGTH).unwrap_or_default();
    code.windows(5).any(|window| window == b"GRUB ")
}

/// Whether the firmware would start GRUB from this disk.
pub(crate) fn is_armed(device: &dyn BlockDevice) -> io::Result<bool> {
    let mut sector = vec![0; SECTOR];
    device.read_at(&mut sector, Bytes::ZERO)?;
    Ok(is_grubs(&sector) && sector.ends_with(&[0x55, 0xaa]))
}
