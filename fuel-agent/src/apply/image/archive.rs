//! An archive into the filesystem that was made for it.

use std::path::Path;

use super::{check_trust, keep};
use crate::apply::context::Context;
use crate::apply::outcome::Outcome;
use crate::apply::target::ON_FILES;
use crate::http::Client;
use crate::model::error::{Error, Kind};
use crate::model::index::ImageIndex;
use crate::model::report::ImageOutcome;
use crate::model::storage::BlockRef;
use crate::stream::{self, Expected, Unpacking};

/// Unpacks an archive: its filesystem is mounted for just that.
pub(in crate::apply) fn unpack(
    context: &mut Context<'_>,
    image: ImageIndex,
) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    context.check_cancel()?;
    let planned = &context.plan[image];
    check_trust(context, planned)?;
    let Some(filesystem) = planned.filesystem() else {
        // the plan's own check refuses it
        let what = "an archive was to be unpacked onto a disk";
        return Err(Error::new(Kind::Internal, what));
    };
    let root = context.mount_alone(filesystem, "archive", "unpack an archive")?;
    let unpacked = fill(context, image, context.plan[filesystem].on, &root);
    // The first error is the one that is reported.
    let unmounted = context.unmount_alone(&root);
    let outcome = unpacked?;
    unmounted?;
    keep(context, image, outcome);
    Ok(Outcome::Changed)
}

fn fill(
    context: &mut Context<'_>,
    image: ImageIndex,
    on: BlockRef,
    root: &Path,
) -> Result<ImageOutcome, Error> {
    let (planned, options) = (&context.plan[image], context.options);
    let node = context.node(on)?;
    let client = Client::new(&options.http, context.host.cancel.clone())?;
    context.state.touched = true;
    Ok(stream::unpack_archive(Unpacking {
        url: planned.url.reveal(),
        container: planned.container,
        expected: Expected::from(&planned.facts),
        allow_unverified: options.allow_unverified,
        root,
        device: &node.display().to_string(),
        volume: context.plan.size_of(on).unwrap_or_default(),
        client: &client,
        events: context.events,
    })?)
}
