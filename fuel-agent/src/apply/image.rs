//! Streaming an image onto its device.

use host::blockdev::Access;

use super::raid::{on_file, skipped};
use super::{Context, Outcome, filesystem, table};
use crate::error::{Error, Kind};
use crate::http::Client;
use crate::stream::{self, Expected, Job};

/// Writes an image and checks it; its filesystem's UUID is known afterwards.
pub(super) fn write(context: &mut Context<'_>, image: usize) -> Result<Outcome, Error> {
    let planned = context.plan.images[image].clone();
    let on = context.plan.filesystems[planned.filesystem].on;
    let is_partition = matches!(on, crate::request::spec::BlockRef::Partition { .. });
    if on_file(context, &[on]) && !is_partition {
        return Ok(skipped("an image onto an array or a volume"));
    }
    let node = context.node(on)?;
    let client = Client::new(&context.options.http, context.host.cancel.clone())?;
    let mut device = context
        .host
        .devices
        .open(&node, Access::Write)
        .map_err(|source| table::failed("open", &node, source))?;
    context.state.touched = true;
    let outcome = stream::write_image(Job {
        url: &planned.url,
        container: planned.container,
        expected: Expected::from(&planned.facts),
        allow_unverified: context.options.allow_unverified,
        target: device.as_mut(),
        device: &node.to_string_lossy(),
        client: &client,
        events: context.events,
    })?;
    drop(device);
    if let Some(slot) = context.state.images.get_mut(image) {
        *slot = Some(outcome);
    }
    let found = filesystem::note_uuid(context, planned.filesystem)?;
    if ["ext2", "ext3", "ext4", "xfs"].contains(&planned.format.as_str())
        && found.kind != planned.format
    {
        let what = format!(
            "the image for {} holds {}, not {}",
            node.display(),
            found.kind,
            planned.format
        );
        return Err(Error::new(Kind::Image, what)
            .hint("name the filesystem that is in the image as its `format`"));
    }
    Ok(Outcome::Changed)
}
