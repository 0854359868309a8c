//! Reading back what was done, before anything becomes bootable: what is not as planned on the disks themselves is an
//! error here, whatever every step before has said.

use std::path::Path;

use host::blockdev::Access;
use host::mount::MountMode;
use host::units::{Bytes, Extent};

use super::guid_table::GuidTable;
use super::raid::on_file;
use super::signature;
use super::{Context, Outcome, installed, table, target};
use crate::error::{Error, Kind};
use crate::request::spec::BlockRef;

/// Reads everything back.
pub(super) fn verify(context: &mut Context<'_>) -> Result<Outcome, Error> {
    target::release(context)?;
    for disk in 0..context.plan.disks.len() {
        check_disk(context, disk)?;
    }
    for filesystem in 0..context.plan.filesystems.len() {
        check_filesystem(context, filesystem)?;
    }
    if let Some(on) = context.plan.configdrive {
        check_configdrive(context, on)?;
    }
    if target::in_files(context) {
        let why = "fstab and the boot configuration are in filesystems that cannot be mounted: a disk is a regular file";
        return Ok(Outcome::Skipped {
            why: why.to_owned(),
        });
    }
    if context.plan.root().is_some() {
        target::ensure(context, MountMode::ReadOnly)?;
        let checked = check_tree(context);
        target::release(context).and(checked)?;
    }
    Ok(Outcome::Unchanged)
}

/// An error that means: what is on the disk is not what was written.
fn differs(what: String) -> Error {
    Error::new(Kind::Disk, what)
        .hint("the node stays disarmed; look for failing hardware, then install again")
        .retryable()
}

/// Flushes a disk and compares its table with the plan.
fn check_disk(context: &mut Context<'_>, disk: usize) -> Result<(), Error> {
    let planned = &context.plan.disks[disk];
    let name = Path::new(&planned.device);
    let failed = |source| table::failed("read back", name, source);
    // For reading: closing what could write would make udev have the table read again under our feet.
    let mut device = context
        .host
        .devices
        .open(name, Access::Read)
        .map_err(failed)?;
    device.flush().map_err(failed)?;
    if !context.plan.keeps_partitions {
        let mut boot_code = [0; 440];
        device
            .read_at(&mut boot_code, Bytes::ZERO)
            .map_err(failed)?;
        let mut expected = GuidTable::of(planned).map_err(failed)?;
        for piece in expected.pieces(&boot_code) {
            let mut found = vec![0; piece.bytes.len()];
            device.read_at(&mut found, piece.at).map_err(failed)?;
            if found != piece.bytes {
                return Err(differs(format!(
                    "the partition table of {} is not what was written",
                    name.display()
                ))
                .device(name.display()));
            }
        }
    }
    let found = host::table::read(device.as_ref()).map_err(failed)?;
    let found: Vec<(u32, Extent)> = found
        .iter()
        .flat_map(|table| &table.partitions)
        .map(|p| (p.number, p.extent))
        .collect();
    for partition in &planned.partitions {
        if !found.contains(&(partition.number, partition.extent)) {
            let what = format!(
                "partition {} is not in the table of {}",
                partition.number,
                name.display()
            );
            return Err(differs(what).device(name.display()));
        }
    }
    Ok(())
}

/// Compares type and UUID of a filesystem with what is known of it.
fn check_filesystem(context: &mut Context<'_>, filesystem: usize) -> Result<(), Error> {
    let planned = context.plan.filesystems[filesystem].clone();
    let file = on_file(context, &[planned.on]);
    if file && !matches!(planned.on, BlockRef::Partition { .. }) {
        return Ok(());
    }
    let node = context.node(planned.on)?;
    let found = signature::of(context, &node, file)?.unwrap_or_default();
    let known = context
        .state
        .filesystem_uuids
        .get(filesystem)
        .cloned()
        .flatten();
    if planned.image.is_none() && found.kind != planned.kind {
        let what = format!(
            "there is `{}` on {}, not {}",
            found.kind,
            node.display(),
            planned.kind
        );
        return Err(differs(what).device(node.display()));
    }
    match known {
        Some(uuid) if uuid != found.uuid => Err(differs(format!(
            "the filesystem on {} has the UUID `{}`, not {uuid}",
            node.display(),
            found.uuid
        ))
        .device(node.display())),
        Some(_) => Ok(()),
        None => {
            // kept: nobody made it, so its UUID is known only now
            if let Some(slot) = context.state.filesystem_uuids.get_mut(filesystem) {
                *slot = Some(found.uuid);
            }
            Ok(())
        }
    }
}

/// Whether cloud-init will find its data.
fn check_configdrive(context: &mut Context<'_>, on: BlockRef) -> Result<(), Error> {
    // ironic: what goes there comes from outside
    if context.plan.node.is_none() {
        return Ok(());
    }
    let node = context.node(on)?;
    let file = on_file(context, &[on]);
    let found = signature::of(context, &node, file)?.unwrap_or_default();
    if found.kind == "vfat" && found.label == configdrive::LABEL_NOCLOUD {
        return Ok(());
    }
    let what = format!(
        "there is `{}` labelled `{}` on {}, not cloud-init's data",
        found.kind,
        found.label,
        node.display()
    );
    Err(differs(what).device(node.display()))
}

/// Whether every UUID that the installed system will look for is there, its root's above all.
fn check_tree(context: &Context<'_>) -> Result<(), Error> {
    let Ok(tree) = installed::open(context)? else {
        return Ok(());
    };
    let uuids: Vec<String> = context
        .state
        .filesystem_uuids
        .iter()
        .flatten()
        .map(|uuid| uuid.to_ascii_lowercase())
        .collect();
    let fstab = tree.read("etc/fstab")?.unwrap_or_default();
    check_uuids("etc/fstab", &fstab, &uuids)?;
    let root = context
        .plan
        .root()
        .and_then(|root| context.state.filesystem_uuids.get(root).cloned().flatten());
    let root = root.unwrap_or_default().to_ascii_lowercase();
    let finds_root = |line: &str| {
        line.to_ascii_lowercase()
            .starts_with(&format!("uuid={root} / "))
            || line.starts_with("/dev/mapper/")
    };
    if root.is_empty() || !fstab.lines().any(finds_root) {
        return Err(differs(
            "the installed system's fstab does not name its root".to_owned(),
        ));
    }
    if let Some(folder) = &context.state.boot_folder {
        let path = format!("{}/grub.cfg", folder.in_tree);
        let menu = tree.read(&path)?.unwrap_or_default();
        check_uuids(&path, &menu, &uuids)?;
        if !menu.contains("root=") {
            return Err(differs(format!(
                "{path} of the installed system names no root"
            )));
        }
    }
    Ok(())
}

fn check_uuids(path: &str, text: &str, known: &[String]) -> Result<(), Error> {
    match words_like_uuids(text).find(|uuid| !known.contains(uuid)) {
        Some(unknown) => Err(differs(format!(
            "{path} of the installed system names {unknown}, which no filesystem has"
        ))),
        None => Ok(()),
    }
}

/// Everything in a text that has the form of a UUID, in lower case.
fn words_like_uuids(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'))
        .filter(|word| word.len() == 36 && uuid::Uuid::parse_str(word).is_ok())
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_that_nobody_has_is_found_wherever_it_stands() {
        let known = ["11111111-2222-3333-4444-555555555555".to_owned()];
        let good = "linux /vmlinuz root=UUID=11111111-2222-3333-4444-555555555555 ro\n";
        assert!(check_uuids("x", good, &known).is_ok());
        let bad = "search --fs-uuid --set=root 11111111-2222-3333-4444-555555555556\n";
        assert!(
            check_uuids("x", bad, &known)
                .unwrap_err()
                .what
                .contains("555555555556")
        );
        assert_eq!(words_like_uuids("no-uuid here 1234").count(), 0);
    }
}
