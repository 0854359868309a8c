//! Letting go of what lies on the chosen disks.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn stop_raid(
    context: &mut Context<'_>,
    device: &str,
    members: &[String],
) -> Result<Outcome, Error> {
    let _ = (context, device, members);
    Err(Error::new(Kind::Internal, "`release` is not built yet"))
}

pub(super) fn deactivate_volume_group(
    context: &mut Context<'_>,
    name: &str,
) -> Result<Outcome, Error> {
    let _ = (context, name);
    Err(Error::new(Kind::Internal, "`release` is not built yet"))
}

pub(super) fn close_mapping(context: &mut Context<'_>, name: &str) -> Result<Outcome, Error> {
    let _ = (context, name);
    Err(Error::new(Kind::Internal, "`release` is not built yet"))
}

pub(super) fn activate_kept(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let _ = context;
    Err(Error::new(Kind::Internal, "`release` is not built yet"))
}
