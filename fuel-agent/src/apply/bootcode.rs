//! GRUB for BIOS: boot.img in the MBR, the core image in its partition, written and read back.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn install(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    let _ = (context, disk);
    Err(Error::new(Kind::Internal, "`bootcode` is not built yet"))
}
