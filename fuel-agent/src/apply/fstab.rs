//! /etc/fstab of the installed system: every filesystem of the plan by its UUID.

use std::collections::BTreeMap;

use super::context::Context;
use super::outcome::Outcome;
use super::{bootcode, target_tree};
use crate::model::error::{Error, Kind};
use crate::model::filesystem::FilesystemType;
use crate::model::index::FilesystemIndex;
use crate::model::node::Firmware;
use crate::model::plan::Plan;
use crate::model::storage::Mount;

pub(super) fn write(context: &mut Context<'_>) -> Result<Outcome, Error> {
    // First: where nothing can be mounted, filesystems were skipped too and have no UUID.
    let tree = match target_tree::open(context)? {
        Ok(tree) => tree,
        Err(skipped) => return Ok(skipped),
    };
    let text = render(context.plan, &context.state.filesystem_uuids)?;
    tree.write("etc/fstab", text, 0o644)
        .map(|()| Outcome::Changed)
}

/// The text: `UUID=… MOUNT TYPE OPTIONS 0 0`, in the plan's order.
pub(crate) fn render(
    plan: &Plan,
    uuids: &BTreeMap<FilesystemIndex, String>,
) -> Result<String, Error> {
    let mut lines = Vec::new();
    for (index, filesystem) in plan.filesystems() {
        let Some(mount) = &filesystem.mount else {
            continue;
        };
        let uuid = uuids.get(&index).ok_or_else(|| {
            let what = format!(
                "the UUID of the filesystem for {} is not known",
                mount.as_str()
            );
            Error::new(Kind::Internal, what).device(&filesystem.device)
        })?;
        let kind = plan.kind_of(filesystem);
        let options = options(mount, kind);
        let mount = escaped(mount.as_str());
        lines.push(format!("UUID={uuid} {mount} {kind} {options} 0 0\n"));
    }
    if let Some(line) = esp(plan) {
        lines.push(line);
    }
    Ok(lines.concat())
}

/// A root that is damaged stops the node rather than letting it run on, as Fuel has it. Only ext has the option (Fuel
/// writes it for xfs too, which then does not mount).
fn options(mount: &Mount, kind: &FilesystemType) -> String {
    let root = *mount == Mount::Path("/".to_owned());
    let more = kind.capabilities().and_then(|known| known.root_options);
    match more.filter(|_| root) {
        Some(more) => format!("defaults,{more}"),
        None => "defaults".to_owned(),
    }
}

/// The EFI system partition that the bootloader step makes, so that a later update of GRUB's packages finds it.
fn esp(plan: &Plan) -> Option<String> {
    let mounted = |path: &str| {
        let path = Mount::Path(path.to_owned());
        plan.filesystems
            .iter()
            .any(|fs| fs.mount.as_ref() == Some(&path))
    };
    if plan.firmware != Firmware::Uefi || mounted("/boot/efi") {
        return None;
    }
    let disk = plan.disks.iter().find(|disk| disk.bootloader)?;
    let esp = bootcode::esp(disk)?;
    let id = bootcode::volume_id(esp);
    let (high, low) = (id >> 16, id & 0xFFFF);
    Some(format!(
        "UUID={high:04X}-{low:04X} /boot/efi vfat umask=0077,nofail 0 0\n"
    ))
}

/// fstab separates with spaces; those within a field are written in octal.
fn escaped(field: &str) -> String {
    let mut text = String::new();
    for character in field.chars() {
        match character {
            ' ' => text.push_str("\\040"),
            '\t' => text.push_str("\\011"),
            '\n' => text.push_str("\\012"),
            '\\' => text.push_str("\\134"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_plan;

    #[test]
    fn every_mount_stands_by_its_uuid() {
        let plan = sample_plan::plan();
        insta::assert_snapshot!(render(&plan, &sample_plan::uuids()).unwrap(), @"
        UUID=0000b007-0000-0000-0000-000000000000 /boot ext2 defaults 0 0
        UUID=00004007-0000-0000-0000-000000000000 / ext4 defaults,errors=panic 0 0
        UUID=000054a9-0000-0000-0000-000000000000 swap swap defaults 0 0
        ");
    }

    #[test]
    fn a_uefi_node_mounts_its_esp() {
        let mut plan = sample_plan::plan();
        plan.firmware = Firmware::Uefi;
        let text = render(&plan, &sample_plan::uuids()).unwrap();
        insta::assert_snapshot!(text.lines().last().unwrap(), @"UUID=E5D0-1002 /boot/efi vfat umask=0077,nofail 0 0");
    }

    #[test]
    fn an_xfs_root_gets_no_option_of_ext() {
        let mut plan = sample_plan::plan();
        plan.filesystems[1].kind = FilesystemType::Xfs;
        plan.images[0].format = "xfs".into();
        let text = render(&plan, &sample_plan::uuids()).unwrap();
        assert!(text.contains(" / xfs defaults 0 0\n"), "{text}");
    }

    #[test]
    fn a_mount_point_with_spaces_stays_one_field() {
        assert_eq!(escaped("/a b\\c\td"), r"/a\040b\134c\011d");
    }

    #[test]
    fn an_unknown_uuid_is_an_error() {
        let mut uuids = sample_plan::uuids();
        uuids.remove(&FilesystemIndex(1));
        let error = render(&sample_plan::plan(), &uuids).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the UUID of the filesystem for / is not known"
        );
    }
}
