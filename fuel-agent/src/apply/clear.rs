//! Clearing what an earlier system left in an array or a volume that was just made.
//!
//! The partitions below were cleared before, but arrays and groups leave the middle of their members as it was, and the
//! beginning of a new one may be where an old filesystem began. It goes by our own writes, so that no tool reads it.

use std::path::Path;

use host::blockdev::Access;
use host::units::{Bytes, Extent};

use super::context::{Context, disk_error};
use crate::model::error::Error;
use crate::model::signature_places;

/// Zeroes every place of `node` that may hold a signature.
pub(super) fn clear(context: &mut Context<'_>, node: &Path) -> Result<(), Error> {
    let mut device = context.open(node, Access::Write, "open for wiping")?;
    let whole = Extent {
        start: Bytes::ZERO,
        length: device.size().align_down(device.sector_size()),
    };
    context.state.touched = true;
    let mut places = signature_places::all(whole).into_iter();
    let cleared = places.try_for_each(|place| device.zero(place));
    let what = format!("cannot wipe old signatures from {}", node.display());
    cleared
        .and_then(|()| device.flush())
        .map_err(disk_error(what, node))
}
