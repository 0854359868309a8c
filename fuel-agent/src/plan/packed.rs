//! Packed images: whether their manifests fit what is planned, and whether they may be written here.

use crate::model::error::Kind;
use crate::model::inventory::Inventory;
use crate::model::node::Firmware;
use crate::model::sources::PackedFacts;
use crate::model::storage::Mount;

use super::Options;
use super::diagnostics::Diagnostics;
use crate::model::plan::{Plan, PlannedImage};

/// Checks the manifests of all images against the plan.
pub(super) fn check(
    plan: &Plan,
    inventory: &Inventory,
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    for image in &plan.images {
        let url = &image.url;
        // an image with a problem is refused for that, and little else is known of it
        let is_usable = image.facts.problem.is_none();
        let rejections = is_usable.then(|| options.images.rejections(url, &image.facts));
        for rejection in rejections.into_iter().flatten() {
            let what = format!("{url} {}", rejection.why);
            diagnostics.refuse_run(rejection.kind, what, rejection.hint);
        }
        if let Some(packed) = &image.facts.packed {
            content(image, packed, diagnostics);
            twins(plan, inventory, image, packed, diagnostics);
            system(plan, inventory, image, packed, diagnostics);
        }
    }
}

/// Whether its content is what the request states.
fn content(image: &PlannedImage, packed: &PackedFacts, diagnostics: &mut Diagnostics) {
    let url = &image.url;
    if packed.whole_disk {
        diagnostics.refuse_run(
            Kind::Image,
            format!("{url} is the image of a whole disk, and is to be written onto a filesystem's device"),
            "use an image of the filesystem",
        );
    }
    if let Some(found) = &packed.filesystem
        && found != image.format.as_str()
        && !image.is_archive()
    {
        diagnostics.refuse_run(
            Kind::Image,
            format!(
                "{url} holds `{found}`, but the request says `{}`",
                image.format
            ),
            format!("set its `format` to `{found}`"),
        );
    }
}

/// Whether a disk that stays as it is holds the same image already: the installed system would find two places by one
/// UUID. A manifest has the UUID, so this is known before anything is written; of other images the stage `verify` finds
/// it out.
fn twins(
    plan: &Plan,
    inventory: &Inventory,
    image: &PlannedImage,
    packed: &PackedFacts,
    diagnostics: &mut Diagnostics,
) {
    let Some(uuid) = &packed.filesystem_uuid else {
        return;
    };
    let is_chosen = |path: &String| plan.disks.iter().any(|disk| disk.device == *path);
    let others = inventory.disks.iter().filter(|disk| !is_chosen(&disk.path));
    let mut partitions = others.flat_map(|disk| &disk.partitions);
    let is_same = |found: &String| found.eq_ignore_ascii_case(uuid);
    if let Some(twin) = partitions.find(|partition| partition.uuid.as_ref().is_some_and(is_same)) {
        let url = &image.url;
        diagnostics.refuse_run(
            Kind::Refused,
            format!(
                "the UUID {uuid} of the filesystem in {url} is that of {} as well: the installed system could take \
                 one for the other",
                twin.path
            ),
            "name that disk in the request too, wipe it, or take it out",
        );
    }
}

/// Whether the system in it can run on this node, on this layout. An empty list states nothing and is not checked.
fn system(
    plan: &Plan,
    inventory: &Inventory,
    image: &PlannedImage,
    packed: &PackedFacts,
    diagnostics: &mut Diagnostics,
) {
    let filesystem = plan.filled_by(image);
    let mount = filesystem.and_then(|filesystem| filesystem.mount.as_ref());
    if mount.map(Mount::as_str) != Some("/") {
        return;
    }
    let url = &image.url;
    let (needed, known) = (&inventory.architecture, &packed.architecture);
    if !known.is_empty() && !needed.is_empty() && known != needed {
        diagnostics.refuse_run(
            Kind::Image,
            format!("{url} runs on {known}, but this node is {needed}"),
            format!("use an image for {needed}"),
        );
    }
    let firmware = match plan.firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
    };
    let lacks = |list: &[String], word: &str| !list.is_empty() && !list.iter().any(|it| it == word);
    if lacks(&packed.firmware, firmware) {
        diagnostics.refuse_run(
            Kind::Image,
            format!(
                "{url} boots from {}, but this node has {firmware}",
                packed.firmware.join(" and ")
            ),
            "use another image, or start the node with the other firmware",
        );
    }
    let has_configdrive = plan.configdrive.is_some();
    for (is_needed, feature, what) in [
        (!plan.logical_volumes.is_empty(), "lvm", "logical volumes"),
        (!plan.raids.is_empty(), "md", "arrays"),
        (has_configdrive, "cloud-init", "cloud-init data"),
    ] {
        if is_needed && lacks(&packed.features, feature) {
            diagnostics.refuse_run(
                Kind::Image,
                format!("the layout has {what}, but the system in {url} lacks `{feature}`"),
                format!("use an image that has `{feature}`, or another layout"),
            );
        }
    }
    if packed.features.is_empty() {
        diagnostics.warn(format!(
            "the manifest of {url} does not say what its system can do"
        ));
    }
}
