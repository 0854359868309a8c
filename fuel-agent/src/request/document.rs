//! What the three dialects of Fuel have in common: profile, kernel parameters, images, the node; each with a layout of its own.

use host::units::Bytes;

use super::reader::{Diagnostics, JsonCursor};
use super::{READY_CONFIGDRIVE, images, lints, nailgun, names, node, simple, system};
use crate::model::request::{BootSpec, Dialect, Request};

/// What may be asked for of the 2047 characters that x86 kernels read: the rest is for `root=` and the like.
const COMMAND_LINE: usize = 1900;

/// Reads the document as one of the three dialects; `ready_configdrive` matters to ironic alone.
pub(super) fn read(
    document: &JsonCursor<'_>,
    dialect: Dialect,
    ready_configdrive: Option<Bytes>,
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
        .and_then(|at| kernel_params(at, diagnostics));
    let system = system::guess(profile.unwrap_or_default());

    let before = diagnostics.len();
    let configdrive = dialect == Dialect::Nailgun || ready_configdrive.is_some();
    if dialect == Dialect::Ironic {
        check_ready(ready_configdrive, diagnostics);
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

/// What is made elsewhere has to fit the partition that it gets.
fn check_ready(size: Option<Bytes>, diagnostics: &mut Diagnostics) {
    let room = nailgun::CONFIGDRIVE;
    if let Some(size) = size.filter(|size| *size > room) {
        diagnostics.add(
            "$",
            format!("the ready-made configdrive has {size}, and its partition {room}"),
            format!("make {READY_CONFIGDRIVE} smaller, or remove it"),
        );
    }
}

/// One leading space, then the request's text; null becomes `None`, as upstream writes it.
fn kernel_params(pm_data: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let at = pm_data.require(
        "kernel_params",
        "the kernel's command line, which may be empty",
        diagnostics,
    )?;
    if at.value().is_null() {
        diagnostics.warn(format!(
            "`{}` is null: the kernel's command line gets the word `None`, as upstream writes it",
            at.path()
        ));
        return Some(" None".to_owned());
    }
    let text = at.text(diagnostics)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if names::has_control(&line.replace('\t', " ")) {
        diagnostics.add(at.path(), "has control characters in it", "give one line");
        return None;
    }
    if line.matches('"').count() % 2 == 1 {
        diagnostics.add(
            at.path(),
            "has a double quote without its partner",
            "close the quote",
        );
        return None;
    }
    if line.len() > COMMAND_LINE {
        diagnostics.warn(format!(
            "`{}` has {} characters; the kernel cuts its command line after 2047, and the boot loader adds to it",
            at.path(),
            line.len()
        ));
    }
    Some(format!(" {line}"))
}
