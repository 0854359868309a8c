//! Streaming an image onto its device.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn write(context: &mut Context<'_>, image: usize) -> Result<Outcome, Error> {
    let _ = (context, image);
    Err(Error::new(Kind::Internal, "`image` is not built yet"))
}
