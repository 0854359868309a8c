//! Names and sizes as they stand in plans, for people and in JSON.

use host::units::Bytes;

use crate::model::request::Container;
use crate::model::storage::{Mount, Role};

/// A role as the Plan JSON spells it.
pub(in crate::plan) const fn role(role: Role) -> &'static str {
    match role {
        Role::BiosGrub => "bios-grub",
        Role::Esp => "esp",
        Role::Boot => "boot",
        Role::Data => "data",
        Role::Raid => "raid",
        Role::Pv => "pv",
        Role::Swap => "swap",
        Role::Configdrive => "configdrive",
    }
}

/// A container as requests spell it.
pub(in crate::plan) const fn container(container: Container) -> &'static str {
    match container {
        Container::Raw => "raw",
        Container::Gzip => "gzip",
        Container::Zstd => "zstd",
        Container::Xz => "xz",
        Container::Bzip2 => "bzip2",
        Container::Qcow2 => "qcow2",
    }
}

/// Where a filesystem is mounted, for a sentence.
pub(in crate::plan) fn purpose(mount: Option<&Mount>) -> String {
    match mount {
        Some(Mount::Path(path)) => path.clone(),
        Some(Mount::Swap) => "swap".to_owned(),
        None => "no mount point".to_owned(),
    }
}

/// Forecast of a partition's device node. The kernel puts a `p` where the disk's name ends in a digit; multipath maps
/// have `-part`. For display only: code that opens a partition takes its node from sysfs.
pub(in crate::plan) fn partition_node(disk: &str, number: u32) -> String {
    let separator = if disk.starts_with("/dev/mapper/") {
        "-part"
    } else if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    format!("{disk}{separator}{number}")
}

/// An amount in at most four digits, for headers and maps: exact where that is short, else rounded down with a `~`.
pub(in crate::plan) fn short(bytes: Bytes) -> String {
    let exact = bytes.to_string();
    if exact.len() <= 8 && (bytes.0 < 1024 || !exact.ends_with(" B")) {
        return exact;
    }
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in units {
        let tenths = (u128::from(bytes.0) * 10) >> shift;
        if tenths >= 10 {
            return match tenths % 10 {
                tenth if tenths < 1000 && tenth > 0 => format!("~{}.{tenth} {name}", tenths / 10),
                _ => format!("~{} {name}", tenths / 10),
            };
        }
    }
    exact
}

/// Several names in a sentence.
pub(in crate::plan) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_the_kernel_will() {
        for (disk, node) in [
            ("/dev/sda", "/dev/sda3"),
            ("/dev/vdb", "/dev/vdb3"),
            ("/dev/nvme0n1", "/dev/nvme0n1p3"),
            ("/dev/mmcblk0", "/dev/mmcblk0p3"),
            ("/dev/md123", "/dev/md123p3"),
            ("/dev/cciss/c0d0", "/dev/cciss/c0d0p3"),
            ("/dev/loop7", "/dev/loop7p3"),
            ("/dev/mapper/12312", "/dev/mapper/12312-part3"),
        ] {
            assert_eq!(partition_node(disk, 3), node);
        }
    }

    #[test]
    fn short_sizes_never_pretend_to_be_exact() {
        for (bytes, text) in [
            (0, "0 B"),
            (440, "440 B"),
            (65976, "~64.4 KiB"),
            (25_166_264, "~24 MiB"),
            (20 << 30, "20 GiB"),
            (1025 << 20, "1025 MiB"),
            (500_107_862_016, "~465 GiB"),
            (19438 << 20, "~18.9 GiB"),
            (4_000_787_030_016, "~3.6 TiB"),
        ] {
            assert_eq!(short(Bytes(bytes)), text);
        }
    }
}
