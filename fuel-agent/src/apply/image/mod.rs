//! Streaming an image onto its device, or several at the same time; or an archive into its filesystem.

mod archive;
mod together;

use std::collections::BTreeSet;

use host::blockdev::{Access, BlockDevice};
use host::cancel::Cancel;
use host::exec::Cmd;

use super::context::{Context, Options, not_opened};
use super::filesystem::unreachable;
use super::outcome::Outcome;
use crate::events::Events;
use crate::http::Client;
use crate::model::error::Error;
use crate::model::index::{FilesystemIndex, ImageIndex};
use crate::model::plan::{ImageTarget, PlannedImage};
use crate::model::report::ImageOutcome;
use crate::model::stage::Stage;
use crate::stream::packed::Packed;
use crate::stream::{self, Expected, Job, StreamError};
use crate::tools::Tool;
pub(super) use archive::unpack;
pub(super) use together::write_together;

/// Writes one image onto its device.
pub(super) fn write(context: &mut Context<'_>, image: ImageIndex) -> Result<Outcome, Error> {
    let cancel = context.host.cancel.clone();
    let ready = match prepare(context, image, &cancel, 1)? {
        Prepared::Ready(ready) => ready,
        Prepared::Skipped(outcome) => return Ok(outcome),
    };
    let written = ready.write(context.events)?;
    keep(context, image, written);
    arrived(context, image)
}

/// An image that is about to be written, or why it is not.
enum Prepared<'a> {
    Ready(Box<Ready<'a>>),
    Skipped(Outcome),
}

/// An image that is about to be written, with everything that this needs: a thread of its own may do it.
struct Ready<'a> {
    planned: &'a PlannedImage,
    options: &'a Options,
    target: Box<dyn BlockDevice>,
    device: String,
    client: Client,
    at_once: usize,
}

/// Opens what an image goes onto; `stop` stops it, and so many images are written `at_once`.
fn prepare<'a>(
    context: &mut Context<'a>,
    image: ImageIndex,
    stop: &Cancel,
    at_once: usize,
) -> Result<Prepared<'a>, Error> {
    let planned = &context.plan[image];
    if let Some(skipped) = skipped(context, planned) {
        return Ok(Prepared::Skipped(skipped));
    }
    check_trust(context, planned)?;
    let node = match planned.onto {
        ImageTarget::Filesystem(filesystem) => context.node(context.plan[filesystem].on)?,
        ImageTarget::Disk(disk) => context.disk(disk).to_owned(),
    };
    let client = Client::new(&context.options.http, stop.clone())?;
    // Held until the image is on it: nothing mounts it meanwhile, or takes it up.
    let target = context.host.devices.open(&node, Access::Exclusive);
    let target = target.map_err(|error| not_opened(&node, error))?;
    context.state.touched = true;
    Ok(Prepared::Ready(Box::new(Ready {
        planned,
        options: context.options,
        target,
        device: node.display().to_string(),
        client,
        at_once,
    })))
}

/// The outcome where disks are files and the image goes onto something that cannot be made of them.
pub(super) fn skipped(context: &Context<'_>, image: &PlannedImage) -> Option<Outcome> {
    unreachable(context, context.plan.filled_by(image)?.on)
}

/// What was planned may have been planned with facts from a file.
fn check_trust(context: &Context<'_>, planned: &PlannedImage) -> Result<(), Error> {
    context.options.packed.check(&planned.url, &planned.facts)
}

impl Ready<'_> {
    /// Writes it; the device is closed afterwards.
    fn write(mut self, events: &dyn Events) -> Result<ImageOutcome, StreamError> {
        let (planned, options) = (self.planned, self.options);
        stream::write_image(Job {
            url: planned.url.reveal(),
            container: planned.container,
            format: planned.format.as_str(),
            expected: Expected::from(&planned.facts),
            allow_unverified: options.allow_unverified,
            packed: planned.facts.packed.as_ref().map(|facts| Packed {
                facts,
                ranges: planned.facts.ranges,
                rules: &options.packed,
                at_once: self.at_once,
                discards: false,
            }),
            target: self.target.as_mut(),
            device: &self.device,
            client: &self.client,
            events,
        })
    }
}

/// Notes what became of an image.
fn keep(context: &mut Context<'_>, image: ImageIndex, outcome: ImageOutcome) {
    context.state.images.insert(image, outcome);
}

/// Checks the filesystem that an image has brought, where the plan has one.
fn arrived(context: &mut Context<'_>, image: ImageIndex) -> Result<Outcome, Error> {
    let Some(filesystem) = context.plan[image].filesystem() else {
        return Ok(Outcome::Changed);
    };
    let found = context.find_filesystem(filesystem)?;
    if !context.on_files() {
        check_twins(context, filesystem, &found.uuid)?;
    }
    Ok(Outcome::Changed)
}

/// An image brings its UUID along, so any other disk that got the same image has it too: worth a word now; `verify`
/// refuses where the installed system could take the other one for its own.
fn check_twins(
    context: &mut Context<'_>,
    filesystem: FilesystemIndex,
    uuid: &str,
) -> Result<(), Error> {
    let own = context.node(context.plan[filesystem].on)?;
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

/// Nodes other than `own` that hold a filesystem of this UUID. Loop devices do not count: they are gone when the
/// installed system starts.
pub(super) fn twins(
    context: &mut Context<'_>,
    uuid: &str,
    own: &[String],
) -> Result<Vec<String>, Error> {
    // Without a cache: blkid's cache of an earlier probe lacks what was written just now.
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
