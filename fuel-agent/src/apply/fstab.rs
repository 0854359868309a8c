//! /etc/fstab of the installed system.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn write(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let _ = context;
    Err(Error::new(Kind::Internal, "`fstab` is not built yet"))
}
