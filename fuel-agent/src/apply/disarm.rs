//! Taking from a disk everything that could boot.

use host::units::Extent;

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn disarm(
    context: &mut Context<'_>,
    disk: usize,
    areas: &[Extent],
) -> Result<Outcome, Error> {
    let _ = (context, disk, areas);
    Err(Error::new(Kind::Internal, "`disarm` is not built yet"))
}
