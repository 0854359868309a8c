//! Settings of the ramdisk and options of the command line that concern planning.

use crate::model::first_boot::FirstBootSwitches;
use crate::model::inventory::{Disk, Inventory};
use crate::model::trust::ImagePolicy;
use crate::model::url::RedactedUrl;

/// Settings that planning obeys. None of them can be weakened by a request.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and a key of the table of settings"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Disks that are never written to: by-id or by-path names, serial numbers, wwns, or nodes.
    pub protect: Vec<String>,
    /// An entry of `protect` that is no disk of the node is a refusal (`provision.protect.strict`).
    pub protect_strict: bool,
    /// Removable disks may be chosen (`provision.allow_removable`).
    pub allow_removable: bool,
    /// Other cloud-init data may stay within reach of the installed system (`provision.allow_other_seeds`).
    pub allow_other_seeds: bool,
    /// A kernel name may decide although ids were given and none matched (`provision.match=name`).
    pub match_by_name: bool,
    /// Images without a digest may be written (`--allow-unverified`).
    pub allow_unverified: bool,
    /// What is required of images.
    pub images: ImagePolicy,
    /// Where cloud-init of the installed system calls when it is done (`provision.phone_home=URL`).
    pub phone_home: Option<RedactedUrl>,
    /// What the installed system may change of itself at its first boot.
    pub first_boot: FirstBootSwitches,
    /// The installed kernel is to be started without the firmware (`provision.end=kexec`).
    pub kexec: bool,
    /// On BIOS nodes the protective entry of a disk with boot code is marked active (`provision.gpt_active`).
    pub gpt_active: bool,
}

impl Options {
    /// The entry of `protect` that means `disk`, if any does.
    pub fn protects(&self, disk: &Disk) -> Option<&str> {
        self.protect
            .iter()
            .map(String::as_str)
            .find(|entry| means(entry, disk))
    }

    /// The entries of `protect` that mean no disk of this node. Where files stand for disks, nothing else can be
    /// written to, and there are none.
    pub fn protects_nothing(&self, inventory: &Inventory) -> Vec<&str> {
        if inventory.disks.iter().any(|disk| disk.transport == "file") {
            return Vec::new();
        }
        let entries = self.protect.iter().map(String::as_str);
        entries
            .filter(|entry| !inventory.disks.iter().any(|disk| means(entry, disk)))
            .collect()
    }
}

/// Whether `entry` is one of the names of `disk`, or of a partition on it: whole names only, never a part of one. Case
/// does not count, and of a wwn neither do `0x` and colons, as each tool writes it in another way.
fn means(entry: &str, disk: &Disk) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    if entry.is_empty() {
        return false;
    }
    let is_name = |path: &str| {
        let path = path.to_ascii_lowercase();
        path == entry
            || path.strip_prefix("/dev/") == Some(&entry)
            || path.rsplit('/').next() == Some(&entry)
    };
    let serial = entry.strip_prefix("serial:").unwrap_or(&entry);
    is_wwn(&entry, &disk.wwn)
        || (!serial.is_empty() && serial == disk.serial.trim().to_ascii_lowercase())
        || is_name(&disk.path)
        || disk.links.iter().any(|link| is_name(link))
        || disk.partitions.iter().any(|part| is_name(&part.path))
}

/// Whether `entry`, in lower case, is this world-wide name: `0x5000c500a1b2c3d4`, `wwn-0x…`, `naa.…`, `50:00:c5:…`.
fn is_wwn(entry: &str, wwn: &str) -> bool {
    let plain = |text: &str| -> String {
        let text = text.trim().to_ascii_lowercase();
        let mut rest = text.as_str();
        for prefix in [
            "/dev/",
            "disk/by-id/",
            "wwn:",
            "wwn-",
            "naa.",
            "eui.",
            "uuid.",
            "0x",
        ] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        rest.replace([':', '-'], "")
    };
    let wwn = plain(wwn);
    !wwn.is_empty() && plain(entry) == wwn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::ExistingPartition;

    fn disk() -> Disk {
        Disk {
            path: "/dev/sda".to_owned(),
            serial: "S3X9".to_owned(),
            wwn: "0x5000c500a1b2c3d4".to_owned(),
            links: vec![
                "/dev/disk/by-id/ata-ST4000_S3X9".to_owned(),
                "/dev/disk/by-path/pci-0000:00:1f.2-ata-1".to_owned(),
            ],
            partitions: vec![ExistingPartition {
                path: "/dev/sda1".to_owned(),
                ..ExistingPartition::default()
            }],
            ..Disk::default()
        }
    }

    #[test]
    fn a_disk_is_protected_by_any_of_its_names_and_by_no_part_of_one() {
        for (entry, protected) in [
            ("/dev/sda", true),
            ("sda", true),
            ("S3X9", true),
            ("0x5000c500a1b2c3d4", true),
            ("ata-ST4000_S3X9", true),
            ("disk/by-id/ata-ST4000_S3X9", true),
            ("/dev/disk/by-path/pci-0000:00:1f.2-ata-1", true),
            ("s3x9", true),
            (" S3X9 ", true),
            ("serial:S3X9", true),
            ("0x5000C500A1B2C3D4", true),
            ("5000c500a1b2c3d4", true),
            ("5000C500A1B2C3D4\t", true),
            ("50:00:c5:00:a1:b2:c3:d4", true),
            ("naa.5000c500a1b2c3d4", true),
            ("wwn:0x5000c500a1b2c3d4", true),
            ("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", true),
            ("/dev/disk/by-id/ATA-ST4000_S3X9", true),
            ("/dev/sda1", true),
            ("sda1", true),
            ("sda2", false),
            ("0x", false),
            ("wwn-", false),
            (" ", false),
            ("5000c500a1b2c3d", false),
            ("sd", false),
            ("S3X", false),
            ("/dev/sdaa", false),
            ("", false),
        ] {
            let options = Options {
                protect: vec!["other".to_owned(), entry.to_owned()],
                ..Options::default()
            };
            assert_eq!(options.protects(&disk()).is_some(), protected, "{entry}");
        }
    }

    #[test]
    fn a_disk_without_identity_is_not_protected_by_an_entry_without_one() {
        let options = Options {
            protect: ["", "0x", "wwn:", "serial:"].map(str::to_owned).into(),
            ..Options::default()
        };
        assert_eq!(options.protects(&Disk::default()), None);
    }

    #[test]
    fn entries_that_protect_nothing_are_known() {
        let options = Options {
            protect: ["S3X9", "S3X8", "0x5000c500a1b2c3d4 "]
                .map(str::to_owned)
                .into(),
            ..Options::default()
        };
        let mut node = Inventory {
            disks: vec![disk()],
            ..Inventory::default()
        };
        assert_eq!(options.protects_nothing(&node), ["S3X8"]);
        node.disks[0].transport = "file".to_owned();
        assert_eq!(options.protects_nothing(&node), [""; 0]);
    }
}
