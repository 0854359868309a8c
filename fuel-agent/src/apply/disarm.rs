//! Taking from a disk everything that could boot.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn disarm(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    let _ = (context, disk);
    Err(Error::new(Kind::Internal, "`disarm` is not built yet"))
}
