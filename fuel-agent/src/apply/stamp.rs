//! The identity stamp: which request, which images, when.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn write(context: &mut Context<'_>, disk: usize) -> Result<Outcome, Error> {
    let _ = (context, disk);
    Err(Error::new(Kind::Internal, "`stamp` is not built yet"))
}
