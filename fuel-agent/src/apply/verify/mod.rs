//! Reading back what was done, before anything becomes bootable: from the medium, not from what is cached of it.

mod files;

use std::path::{Path, PathBuf};

use configdrive::LABEL_NOCLOUD;
use host::blockdev::Access;
use host::mount::MountMode;

use super::context::{Context, disk_error};
use super::filesystem::unreachable;
use super::outcome::Outcome;
use super::{image, partition_table, signature};
use crate::model::error::{Error, Kind};
use crate::model::index::{DiskIndex, FilesystemIndex};
use crate::model::storage::BlockRef;

pub(super) fn verify(context: &mut Context<'_>) -> Result<Outcome, Error> {
    context.unmount_target()?;
    context.check_cancel()?;
    for (disk, _) in context.plan.disks() {
        flush(context, context.disk(disk))?;
        check_table(context, disk)?;
    }
    for (_, filesystem) in context.plan.filesystems() {
        let on = filesystem.on;
        if unreachable(context, on).is_none() {
            let node = context.node(on)?;
            flush(context, &node)?;
        }
    }
    for (filesystem, _) in context.plan.filesystems() {
        check_filesystem(context, filesystem)?;
    }
    check_images(context)?;
    if let Some(on) = context.plan.configdrive {
        check_configdrive(context, on)?;
    }
    if context.plan.root().is_none() {
        return Ok(Outcome::Unchanged);
    }
    if let Some(skipped) =
        context.skipped_on_files("mounting its filesystems to read them needs a block device")
    {
        return Ok(skipped);
    }
    check_twins(context)?;
    check_files(context)?;
    Ok(Outcome::Unchanged)
}

/// Returns when everything is on the medium, and makes the next read come from there. Opened for reading: udev has the
/// kernel read a table again when a disk is closed that could be written to, and partitions would go and come.
fn flush(context: &Context<'_>, node: &Path) -> Result<(), Error> {
    let mut device = context.open(node, Access::Read, "open for flushing")?;
    let flushed = device.flush().and_then(|()| device.drop_cache());
    flushed.map_err(disk_error(format!("cannot flush {}", node.display()), node))
}

/// The table is that of the plan, in both copies; one that was kept has the planned partitions where they belong.
fn check_table(context: &Context<'_>, disk: DiskIndex) -> Result<(), Error> {
    let (planned, path) = (&context.plan[disk], context.disk(disk));
    if !context.plan.keeps_partitions {
        let device = context.open(path, Access::Read, "read")?;
        let compared = partition_table::of_plan(planned, device.as_ref())?.compare(device.as_ref());
        return compared
            .map_err(|source| partition_table::failed("read back", planned, source.into()));
    }
    let what = format!("cannot look at the partitions of {}", path.display());
    let known = context.host.devices.partitions(path);
    let known = known.map_err(disk_error(what, path))?;
    for partition in &planned.partitions {
        let (number, extent) = (partition.number, partition.extent);
        if !known.contains(&(number, extent)) {
            let what = format!(
                "partition {number} of {} is not {} at {}, as it was planned",
                path.display(),
                extent.length,
                extent.start
            );
            return Err(Error::new(Kind::Disk, what).device(path.display()));
        }
    }
    Ok(())
}

/// Type and UUID are what they were when it was made, written, or first seen.
fn check_filesystem(context: &mut Context<'_>, filesystem: FilesystemIndex) -> Result<(), Error> {
    let planned = &context.plan[filesystem];
    if unreachable(context, planned.on).is_some() {
        return Ok(());
    }
    let expected = if context.plan.is_made(planned) {
        planned.uuid.to_string()
    } else {
        context.filesystem_uuid(filesystem)?
    };
    let found = context.find_filesystem(filesystem)?.uuid;
    if found == expected {
        return Ok(());
    }
    let what = format!(
        "the filesystem on {} has the UUID {found}, and should have {expected}",
        planned.device
    );
    Err(Error::new(Kind::Disk, what).device(&planned.device))
}

/// Every image was written whole and compared with a digest, unless that was waived.
fn check_images(context: &Context<'_>) -> Result<(), Error> {
    for (index, image) in context.plan.images() {
        // on files an archive was not unpacked, and that has been reported
        if image::skipped(context, image).is_some() || image.is_archive() && context.on_files() {
            continue;
        }
        let outcome = context.state.images.get(&index);
        let (kind, what) = match outcome {
            None => (Kind::Internal, "was not written"),
            Some(done) if !done.verified && !context.options.allow_unverified => {
                (Kind::Refused, "was compared with no digest")
            }
            Some(_) => continue,
        };
        let url = &image.url;
        return Err(Error::new(kind, format!("{url} {what}")));
    }
    Ok(())
}

/// cloud-init finds it by its label.
fn check_configdrive(context: &mut Context<'_>, on: BlockRef) -> Result<(), Error> {
    let node = context.node(on)?;
    flush(context, &node)?;
    // Ironic's comes ready-made: what it should be is not known here.
    if context.plan.node.is_none() {
        return Ok(());
    }
    let found = signature::probe(context, &node)?.unwrap_or_default();
    if found.kind == "vfat" && found.label == LABEL_NOCLOUD {
        return Ok(());
    }
    let what = format!(
        "{} is not found as the cloud-init data: its type is `{}` and its label `{}`",
        node.display(),
        found.kind,
        found.label
    );
    Err(Error::new(Kind::Disk, what).device(node.display()))
}

/// The installed system finds filesystems by UUID: each must lead to one place.
fn check_twins(context: &mut Context<'_>) -> Result<(), Error> {
    let mut own: Vec<String> = Vec::new();
    for filesystem in &context.plan.filesystems {
        let node = context.node(filesystem.on)?;
        // blkid may have it under another name.
        let real = std::fs::canonicalize(&node).unwrap_or_else(|_| node.clone());
        own.extend([node, real].map(|node| node.display().to_string()));
    }
    let mut uuids: Vec<String> = Vec::new();
    for (index, filesystem) in context.plan.filesystems() {
        let uuid = context.filesystem_uuid(index)?;
        let twins = if uuids.contains(&uuid) {
            vec!["another filesystem of this request".to_owned()]
        } else {
            let mut found = image::twins(context, &uuid, &own)?;
            found.retain(|node| !own.contains(&real(node)));
            found
        };
        if let Some(twin) = twins.first() {
            let what = format!(
                "the UUID {uuid} of the filesystem on {} is that of {twin} as well: the installed system could take \
                 one for the other",
                filesystem.device
            );
            return Err(Error::new(Kind::Refused, what)
                .device(&filesystem.device)
                .hint("name that disk in the request too, wipe it, or take it out"));
        }
        uuids.push(uuid);
    }
    Ok(())
}

fn real(node: &str) -> String {
    let real = std::fs::canonicalize(node).unwrap_or_else(|_| PathBuf::from(node));
    real.display().to_string()
}

/// What the installed system will go by, read from its own files.
fn check_files(context: &mut Context<'_>) -> Result<(), Error> {
    context.mount_target(MountMode::ReadOnly)?;
    let checked = files::check(context);
    let unmounted = context.unmount_target();
    checked.and(unmounted)
}
