//! What the ramdisk and the command line say about planning.

use crate::inventory::Disk;
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
    /// Removable disks may be chosen (`provision.allow_removable`).
    pub allow_removable: bool,
    /// A kernel name may decide although ids were given and none matched (`provision.match=name`).
    pub match_by_name: bool,
    /// Images without a digest may be written (`--allow-unverified`).
    pub allow_unverified: bool,
    /// Whether only packed images that a trusted key signed are written.
    pub require_signature: bool,
    /// The oldest release of a packed image that is written.
    pub min_release: u64,
    /// Where cloud-init of the installed system calls when it is done (`provision.phone_home=URL`).
    pub phone_home: Option<RedactedUrl>,
    /// The installed kernel is to be started without the firmware (`provision.end=kexec`).
    pub kexec: bool,
}

impl Options {
    /// The entry of `protect` that means `disk`, if any does.
    pub fn protects(&self, disk: &Disk) -> Option<&str> {
        self.protect
            .iter()
            .map(String::as_str)
            .find(|entry| means(entry, disk))
    }
}

/// Whether `entry` is one of the names of `disk`: whole names only, never a part of one.
fn means(entry: &str, disk: &Disk) -> bool {
    if entry.is_empty() {
        return false;
    }
    let is_name_of = |path: &str| {
        path == entry
            || path.strip_prefix("/dev/") == Some(entry)
            || path.rsplit('/').next() == Some(entry)
    };
    entry == disk.serial
        || entry == disk.wwn
        || is_name_of(&disk.path)
        || disk.links.iter().any(|link| is_name_of(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        Disk {
            path: "/dev/sda".to_owned(),
            serial: "S3X9".to_owned(),
            wwn: "0x5000c500a1b2c3d4".to_owned(),
            links: vec![
                "/dev/disk/by-id/ata-ST4000_S3X9".to_owned(),
                "/dev/disk/by-path/pci-0000:00:1f.2-ata-1".to_owned(),
            ],
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
}
