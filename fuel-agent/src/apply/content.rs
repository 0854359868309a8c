//! Moving what an image has under a mount point into the filesystem that is mounted there.

use super::{Context, Outcome};
use crate::error::{Error, Kind};

pub(super) fn relocate(
    context: &mut Context<'_>,
    from: usize,
    to: usize,
    path: &str,
) -> Result<Outcome, Error> {
    let _ = (context, from, to, path);
    Err(Error::new(Kind::Internal, "`content` is not built yet"))
}
