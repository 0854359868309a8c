//! Wiping signatures, writing partition tables, telling the kernel.

use host::units::Extent;

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn wipe(
    context: &mut Context<'_>,
    disk: usize,
    extents: &[Extent],
) -> Result<Outcome, Error> {
    let _ = (context, disk, extents);
    Err(Error::new(Kind::Internal, "`table` is not built yet"))
}

pub(super) fn write(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    let _ = (context, disk);
    Err(Error::new(Kind::Internal, "`table` is not built yet"))
}
