//! fstab and grub.cfg as the installed system and its boot loader will read them.

use std::collections::BTreeMap;

use super::super::bootconfig;
use super::super::context::Context;
use super::super::target_tree::{self, TargetTree};
use crate::model::error::{Error, Kind};
use crate::model::index::FilesystemIndex;
use crate::model::plan::Plan;

/// Every UUID that is named is that of a filesystem which is there, the root is found, and so are kernel and initrd.
pub(super) fn check(context: &Context<'_>) -> Result<(), Error> {
    let Ok(tree) = target_tree::open(context)? else {
        return Err(wrong("the installed system cannot be read back"));
    };
    let uuids = &context.state.filesystem_uuids;
    let fstab = tree.read("etc/fstab")?.unwrap_or_default();
    check_fstab(context.plan, uuids, &fstab).map_err(wrong)?;
    if let Some(folder) = &context.state.boot_folder {
        let path = format!("{}/grub.cfg", folder.in_tree);
        let menu = tree.read(&path)?.unwrap_or_default();
        let root = bootconfig::root_argument(context.plan, uuids)?;
        check_menu(&menu, &root, &folder.uuid).map_err(wrong)?;
        let above = folder.in_tree.strip_suffix(&folder.path);
        check_kernels(&tree, &menu, above.unwrap_or_default())?;
    }
    Ok(())
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Kind::Disk, what)
}

/// Each filesystem of the plan stands there with its own UUID; a line of something else may fail without harm.
fn check_fstab(
    plan: &Plan,
    uuids: &BTreeMap<FilesystemIndex, String>,
    text: &str,
) -> Result<(), String> {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|fields: &Vec<&str>| fields.first().is_some_and(|first| !first.starts_with('#')))
        .collect();
    for (index, filesystem) in plan.filesystems() {
        let Some(mount) = &filesystem.mount else {
            continue;
        };
        let uuid = uuids.get(&index).map_or("?", String::as_str);
        let wanted = format!("UUID={uuid}");
        let mount = escaped(mount.as_str());
        let found = lines.iter().any(|fields| {
            fields.first() == Some(&wanted.as_str()) && fields.get(1) == Some(&mount.as_str())
        });
        if !found {
            return Err(format!("fstab does not mount UUID {uuid} on {mount}"));
        }
    }
    for fields in &lines {
        let device = fields.first().copied().unwrap_or_default();
        let known = device
            .strip_prefix("UUID=")
            .is_some_and(|uuid| is_known(uuids, uuid));
        let optional = fields
            .get(3)
            .is_some_and(|options| options.split(',').any(|option| option == "nofail"));
        let unfit = fields.get(1) == Some(&"/") && optional;
        if unfit || (!known && !optional) {
            return Err(format!("fstab mounts {device}, which is not there"));
        }
    }
    Ok(())
}

/// fstab separates with spaces; those within a mount point are written in octal.
fn escaped(path: &str) -> String {
    let octal = |character: char| match character {
        ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(character)),
        other => other.to_string(),
    };
    path.chars().map(octal).collect()
}

fn is_known(uuids: &BTreeMap<FilesystemIndex, String>, uuid: &str) -> bool {
    uuids.values().any(|known| known == uuid)
}

/// GRUB searches kernels on the filesystem that they were put on, and passes each the plan's own root and no other.
fn check_menu(menu: &str, root: &str, boot: &str) -> Result<(), String> {
    let (mut started, mut searched) = (0, 0);
    for line in menu.lines().map(str::trim) {
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']))
            .collect();
        let command = words.first().copied().unwrap_or_default();
        if command == "search" {
            searched += 1;
            let uuid = words.last().copied().unwrap_or_default();
            if !uuid.eq_ignore_ascii_case(boot) {
                return Err(format!(
                    "grub.cfg looks for its kernels on {uuid}, not {boot}"
                ));
            }
        }
        if matches!(command, "linux" | "linux16" | "linuxefi") {
            started += 1;
            let mut roots: Vec<&str> = words
                .iter()
                .filter_map(|word| word.strip_prefix("root="))
                .collect();
            roots.dedup();
            if roots != [root] {
                let given = roots.join(" and ");
                return Err(format!(
                    "grub.cfg starts a kernel with the root `{given}`, not `{root}`"
                ));
            }
        }
    }
    match (started, searched) {
        (0, _) => Err("grub.cfg starts no kernel".to_owned()),
        (_, 0) => Err("grub.cfg does not look for its kernels".to_owned()),
        _ => Ok(()),
    }
}

/// The files that GRUB is to load are there and not empty.
fn check_kernels(tree: &TargetTree, menu: &str, above: &str) -> Result<(), Error> {
    for line in menu.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default();
        if !(command.starts_with("linux") || command.starts_with("initrd")) {
            continue;
        }
        let files = words.take_while(|word| word.starts_with('/'));
        for file in files {
            let path = format!("{above}{file}");
            if tree.length_of(path.trim_start_matches('/'))?.unwrap_or(0) == 0 {
                return Err(wrong(format!("grub.cfg loads {file}, which is not there")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::fstab;
    use crate::testing::sample_plan;

    fn menu(root: &str, uuid: &str) -> String {
        format!(
            "search --no-floppy --fs-uuid --set=root {uuid}\nmenuentry 'x' \
             {{\n  linux /vmlinuz root={root} ro quiet\n  initrd /initrd\n}}\n"
        )
    }

    #[test]
    fn the_fstab_that_is_written_passes() {
        let (plan, uuids) = (sample_plan::plan(), sample_plan::uuids());
        let text = fstab::render(&plan, &uuids).unwrap();
        check_fstab(&plan, &uuids, &text).unwrap();
        let with_esp =
            text.clone() + "UUID=E5D0-1002 /boot/efi vfat umask=0077,nofail 0 0\n# a word\n\n";
        check_fstab(&plan, &uuids, &with_esp).unwrap();
    }

    #[test]
    fn an_fstab_that_leads_nowhere_does_not() {
        let (plan, uuids) = (sample_plan::plan(), sample_plan::uuids());
        let text = fstab::render(&plan, &uuids).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (wrong, reason) in [
            (
                String::new(),
                "fstab does not mount UUID 0000b007-0000-0000-0000-000000000000 on /boot",
            ),
            (lines[..2].join("\n"), "on swap"),
            (
                text.replace("00004007", "00004008"),
                "fstab does not mount UUID 00004007",
            ),
            (
                text.clone() + "/dev/sdb1 /srv ext4 defaults 0 0\n",
                "fstab mounts /dev/sdb1, which is not there",
            ),
        ] {
            let error = check_fstab(&plan, &uuids, &wrong).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_menu_must_lead_to_the_root() {
        let (root, boot) = ("/dev/mapper/os-root", "0000b007");
        let right = menu(root, boot);
        let check = |menu: &str| check_menu(menu, root, boot);
        check(&right).unwrap();
        for (wrong, reason) in [
            (
                menu("/dev/mapper/os-old", boot),
                "not `/dev/mapper/os-root`",
            ),
            (
                right.replace(" quiet", " root=/dev/sdb1"),
                "os-root and /dev/sdb1",
            ),
            (right.replace("root=/dev", "toor=/dev"), "the root ``"),
            (menu(root, "dead-beef"), "on dead-beef, not 0000b007"),
            (right.replace("search ", "echo "), "does not look"),
            (String::new(), "starts no kernel"),
        ] {
            let error = check(&wrong).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn kernels_that_are_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("boot")).unwrap();
        let tree = TargetTree::at(folder.path());
        let text = menu("x", "y");
        for file in ["vmlinuz", "initrd"] {
            let error = check_kernels(&tree, &text, "boot").unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
            std::fs::write(folder.path().join("boot").join(file), "x").unwrap();
        }
        check_kernels(&tree, &text, "boot").unwrap();
    }
}
