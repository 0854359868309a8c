//! Texts that end up in commands and files of the installed system: which of them would do harm there.
//!
//! Upstream checks none of them; with these it would fail half way, with the data already gone, or write a broken file.

use std::net::IpAddr;

use crate::model::storage::LogicalVolumeSpec;

/// Why a mount point cannot be used: it is a field of fstab and a path below the target.
pub(super) fn bad_mount(mount: &str) -> Option<&'static str> {
    if mount == "swap" {
        None
    } else if !mount.starts_with('/') {
        Some("is neither an absolute path nor `swap`")
    } else if mount.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some("has white space or control characters in it, which fstab cannot hold")
    } else if mount.contains('\\') {
        Some("has a backslash in it, which fstab reads as the start of a code")
    } else if mount.split('/').any(|part| part == "." || part == "..") {
        Some("has `.` or `..` in it")
    } else {
        None
    }
}

/// Why a filesystem type cannot be one: it becomes the name of a program and a field of fstab.
pub(super) fn bad_filesystem(kind: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if kind.is_empty() {
        Some("is empty")
    } else if !kind.chars().all(allowed) || kind.starts_with(['-', '.']) {
        Some("is not a valid filesystem type")
    } else {
        None
    }
}

/// Why LVM would refuse it as a name of a volume group.
pub(super) fn bad_volume_group(name: &str) -> Option<&'static str> {
    // These exist under /dev on every system, and LVM needs /dev/NAME for itself.
    const TAKEN: [&str; 22] = [
        "block",
        "bus",
        "char",
        "console",
        "cpu",
        "disk",
        "dri",
        "fd",
        "full",
        "input",
        "kmsg",
        "loop-control",
        "mapper",
        "mem",
        "net",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "tty",
        "zero",
    ];
    bad_lvm(name).or_else(|| {
        TAKEN
            .contains(&name)
            .then_some("is the name of something else under /dev")
    })
}

/// Why LVM would refuse it as a name of a logical volume.
pub(super) fn bad_logical_volume(name: &str) -> Option<&'static str> {
    const INSIDE: [&str; 15] = [
        "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_mlog", "_mimage", "_pmspare", "_rimage",
        "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig",
    ];
    bad_lvm(name).or_else(|| {
        let reserved = name.starts_with("snapshot")
            || name.starts_with("pvmove")
            || INSIDE.iter().any(|part| name.contains(part));
        reserved.then_some("is a name that LVM keeps for itself")
    })
}

/// Why LVM or device-mapper would refuse a logical volume beside those that are there already, and what would be right.
pub(super) fn bad_new_volume(
    volume: &LogicalVolumeSpec,
    others: &[LogicalVolumeSpec],
) -> Option<(&'static str, &'static str)> {
    let device = volume.device();
    if let Some(why) = bad_logical_volume(&volume.name) {
        Some((why, LVM_HINT))
    } else if others.iter().any(|other| other.device() == device) {
        let hint = "give each volume of a group a name of its own";
        Some(("is in use already in this volume group", hint))
    } else if device
        .strip_prefix("/dev/mapper/")
        .is_some_and(|name| name.len() > 127)
    {
        let why = "makes, with the name of its group, more than the 127 characters that device-mapper takes";
        Some((why, "shorten one of the names (a hyphen counts twice)"))
    } else {
        None
    }
}

fn bad_lvm(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '_' | '.' | '-');
    if name.is_empty() {
        Some("is empty")
    } else if name == "." || name == ".." {
        Some("is `.` or `..`")
    } else if name.starts_with('-') {
        Some("starts with a hyphen")
    } else if !name.chars().all(allowed) {
        Some("has characters other than letters, digits and `+_.-`")
    } else if name.len() > 127 {
        Some("is longer than 127 characters")
    } else {
        None
    }
}

/// What a good LVM name is, for hints.
pub(super) const LVM_HINT: &str = "use letters, digits and `+_.-`, no leading hyphen, at most 127 characters, none of \
                                   LVM's own names";

/// Whether it can name a network interface, a file and a rule. The kernel takes more, but network scripts read the
/// name as shell, and `@` is a template's to systemd.
pub(super) fn is_interface_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 15 && name.chars().all(good) && !name.starts_with(['.', '-'])
}

/// Whether it can be a host name, qualified or not.
pub(super) fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            && !label.starts_with('-')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(label)
}

/// The hardware address in lower case, if it is one: six bytes, or twenty (InfiniBand).
pub(super) fn mac(text: &str) -> Option<String> {
    let bytes: Vec<&str> = text.split(':').collect();
    let hexadecimal = |byte: &&str| byte.len() == 2 && byte.chars().all(|c| c.is_ascii_hexdigit());
    (matches!(bytes.len(), 6 | 20) && bytes.iter().all(hexadecimal))
        .then(|| text.to_ascii_lowercase())
}

/// Length of the prefix that a netmask means: `255.255.255.0`, `ffff:ffff::`, or just `24`.
pub(super) fn prefix(netmask: &str, address: IpAddr) -> Option<u8> {
    let width: u32 = if address.is_ipv4() { 32 } else { 128 };
    if let Ok(length) = netmask.parse::<u32>() {
        return u8::try_from(length).ok().filter(|_| length <= width);
    }
    let bits: u128 = match (netmask.parse().ok()?, address) {
        (IpAddr::V4(mask), IpAddr::V4(_)) => u128::from(u32::from(mask)) << 96,
        (IpAddr::V6(mask), IpAddr::V6(_)) => u128::from(mask),
        _ => return None,
    };
    let ones = bits.leading_ones();
    // No hole: shifted by its leading ones, nothing is left.
    let rest = bits.checked_shl(ones).unwrap_or(0);
    u8::try_from(ones).ok().filter(|_| rest == 0)
}

/// The text without the literal double quotes that Fuel's serializer puts around keys and name servers.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text)
        .trim()
}

/// Whether it has characters that end a line or worse.
pub(super) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_fstab_or_the_target_cannot_hold_are_refused() {
        for good in [
            "/",
            "/boot",
            "/var/lib/nova",
            "swap",
            "/srv/a-b_c.d",
            "/mnt/ü",
        ] {
            assert_eq!(bad_mount(good), None, "{good}");
        }
        for bad in [
            "", "tmp", "none", "/a b", "/a\tb", "/a\n/b", "/a\\040b", "/../etc", "/a/./b", "/a/..",
        ] {
            assert!(bad_mount(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_what_lvm_takes() {
        for good in ["os", "vm-01", "a+b_c.d", &"x".repeat(127)] {
            assert_eq!(bad_volume_group(good), None, "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-os",
            "a b",
            "a/b",
            "ü",
            "mapper",
            &"x".repeat(128),
        ] {
            assert!(bad_volume_group(bad).is_some(), "{bad:?}");
        }
        for bad in ["snapshot1", "pvmove0", "a_rimage_0", "x_tdata", "a\nb"] {
            assert!(bad_logical_volume(bad).is_some(), "{bad:?}");
        }
        assert_eq!(bad_logical_volume("root"), None);
    }

    #[test]
    fn interface_names_mean_nothing_to_a_shell() {
        for good in ["eth0", "eno1_lan", "br-ex", "eth0.100", "enp0s3f1np1"] {
            assert!(is_interface_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-x",
            "eth0:1",
            "a b",
            "$(x)",
            "a;b",
            "\u{202e}x",
            "a234567890123456",
            "a/b",
            "a@b",
            "é0",
            "a`b",
            "a*",
        ] {
            assert!(!is_interface_name(bad), "{bad}");
        }
    }

    #[test]
    fn netmasks_become_prefixes() {
        let four: IpAddr = "10.0.0.1".parse().unwrap();
        let six: IpAddr = "fd00::1".parse().unwrap();
        for (mask, address, length) in [
            ("255.255.255.0", four, Some(24)),
            ("255.255.255.255", four, Some(32)),
            ("0.0.0.0", four, Some(0)),
            ("255.0.255.0", four, None),
            ("24", four, Some(24)),
            ("33", four, None),
            ("-1", four, None),
            ("", four, None),
            ("ffff:ffff:ffff:ffff::", six, Some(64)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", six, Some(128)),
            ("64", six, Some(64)),
            ("255.255.255.0", six, None),
            ("ffff::", four, None),
        ] {
            assert_eq!(prefix(mask, address), length, "{mask}");
        }
    }

    #[test]
    fn quotes_come_off_once_and_only_in_pairs() {
        for (text, bare) in [
            ("\"a\"", "a"),
            ("\"\"", ""),
            ("a", "a"),
            ("\"a", "\"a"),
            (" \" a \" ", "a"),
            ("\"", "\""),
        ] {
            assert_eq!(unquoted(text), bare, "{text}");
        }
    }

    #[test]
    fn addresses_on_the_wire_are_compared_in_lower_case() {
        assert_eq!(
            mac("08:00:27:79:DA:80").as_deref(),
            Some("08:00:27:79:da:80")
        );
        for bad in [
            "",
            "08:00:27:79:da",
            "08-00-27-79-da-80",
            "08:00:27:79:da:8g",
            "080:0:27:79:da:80",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}
