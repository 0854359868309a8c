//! What `provision write` writes to: a disk, a partition, another block device, or a regular file; or nothing at all.
//!
//! Found by the name that was given and by no other; whatever speaks against it is said before it is opened for
//! writing.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use host::blockdev::BlockDevice;
use host::cancel::Cancel;
use host::units::{Bytes, Extent};

use super::fit::{GoalKind, Machine};
use crate::inventory::{Reader, probe};
use crate::model::error::{Error, Kind};
use crate::model::inventory::{Disk, Inventory};
use crate::plan;
use crate::sequence::discovery::{combine, refusal_errors};
use crate::settings::Settings;

/// The name by which a regular file is opened.
pub(super) const STAND_IN: &str = "target";

/// Where an image goes.
#[derive(Debug)]
pub(super) struct Target {
    /// Its node, or the file, with links followed.
    pub(super) node: PathBuf,
    /// Whether it is a block device.
    pub(super) is_node: bool,
    /// Whether it is a whole block device, which may have a partition table.
    pub(super) is_disk: bool,
    /// The machine that starts from it, where it is a disk that is built in.
    pub(super) machine: Option<Machine>,
    /// What is odd about it, but no reason to refuse.
    pub(super) warnings: Vec<String>,
}

impl Target {
    /// Finds what `path` means, and refuses what must not be written to.
    pub(super) fn find(path: &Path, settings: &Settings, cancel: &Cancel) -> Result<Self, Error> {
        let shown = path.display();
        let found = fs::canonicalize(path).and_then(|node| Ok((fs::metadata(&node)?, node)));
        let (meta, node) = found.map_err(|error| {
            let what = format!("cannot find the target {shown}");
            Error::new(Kind::Usage, what).because(error).hint(
                "`provision inventory` lists the disks; a file is made with `truncate -s SIZE`",
            )
        })?;
        let kind = meta.file_type();
        let (mut machine, mut warnings) = (None, Vec::new());
        if kind.is_block_device() {
            let inventory = probe(&mut Reader::real(cancel))?;
            warnings = may_be_written(&node, &inventory, settings)?;
            machine = machine_of(&node, inventory);
        } else if !kind.is_file() {
            let what = format!("{shown} is neither a block device nor a regular file");
            return Err(Error::new(Kind::Usage, what).hint("name a disk, a partition or a file"));
        }
        Ok(Self {
            is_node: kind.is_block_device(),
            is_disk: kind.is_block_device() && !is_partition(&node),
            machine,
            node,
            warnings,
        })
    }

    /// The name by which it is opened.
    pub(super) fn open_as(&self) -> PathBuf {
        if self.is_node {
            self.node.clone()
        } else {
            Path::new("/dev").join(STAND_IN)
        }
    }

    /// An error of the device.
    pub(super) fn failed(&self, doing: &str, error: io::Error) -> Error {
        let node = self.node.display();
        Error::new(Kind::Disk, format!("cannot {doing} {node}"))
            .device(node)
            .because(error)
    }

    /// What it is, to an image.
    pub(super) const fn kind(&self) -> GoalKind {
        match (self.is_node, self.is_disk) {
            (false, _) => GoalKind::File,
            (true, true) => GoalKind::Device,
            (true, false) => GoalKind::Partition,
        }
    }
}

/// What starts from a whole disk of this node that cannot be carried to another one.
fn machine_of(node: &Path, inventory: Inventory) -> Option<Machine> {
    let path = node.to_string_lossy();
    let is_it = |disk: &&Disk| disk.path == path && !disk.removable;
    inventory.disks.iter().find(is_it)?;
    Some(Machine {
        firmware: inventory.firmware,
        architecture: inventory.architecture,
    })
}

fn is_partition(node: &Path) -> bool {
    let name = node.file_name().unwrap_or_default();
    Path::new("/sys/class/block")
        .join(name)
        .join("partition")
        .exists()
}

/// Refuses a disk, or a partition of one, that `run` would not touch either, and one on which something is stacked:
/// nothing
/// is released here. Devices that are no disks (loop devices, volumes, arrays) are left to the kernel, which opens none
/// that is in use, unless they or the disks that they lie on are protected. Returns what is odd.
fn may_be_written(
    node: &Path,
    inventory: &Inventory,
    settings: &Settings,
) -> Result<Vec<String>, Error> {
    let path = node.to_string_lossy();
    let options = plan::Options {
        protect: settings.protect.clone(),
        protect_strict: settings.protect_strict,
        allow_removable: settings.allow_removable,
        ..plan::Options::default()
    };
    let is_on =
        |disk: &&Disk| disk.path == path || disk.partitions.iter().any(|part| part.path == path);
    let Some(disk) = inventory.disks.iter().find(is_on) else {
        return protected(&path, inventory, &options);
    };
    let (refusals, warnings) = plan::refusals(disk, inventory, &options);
    let mut errors = refusal_errors(refusals.iter());
    for stack in inventory
        .stacks
        .iter()
        .filter(|stack| stack.disks.contains(&disk.path))
    {
        if stack.active || stack.disks.len() > 1 {
            let what = format!("`{}` lies on {}", stack.name, disk.path);
            let hint = "stop it and wipe its members first, or choose another disk";
            errors.push(Error::new(Kind::Refused, what).hint(hint));
        }
    }
    combine("the target is refused", errors)?;
    Ok(warnings)
}

/// Refuses a device that is no disk, where it or a disk below it is protected.
fn protected(
    path: &str,
    inventory: &Inventory,
    options: &plan::Options,
) -> Result<Vec<String>, Error> {
    let device = Disk {
        path: path.to_owned(),
        ..Disk::default()
    };
    let name = path.strip_prefix("/dev/").unwrap_or(path).to_owned();
    let stacks = inventory
        .stacks
        .iter()
        .filter(|stack| stack.nodes.contains(&name));
    let below = stacks.flat_map(|stack| &stack.disks);
    let below = below.filter_map(|path| inventory.disks.iter().find(|disk| disk.path == *path));
    for disk in below.chain([&device]) {
        if let Some(entry) = options.protects(disk) {
            let what = format!("{} is protected (`{entry}`)", disk.path);
            let hint = "choose another target, or take the disk out of `provision.protect`";
            return Err(Error::new(Kind::Refused, what).device(path).hint(hint));
        }
    }
    Ok(Vec::new())
}

/// Takes everything and keeps nothing: an image is fetched, unpacked and checked, and no disk is there.
#[derive(Debug)]
pub(super) struct NullDevice;

impl BlockDevice for NullDevice {
    fn size(&self) -> Bytes {
        Bytes(1 << 62)
    }

    fn sector_size(&self) -> Bytes {
        Bytes(512)
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buffer: &mut [u8], _at: Bytes) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn write_at(&mut self, _bytes: &[u8], _at: Bytes) -> io::Result<()> {
        Ok(())
    }

    fn zero(&mut self, _extent: Extent) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::render;
    use crate::model::inventory::{ExistingPartition, Stack, StackKind};

    fn node_with(disk: Disk, stacks: Vec<Stack>) -> Inventory {
        let part = ExistingPartition {
            number: 1,
            path: "/dev/sda1".to_owned(),
            ..ExistingPartition::default()
        };
        let disk = Disk {
            path: "/dev/sda".to_owned(),
            partitions: vec![part],
            ..disk
        };
        Inventory {
            disks: vec![disk],
            stacks,
            ..Inventory::default()
        }
    }

    fn group(disks: &[&str], active: bool) -> Stack {
        Stack {
            kind: StackKind::VolumeGroup,
            name: "os".to_owned(),
            members: Vec::new(),
            disks: disks.iter().map(|&disk| disk.to_owned()).collect(),
            active,
            nodes: vec!["dm-0".to_owned()],
        }
    }

    fn refused(node: &str, inventory: &Inventory, settings: &Settings) -> String {
        let checked = may_be_written(Path::new(node), inventory, settings);
        checked
            .err()
            .map_or_else(String::new, |error| render(&error))
    }

    #[test]
    fn what_a_run_would_not_touch_is_refused_with_its_partitions() {
        let settings = Settings {
            protect: vec!["S3X9".to_owned()],
            ..Settings::default()
        };
        let disk = Disk {
            serial: "S3X9".to_owned(),
            mounted: true,
            ..Disk::default()
        };
        let inventory = node_with(disk, Vec::new());
        for node in ["/dev/sda", "/dev/sda1"] {
            let text = refused(node, &inventory, &settings);
            assert!(text.contains("is protected (`S3X9`)"), "{text}");
            assert!(text.contains("holds a mounted filesystem"), "{text}");
        }
        assert_eq!(refused("/dev/loop7", &inventory, &settings), "");
    }

    #[test]
    fn what_is_no_disk_is_protected_by_its_name_and_with_the_disks_below_it() {
        let disk = Disk {
            serial: "S3X9".to_owned(),
            ..Disk::default()
        };
        let inventory = node_with(disk, vec![group(&["/dev/sda"], true)]);
        for (entry, device, what) in [
            ("s3x9", "/dev/dm-0", "/dev/sda is protected (`s3x9`)"),
            ("loop7", "/dev/loop7", "/dev/loop7 is protected (`loop7`)"),
        ] {
            let settings = Settings {
                protect: vec![entry.to_owned()],
                ..Settings::default()
            };
            let text = refused(device, &inventory, &settings);
            assert!(text.contains(what), "{text}");
            assert_eq!(refused("/dev/loop8", &inventory, &settings), "");
        }
    }

    #[test]
    fn an_entry_that_protects_nothing_is_told_or_refused() {
        let mut settings = Settings {
            protect: vec!["S3X8".to_owned()],
            ..Settings::default()
        };
        let inventory = node_with(Disk::default(), Vec::new());
        let warnings = may_be_written(Path::new("/dev/sda"), &inventory, &settings).unwrap();
        assert_eq!(
            warnings,
            ["`protect` names `S3X8`, which is not a disk of this node: it protects nothing"]
        );
        settings.protect_strict = true;
        let text = refused("/dev/sda", &inventory, &settings);
        assert!(
            text.contains("`S3X8`, which is not a disk of this node"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_released_for_it() {
        let settings = Settings::default();
        for (stack, allowed) in [
            (group(&["/dev/sda"], true), false),
            (group(&["/dev/sda", "/dev/sdb"], false), false),
            (group(&["/dev/sda"], false), true),
            (group(&["/dev/sdb"], true), true),
        ] {
            let case = format!("{stack:?}");
            let inventory = node_with(Disk::default(), vec![stack]);
            let text = refused("/dev/sda", &inventory, &settings);
            assert_eq!(text.is_empty(), allowed, "{case}: {text}");
        }
    }

    #[test]
    fn what_is_neither_device_nor_file_is_no_target() {
        let find = |path: &str| {
            let found = Target::find(Path::new(path), &Settings::default(), &Cancel::new());
            render(&found.unwrap_err())
        };
        insta::assert_snapshot!(find("/dev/null"), @r"
        error: /dev/null is neither a block device nor a regular file
          hint: name a disk, a partition or a file
        ");
        insta::assert_snapshot!(find("/nowhere/disk"), @r"
        error: cannot find the target /nowhere/disk
          cause: No such file or directory (os error 2)
          hint: `provision inventory` lists the disks; a file is made with `truncate -s SIZE`
        ");
    }
}
