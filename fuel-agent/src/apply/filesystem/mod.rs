//! Making and growing filesystems.

use std::fs;
use std::path::Path;

use host::exec::{Cmd, ExecError};
use host::mount::MountMode;

use super::context::{Context, disk_error, tool_error};
use super::outcome::Outcome;
use super::probe;
use super::staging::Staging;
use crate::model::error::{Error, Kind};
use crate::model::filesystem::Growth;
use crate::model::index::FilesystemIndex;
use crate::model::plan::PlannedFilesystem;
use crate::model::storage::BlockRef;
use crate::tools::Tool;

/// Why what is on LVM or md is not made where disks are files.
const ON_FILES: &str = "what lies on LVM or md needs a block device";

/// Characters of a label that Fuel keeps, whatever the type.
const LABEL: usize = 12;

pub(super) fn make(
    context: &mut Context<'_>,
    filesystem: FilesystemIndex,
) -> Result<Outcome, Error> {
    let planned = &context.plan[filesystem];
    if let Some(skipped) = unreachable(context, planned.on) {
        return Ok(skipped);
    }
    let node = context.node(planned.on)?;
    let cmd = mkfs(planned)?;
    let what = || format!("cannot make {} on {}", planned.kind, node.display());
    context.state.touched = true;
    if context.host.devices.backing(&node).is_some() {
        let staging = Staging::empty(context, &node)?;
        context.run(&cmd.path(staging.path()), what)?;
        staging.write_to(context, &node)?;
    } else {
        context
            .run(&cmd.arg(&node), what)
            .map_err(|error| error.device(node.display()))?;
    }
    let found = context.find_filesystem(filesystem)?;
    if found.uuid == planned.uuid.to_string() {
        return Ok(Outcome::Changed);
    }
    let what = format!(
        "the {} on {} has the UUID {}, and was made with {}",
        planned.kind,
        node.display(),
        found.uuid,
        planned.uuid
    );
    Err(Error::new(Kind::Disk, what).device(node.display()))
}

/// The outcome where disks are files and this is on something that cannot be made of them.
pub(super) fn unreachable(context: &Context<'_>, on: BlockRef) -> Option<Outcome> {
    match on {
        BlockRef::Partition { .. } => None,
        BlockRef::Raid(_) | BlockRef::Logical(_) | BlockRef::Undefined(_) => {
            context.skipped_on_files(ON_FILES)
        }
    }
}

/// The command that makes it, its device still missing. Of a type that is not made here no plan is approved.
fn mkfs(planned: &PlannedFilesystem) -> Result<Cmd, Error> {
    let Some(known) = planned.kind.capabilities() else {
        let what = format!("the plan makes a filesystem of type `{}`", planned.kind);
        return Err(Error::new(Kind::Internal, what).device(&planned.device));
    };
    let maker = &known.maker;
    let (option, prefix) = maker.uuid;
    let cmd = Cmd::new(maker.tool)
        .args(maker.flags.iter().copied())
        .args([option, &format!("{prefix}{}", planned.uuid)]);
    let cmd = match label(&planned.label, known.label_bytes) {
        "" => cmd,
        text => cmd.args([maker.label, text]),
    };
    Ok(cmd.args(planned.options.split_whitespace()))
}

/// The label as Fuel cuts it, and then as the type holds it: a character may be several bytes.
fn label(requested: &str, longest: usize) -> &str {
    let end = requested
        .char_indices()
        .take(LABEL)
        .map(|(at, character)| at + character.len_utf8())
        .take_while(|end| *end <= longest)
        .last();
    requested.get(..end.unwrap_or(0)).unwrap_or_default()
}

pub(super) fn grow(
    context: &mut Context<'_>,
    filesystem: FilesystemIndex,
) -> Result<Outcome, Error> {
    let planned = &context.plan[filesystem];
    if let Some(skipped) = unreachable(context, planned.on) {
        return Ok(skipped);
    }
    let node = context.node(planned.on)?;
    let before = context.filesystem_uuid(filesystem)?;
    match context.plan.kind_of(planned).growth() {
        Some(Growth::Unmounted) => grow_unmounted(context, &node)?,
        Some(Growth::Mounted) => {
            if let Some(skipped) = context
                .skipped_on_files("xfs, which grows while it is mounted, needs a block device")
            {
                return Ok(skipped);
            }
            let kind = context.plan.kind_of(planned).as_str();
            grow_mounted(context, &node, kind)?;
        }
        None => return Ok(Outcome::Unchanged),
    }
    let after = context.find_filesystem(filesystem)?.uuid;
    if before == after {
        return Ok(Outcome::Changed);
    }
    let what = format!(
        "growing the filesystem on {} changed its UUID",
        node.display()
    );
    Err(Error::new(Kind::Disk, what).device(node.display()))
}

fn grow_unmounted(context: &mut Context<'_>, node: &Path) -> Result<(), Error> {
    if context.host.devices.backing(node).is_none() {
        return resize(context, node, node);
    }
    let staging = Staging::copy_of(context, node)?;
    resize(context, staging.path(), node)?;
    staging.write_to(context, node)
}

/// Checks and grows what is at `path`; `node` is its name in messages.
fn resize(context: &mut Context<'_>, path: &Path, node: &Path) -> Result<(), Error> {
    // resize2fs needs a filesystem that was checked just now. Status 1 means that something was repaired, as is to be
    // expected of an image of a system that ran.
    let check = Cmd::new(Tool::E2fsck)
        .args(["-f", "-y"])
        .path(path)
        .accept(&[0, 1]);
    let checked = context.ask(&check);
    checked.map_err(|source| not_sound(source, node))?;
    let grow = Cmd::new(Tool::Resize2fs).path(path);
    let what = || format!("cannot grow the filesystem on {}", node.display());
    let grown = context.run(&grow, what);
    grown
        .map(drop)
        .map_err(|error| error.device(node.display()))
}

/// Why the check of a filesystem failed: it is damaged, or could not be read, which proves nothing about it.
fn not_sound(source: ExecError, node: &Path) -> Error {
    /// Bit of e2fsck's exit status: errors are left that it could not correct.
    const UNCORRECTED: i32 = 4;
    let node = node.display();
    let is_damaged = match &source {
        ExecError::Failed {
            status,
            stdout,
            stderr,
            ..
        } => {
            // It ends with an operational error too where it finds no filesystem.
            let says = |words: &str| stdout.contains(words) || stderr.contains(words);
            status & UNCORRECTED != 0 || says("Bad magic number") || says("superblock")
        }
        _ => false,
    };
    if !is_damaged {
        let what = format!("cannot check the filesystem on {node}");
        return tool_error(what, source).device(node);
    }
    Error::new(Kind::Image, format!("the filesystem on {node} is damaged"))
        .because(source)
        .device(node)
        .hint("make the image again; `e2fsck -fn` on its raw form should find nothing")
}

fn grow_mounted(context: &mut Context<'_>, node: &Path, kind: &str) -> Result<(), Error> {
    // Unlike ext, it was checked by no program before.
    probe::of_image(context, node, kind)?;
    let folder = context.options.work.join("grow");
    fs::create_dir_all(&folder).map_err(disk_error(
        format!("cannot make {}", folder.display()),
        node,
    ))?;
    let mounts = &mut context.host.mounts;
    let mounted = mounts.mount(node, &folder, kind, MountMode::Write);
    mounted.map_err(disk_error(
        format!("cannot mount {} to grow it", node.display()),
        node,
    ))?;
    let grow = Cmd::new(Tool::XfsGrowfs)
        .arg("-d")
        .arg(&folder)
        .shares_mounts();
    let what = || format!("cannot grow the filesystem on {}", node.display());
    let grown = context.run(&grow, what);
    let unmounted = context.host.mounts.unmount(&folder);
    grown.map_err(|error| error.device(node.display()))?;
    unmounted.map_err(disk_error(
        format!("cannot unmount {}", node.display()),
        node,
    ))
}

#[cfg(test)]
mod tests;
