//! grub.cfg, GRUB's modules, and the kernel parameters that a later update-grub reads.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn write(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let _ = context;
    Err(Error::new(Kind::Internal, "`bootconfig` is not built yet"))
}
