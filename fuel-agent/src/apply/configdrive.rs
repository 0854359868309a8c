//! The cloud-init data onto its partition.

use super::{Context, Outcome};
use crate::error::{Error, Kind};
use crate::request::spec::BlockRef;

pub(super) fn write(context: &mut Context<'_>, on: BlockRef) -> Result<Outcome, Error> {
    let _ = (context, on);
    Err(Error::new(Kind::Internal, "`configdrive` is not built yet"))
}
