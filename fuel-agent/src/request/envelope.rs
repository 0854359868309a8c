//! What the three dialects of Fuel have in common: profile, kernel parameters, images, the node; each with a layout of its own.

use host::units::Bytes;

use super::reader::{At, Findings};
use super::{READY_CONFIGDRIVE, doubts, images, nailgun, names, node, simple, system};
use crate::model::request::{BootSpec, Dialect, Request};

/// What may be asked for of the 2047 characters that x86 kernels read: the rest is for `root=` and the like.
const COMMAND_LINE: usize = 1900;

/// Reads the document as one of the three dialects; `ready_configdrive` matters to ironic alone.
pub(super) fn read(
    document: &At<'_>,
    dialect: Dialect,
    ready_configdrive: Option<Bytes>,
    findings: &mut Findings,
) -> Option<Request> {
    let profile = document.required_text("profile", "the profile's name", findings);
    let ks_meta = document
        .require(
            "ks_meta",
            "an object with `pm_data`, `image_data` and the node's settings",
            findings,
        )
        .filter(|at| at.object(findings));
    let pm_data = ks_meta.as_ref().and_then(|at| {
        at.require(
            "pm_data",
            "an object with `ks_spaces` and `kernel_params`",
            findings,
        )
        .filter(|at| at.object(findings))
    });
    let kernel_params = pm_data.as_ref().and_then(|at| kernel_params(at, findings));
    let system = system::guess(profile.unwrap_or_default());

    let before = findings.len();
    let configdrive = dialect == Dialect::Nailgun || ready_configdrive.is_some();
    if dialect == Dialect::Ironic {
        check_ready(ready_configdrive, findings);
    }
    let layout = if dialect == Dialect::NailgunSimple {
        simple::lay_out(document, findings)
    } else {
        pm_data
            .as_ref()
            .and_then(|at| nailgun::lay_out(at, &system, configdrive, findings))
    };
    // Where the layout has problems, an image without its filesystem would only repeat them.
    let good = layout.as_ref().filter(|_| findings.len() == before);
    let images = ks_meta
        .as_ref()
        .map(|at| images::read(at, dialect, good, findings));

    let node = match dialect {
        Dialect::Ironic => None,
        _ => node::read(document, ks_meta.as_ref(), findings),
    };
    let (layout, images) = (layout?, images?);
    doubts::look(&layout, &images, findings);
    Some(Request {
        dialect,
        digest: String::new(),
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
fn check_ready(size: Option<Bytes>, findings: &mut Findings) {
    let room = nailgun::CONFIGDRIVE;
    if let Some(size) = size.filter(|size| *size > room) {
        findings.add(
            "$",
            format!("the ready-made configdrive has {size}, and its partition {room}"),
            format!("make {READY_CONFIGDRIVE} smaller, or remove it"),
        );
    }
}

/// One leading space, then the request's text; null becomes `None`, as upstream writes it.
fn kernel_params(pm_data: &At<'_>, findings: &mut Findings) -> Option<String> {
    let at = pm_data.require(
        "kernel_params",
        "the kernel's command line, which may be empty",
        findings,
    )?;
    if at.value().is_null() {
        findings.warn(format!(
            "`{}` is null: the kernel's command line gets the word `None`, as upstream writes it",
            at.path()
        ));
        return Some(" None".to_owned());
    }
    let text = at.text(findings)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if names::has_control(&line.replace('\t', " ")) {
        findings.add(at.path(), "has control characters in it", "give one line");
        return None;
    }
    if line.matches('"').count() % 2 == 1 {
        findings.add(
            at.path(),
            "has a double quote without its partner",
            "close the quote",
        );
        return None;
    }
    if line.len() > COMMAND_LINE {
        findings.warn(format!(
            "`{}` has {} characters; the kernel cuts its command line after 2047, and the boot loader adds to it",
            at.path(),
            line.len()
        ));
    }
    Some(format!(" {line}"))
}
