//! Images: where each goes, what is known of it, and whether it may be written at all.

use host::units::Bytes;

use crate::model::error::Kind;
use crate::model::index::{ImageIndex, IndexedBy};
use crate::model::request::{ImageSpec, STATED_BY_REQUEST};
use crate::model::sources::{ImageContent, Sources};
use crate::model::storage::Mount;

use super::diagnostics::Diagnostics;
use super::text::format;
use super::{Options, PlanError, extents};
use crate::model::mismatch::check_identified;
use crate::model::plan::{ImageTarget, Plan, PlannedFilesystem, PlannedImage};

/// Plans images in the order of the request.
pub(super) fn images(
    specs: &[ImageSpec],
    sources: &Sources,
    options: &Options,
    plan: &mut Plan,
    diagnostics: &mut Diagnostics,
) {
    for spec in specs {
        let index: ImageIndex = plan.next_index();
        let known = sources.images.get(&spec.url);
        let mut all_facts = known.cloned().unwrap_or_default();
        if let Err(contradiction) = all_facts.require(&spec.digests, STATED_BY_REQUEST) {
            diagnostics.refuse_run(
                Kind::Image,
                format!("{} has two digests: {contradiction}", spec.url),
                "correct the digest in the request, or publish image and metadata of one build together",
            );
        }
        let image = PlannedImage {
            url: spec.url.clone(),
            onto: ImageTarget::Filesystem(spec.filesystem),
            format: spec.format.clone(),
            container: spec.container,
            facts: all_facts,
        };
        let filesystem = &mut plan[spec.filesystem];
        if filesystem.image.is_some() {
            diagnostics.error(PlanError::UsedTwice {
                device: filesystem.device.clone(),
                first: "target of an image".to_owned(),
                second: format!("target of {}", spec.url),
            });
        }
        filesystem.image = Some(index);
        plan.images.push(image);
        if known.is_some() {
            facts(&plan[index], options, diagnostics);
        } else {
            diagnostics.warn(format!("{} was not checked (`--offline`)", spec.url));
        }
    }
    for image in &plan.images {
        target(image, plan, diagnostics);
    }
}

fn facts(image: &PlannedImage, options: &Options, diagnostics: &mut Diagnostics) {
    let url = &image.url;
    let facts = &image.facts;
    if let Some(problem) = &facts.problem {
        // what was found out about the file itself begins with its URL, other causes do not
        let what = if problem.starts_with(&format!("{url} ")) {
            problem.clone()
        } else {
            format!("{url} cannot be used: {problem}")
        };
        diagnostics.refuse_run(Kind::Image, what, facts.problem_hint());
    } else {
        for doubt in facts.doubts(url) {
            diagnostics.warn(format!("{url} {doubt}"));
        }
        // `trust=strict` refuses it too, whatever `allow_unverified` says
        if !facts.has_digest() && !options.allow_unverified && !options.images.strict {
            diagnostics.refuse_run(
                Kind::Image,
                format!("{url} comes without a digest, so its transfer cannot be verified"),
                "give its `sha256` in the request, publish its YAML with `raw_sha256`, or allow it with \
                 `--allow-unverified`",
            );
        }
    }
    if let Some(content) = &facts.content
        && let Err(why) = check_identified(content, image.format.as_str())
    {
        diagnostics.refuse_run(Kind::Image, format!("{url} {why}"), why.hint());
    }
    if let Some((size, says)) = facts.cut_off() {
        diagnostics.refuse_run(
            Kind::Image,
            format!("{url} has {size}, but its filesystem says that it has {says}: it is cut off"),
            "make the image again, with all of its filesystem in it",
        );
    }
    if let Some(found) = facts.container.filter(|found| *found != image.container) {
        diagnostics.refuse_run(
            Kind::Image,
            format!(
                "{url} is {}, but the request says {}",
                format::container(found),
                format::container(image.container)
            ),
            format!("set its `container` to `{}`", format::container(found)),
        );
    }
}

fn target(image: &PlannedImage, plan: &Plan, diagnostics: &mut Diagnostics) {
    let Some(filesystem) = plan.filled_by(image) else {
        return;
    };
    let url = &image.url;
    if matches!(filesystem.mount, Some(Mount::Swap)) {
        diagnostics.refuse_run(
            Kind::Request,
            format!("{url} is meant for swap space"),
            "name a mount point that holds files",
        );
    }
    let room = plan.size_of(filesystem.on);
    if image.is_archive() {
        return archive(image, filesystem, room, diagnostics);
    }
    if image.format.filesystem() != Some(&filesystem.kind) && filesystem.mount.is_some() {
        diagnostics.warn(format!(
            "{} is `{}` in the layout, but its image holds `{}`: that is what it will be",
            filesystem.device, filesystem.kind, image.format
        ));
    }
    sectors(image, filesystem, plan, diagnostics);
    if let (Some(size), Some(room)) = (image.facts.least_size(), room)
        && size > room
    {
        let missing = size.saturating_sub(room);
        diagnostics.does_not_fit(
            Kind::Image,
            format!(
                "{url} unpacks to {size}, but {} has {room}",
                filesystem.device
            ),
            format!(
                "enlarge {} by {missing}, or use a smaller image",
                filesystem.device
            ),
        );
    }
}

/// Whether the filesystem in an image can be mounted from disks with such sectors.
fn sectors(
    image: &PlannedImage,
    filesystem: &PlannedFilesystem,
    plan: &Plan,
    diagnostics: &mut Diagnostics,
) {
    let beneath = extents::backing_extents(plan, filesystem.on).into_iter();
    let disks = beneath.map(|(disk, _)| &plan[disk]);
    let largest = disks.max_by_key(|disk| disk.sector_size);
    if let Some(ImageContent::Filesystem {
        filesystem: kind,
        sector_size_max_bytes: most,
        ..
    }) = &image.facts.content
        && image
            .format
            .filesystem()
            .is_some_and(|format| format.takes(kind))
        && let Some(disk) = largest
        && disk.sector_size > *most
    {
        diagnostics.refuse_run(
            Kind::Image,
            format!(
                "{} holds `{kind}` for sectors of {most} at most, and those of {} have {}",
                image.url, disk.device, disk.sector_size
            ),
            "use an image that was made for such disks",
        );
    }
}

/// How much room the files of an archive need cannot be computed from its length: every name in it takes 512 bytes or
/// more, and a small file takes a whole block of its filesystem. One that is longer than its volume will hardly fit,
/// and may.
fn archive(
    image: &PlannedImage,
    filesystem: &PlannedFilesystem,
    room: Option<Bytes>,
    diagnostics: &mut Diagnostics,
) {
    let url = &image.url;
    if image.facts.packed.is_some() {
        diagnostics.refuse_run(
            Kind::Image,
            format!("{url} is a packed image, but the request says that it is a tar archive"),
            "set its `format` to the filesystem in it",
        );
    }
    if let (Some(size), Some(room)) = (image.facts.raw_size_bytes, room)
        && size > room
    {
        diagnostics.warn(format!(
            "{url} is an archive of {size}, and {} has {room}: its files may not fit",
            filesystem.device
        ));
    }
}
