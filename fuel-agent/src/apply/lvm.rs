//! Physical volumes, volume groups, logical volumes.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn make_physical_volume(
    context: &mut Context<'_>,
    physical_volume: usize,
) -> Result<Outcome, Error> {
    let _ = (context, physical_volume);
    Err(Error::new(Kind::Internal, "`lvm` is not built yet"))
}

pub(super) fn make_volume_group(
    context: &mut Context<'_>,
    volume_group: usize,
) -> Result<Outcome, Error> {
    let _ = (context, volume_group);
    Err(Error::new(Kind::Internal, "`lvm` is not built yet"))
}

pub(super) fn make_logical_volume(
    context: &mut Context<'_>,
    logical_volume: usize,
) -> Result<Outcome, Error> {
    let _ = (context, logical_volume);
    Err(Error::new(Kind::Internal, "`lvm` is not built yet"))
}
