//! Streaming an image onto its device.

use std::collections::BTreeSet;

use host::blockdev::Access;
use host::exec::{Cmd, Tool};

use super::filesystem::unreachable;
use super::{Context, Outcome};
use crate::error::{Error, Kind};
use crate::http::{Client, address};
use crate::stage::Stage;
use crate::stream::packed::Packed;
use crate::stream::{self, Expected, Job};

pub(super) fn write(context: &mut Context<'_>, image: usize) -> Result<Outcome, Error> {
    let planned = &context.plan.images[image];
    let on = context.plan.filesystems[planned.filesystem].on;
    if let Some(skipped) = unreachable(context, on) {
        return Ok(skipped);
    }
    // What was planned may have been planned with facts from a file.
    if let Some((why, hint)) = context.options.packed.distrusts(&planned.facts) {
        let what = format!("{} {why}", address::shown(&planned.url));
        return Err(Error::new(Kind::Image, what).hint(hint));
    }
    let expected = Expected::from(&planned.facts);
    let node = context.node(on)?;
    let client = Client::new(&context.options.http, context.host.cancel.clone())?;
    let mut target = context.open(&node, Access::Write, "open for writing an image")?;
    context.state.touched = true;
    let outcome = stream::write_image(Job {
        url: &planned.url,
        container: planned.container,
        expected,
        allow_unverified: context.options.allow_unverified,
        packed: planned.facts.packed.as_ref().map(|facts| Packed {
            facts,
            ranges: planned.facts.ranges,
            rules: &context.options.packed,
        }),
        target: target.as_mut(),
        device: &node.display().to_string(),
        client: &client,
        events: context.events,
    })?;
    drop(target);
    let images = &mut context.state.images;
    images.resize(context.plan.images.len().max(images.len()), None);
    if let Some(place) = images.get_mut(image) {
        *place = Some(outcome);
    }
    let found = context.find_filesystem(planned.filesystem)?;
    if !context.on_files() {
        check_twins(context, planned.filesystem, &found.uuid)?;
    }
    Ok(Outcome::Changed)
}

/// An image brings its UUID along, so any other disk that got the same image has it too: worth a word now; `verify` refuses
/// where the installed system could take the other one for its own.
fn check_twins(context: &mut Context<'_>, filesystem: usize, uuid: &str) -> Result<(), Error> {
    let own = context.node(context.plan.filesystems[filesystem].on)?;
    let twins = twins(context, uuid, &[own.display().to_string()])?;
    if !twins.is_empty() {
        let message = format!(
            "the filesystem UUID {uuid} of the image for {} is on {} as well",
            own.display(),
            twins.join(", ")
        );
        context.warn(Stage::Image, message);
    }
    Ok(())
}

/// Nodes other than `own` that hold a filesystem of this UUID. Loop devices do not count: they are gone when the installed
/// system starts.
pub(super) fn twins(
    context: &mut Context<'_>,
    uuid: &str,
    own: &[String],
) -> Result<Vec<String>, Error> {
    // Without a cache: that of an earlier look does not know what was written just now.
    let cmd = Cmd::new(Tool::Blkid)
        .args(["--cache-file", "/dev/null", "--output", "device"])
        .args(["--match-token", &format!("UUID={uuid}")])
        .accept(&[0, 2]);
    let what = || format!("cannot look for other filesystems of UUID {uuid}");
    let found = context.run(&cmd, what)?.stdout;
    let own: BTreeSet<&str> = own.iter().map(String::as_str).collect();
    Ok(found
        .split_whitespace()
        .filter(|node| !own.contains(node) && !node.starts_with("/dev/loop"))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests;
