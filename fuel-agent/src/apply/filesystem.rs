//! Making and growing filesystems.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn make(context: &mut Context<'_>, filesystem: usize) -> Result<Outcome, Error> {
    let _ = (context, filesystem);
    Err(Error::new(Kind::Internal, "`filesystem` is not built yet"))
}

pub(super) fn grow(context: &mut Context<'_>, filesystem: usize) -> Result<Outcome, Error> {
    let _ = (context, filesystem);
    Err(Error::new(Kind::Internal, "`filesystem` is not built yet"))
}
