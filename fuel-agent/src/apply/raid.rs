//! md arrays.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn make(context: &mut Context<'_>, raid: usize) -> Result<Outcome, Error> {
    let _ = (context, raid);
    Err(Error::new(Kind::Internal, "`raid` is not built yet"))
}
