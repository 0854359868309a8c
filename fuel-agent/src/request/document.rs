//! What the three dialects of Fuel have in common: profile, kernel parameters, images, the node; each with a layout of
//! its own.

use super::reader::{Diagnostics, JsonCursor};
use super::{Context, images, kernel_line, lints, nailgun, node, simple, system};
use crate::model::request::READY_CONFIGDRIVE;
use crate::model::request::{BootSpec, Dialect, Request};

/// Reads the document as one of the three dialects; a ready-made configdrive matters to ironic alone.
pub(super) fn read(
    document: &JsonCursor<'_>,
    dialect: Dialect,
    context: Context,
    diagnostics: &mut Diagnostics,
) -> Option<Request> {
    let profile = document.required_text("profile", "the profile's name", diagnostics);
    let ks_meta = document
        .require(
            "ks_meta",
            "an object with `pm_data`, `image_data` and the node's settings",
            diagnostics,
        )
        .filter(|at| at.object(diagnostics));
    let pm_data = ks_meta.as_ref().and_then(|at| {
        at.require(
            "pm_data",
            "an object with `ks_spaces` and `kernel_params`",
            diagnostics,
        )
        .filter(|at| at.object(diagnostics))
    });
    let kernel_params = pm_data
        .as_ref()
        .and_then(|at| kernel_line::read(at, diagnostics));
    let system = system::guess(profile.unwrap_or_default());

    let before = diagnostics.len();
    let configdrive = dialect == Dialect::Nailgun || context.ready_configdrive.is_some();
    if dialect == Dialect::Ironic {
        check_ready(context, diagnostics);
    }
    let layout = if dialect == Dialect::NailgunSimple {
        simple::lay_out(document, diagnostics)
    } else {
        pm_data
            .as_ref()
            .and_then(|at| nailgun::lay_out(at, &system, configdrive, diagnostics))
    };
    // Where the layout has problems, an image without its filesystem would only repeat them.
    let good = layout.as_ref().filter(|_| diagnostics.len() == before);
    let images = ks_meta
        .as_ref()
        .map(|at| images::read(at, dialect, good, diagnostics));

    let node = match dialect {
        Dialect::Ironic => None,
        _ => node::read(document, ks_meta.as_ref(), diagnostics),
    };
    let (layout, images) = (layout?, images?);
    lints::look(&layout, &images, diagnostics);
    Some(Request {
        dialect,
        digest: String::new(),
        generation: None,
        name: None,
        images,
        boot: BootSpec {
            kernel_params: kernel_params?,
            grub_version: system::grub_version(&system),
            system,
            profile: profile?.to_owned(),
        },
        node,
        configdrive: layout.configdrive,
        storage: layout.storage,
        warnings: Vec::new(),
        refusals: Vec::new(),
    })
}

/// What is made elsewhere has to be a filesystem for cloud-init, and to fit the partition that it gets.
fn check_ready(context: Context, diagnostics: &mut Diagnostics) {
    let room = nailgun::CONFIGDRIVE;
    if let Some(fault) = context.ready_fault {
        let what = format!("the ready-made configdrive {READY_CONFIGDRIVE} {fault}");
        let hint = "upload FAT or ISO 9660 labelled `config-2`, as it is or as base64 of gzip, or remove it";
        diagnostics.add("$", what, hint);
    } else if let Some(size) = context.ready_configdrive.filter(|size| *size > room) {
        diagnostics.add(
            "$",
            format!("the ready-made configdrive has {size}, and its partition {room}"),
            format!("make {READY_CONFIGDRIVE} smaller, or remove it"),
        );
    }
}
