//! The kernels in an installed system's /boot, newest first, each with the initial ramdisk that belongs to it.

use std::cmp::Ordering;

use crate::apply::target_tree::TargetTree;
use crate::model::error::{Error, Kind};

/// A kernel and its initial ramdisk, as GRUB finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Its version; empty for one without.
    pub(super) version: String,
    /// Path in the filesystem that holds /boot.
    pub(super) image: String,
    /// Path in the filesystem that holds /boot.
    pub(super) initrd: String,
}

/// All kernels. `separate`: whether /boot is a filesystem of its own.
pub(super) fn find(tree: &TargetTree, separate: bool) -> Result<Vec<Kernel>, Error> {
    let names = tree.list("boot")?;
    let mut files = Vec::new();
    for name in names {
        let path = format!("boot/{name}");
        if tree.has_file(&path)? && tree.length_of(&path)?.is_some_and(|length| length > 0) {
            files.push(name);
        }
    }
    let kernels = pairs(&files, if separate { "/" } else { "/boot/" });
    if kernels.is_empty() {
        let found = files.iter().any(|name| version(name).is_some());
        let what = if found {
            "the installed system has a kernel in /boot, but no initial ramdisk for it"
        } else {
            "the installed system has no kernel in /boot"
        };
        return Err(Error::new(Kind::Image, what).hint(
            "put a kernel and its initial ramdisk into the image (Debian: `linux-image-amd64`)",
        ));
    }
    Ok(kernels)
}

/// Kernels that have an initial ramdisk: the menu's kernels do not start without, since the root is named by UUID or by
/// the mapper.
fn pairs(files: &[String], folder: &str) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = files
        .iter()
        .filter_map(|name| {
            let version = version(name)?;
            let initrd = initrd(files, version)?;
            Some(Kernel {
                version: version.to_owned(),
                image: format!("{folder}{name}"),
                initrd: format!("{folder}{initrd}"),
            })
        })
        .collect();
    kernels.sort_by(|a, b| preference(&b.version, &a.version));
    // `vmlinuz` beside `vmlinuz-6.1.0-18-amd64` is a link to one of them
    if kernels.iter().any(|kernel| !kernel.version.is_empty()) {
        kernels.retain(|kernel| !kernel.version.is_empty());
    }
    kernels
}

/// The version in a kernel's file name; empty for a plain `vmlinuz`; `None` where it is no kernel, or one put aside.
fn version(name: &str) -> Option<&str> {
    let rest = name
        .strip_prefix("vmlinuz")
        .or_else(|| name.strip_prefix("vmlinux"))?;
    let aside = [
        ".old",
        ".bak",
        ".orig",
        ".dpkg-tmp",
        ".dpkg-new",
        ".dpkg-bak",
        ".hmac",
        "~",
    ];
    if aside.iter().any(|end| rest.ends_with(end)) {
        return None;
    }
    match rest.strip_prefix('-') {
        Some(version) if !version.is_empty() => Some(version),
        None if rest.is_empty() => Some(""),
        _ => None,
    }
}

/// Debian's, Red Hat's, SUSE's and Arch's ways to name it.
fn initrd<'a>(files: &'a [String], version: &str) -> Option<&'a String> {
    let names = if version.is_empty() {
        ["initrd.img", "initrd", "initramfs.img", "initramfs"].map(str::to_owned)
    } else {
        [
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initrd-{version}"),
            format!("initrd-{version}.img"),
        ]
    };
    names
        .iter()
        .find_map(|name| files.iter().find(|file| *file == name))
}

/// A rescue kernel is never the one that starts by itself.
fn preference(a: &str, b: &str) -> Ordering {
    let rescue = |version: &str| version.contains("rescue");
    rescue(b).cmp(&rescue(a)).then_with(|| natural(a, b))
}

/// Numbers by value, the rest by letter; `~` sorts before the end, so that `6.1~rc1` is older than `6.1`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, rest_a) = split(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split(b, |c| !c.is_ascii_digit());
        let by_text = rank(text_a).cmp(&rank(text_b));
        let (number_a, next_a) = split(rest_a, |c| c.is_ascii_digit());
        let (number_b, next_b) = split(rest_b, |c| c.is_ascii_digit());
        let by_number = value(number_a).cmp(&value(number_b));
        let order = by_text.then(by_number);
        if order != Ordering::Equal {
            return order;
        }
        if next_a.is_empty() && next_b.is_empty() {
            return Ordering::Equal;
        }
        (a, b) = (next_a, next_b);
    }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Characters in sorting order: `~`, the end, letters, everything else.
fn rank(text: &str) -> Vec<u32> {
    let one = |c: char| match c {
        '~' => 0,
        c if c.is_ascii_alphabetic() => u32::from(c).saturating_add(2),
        c => u32::from(c).saturating_add(1024),
    };
    text.chars().map(one).chain([1]).collect()
}

fn value(digits: &str) -> u64 {
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(names: &[&str]) -> Vec<String> {
        let files: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let kernels = pairs(&files, "/");
        kernels
            .into_iter()
            .map(|kernel| format!("{} {}", kernel.image, kernel.initrd))
            .collect()
    }

    #[test]
    fn the_newest_comes_first_by_number_not_by_letter() {
        let names = [
            "initrd.img-6.1.0-18-amd64",
            "initrd.img-6.1.0-9-amd64",
            "vmlinuz-6.1.0-18-amd64",
            "vmlinuz-6.1.0-9-amd64",
            "config-6.1.0-18-amd64",
            "System.map-6.1.0-18-amd64",
        ];
        assert_eq!(
            found(&names),
            [
                "/vmlinuz-6.1.0-18-amd64 /initrd.img-6.1.0-18-amd64",
                "/vmlinuz-6.1.0-9-amd64 /initrd.img-6.1.0-9-amd64",
            ]
        );
    }

    #[test]
    fn red_hats_names_and_its_rescue_kernel() {
        let names = [
            "initramfs-0-rescue-6f1c.img",
            "initramfs-5.14.0-427.el9.x86_64.img",
            "initramfs-5.14.0-427.el9.x86_64kdump.img",
            "vmlinuz-0-rescue-6f1c",
            "vmlinuz-5.14.0-427.el9.x86_64",
            ".vmlinuz-5.14.0-427.el9.x86_64.hmac",
        ];
        assert_eq!(
            found(&names),
            [
                "/vmlinuz-5.14.0-427.el9.x86_64 /initramfs-5.14.0-427.el9.x86_64.img",
                "/vmlinuz-0-rescue-6f1c /initramfs-0-rescue-6f1c.img",
            ]
        );
    }

    #[test]
    fn what_was_put_aside_or_has_no_ramdisk_is_no_choice() {
        let names = [
            "initrd.img-6.1",
            "vmlinuz-6.1",
            "vmlinuz-6.1.old",
            "vmlinuz-6.5",
            "vmlinuz-",
        ];
        assert_eq!(found(&names), ["/vmlinuz-6.1 /initrd.img-6.1"]);
    }

    #[test]
    fn a_kernel_without_version_serves_where_there_is_no_other() {
        assert_eq!(found(&["vmlinuz", "initrd.img"]), ["/vmlinuz /initrd.img"]);
        let both = ["vmlinuz", "initrd.img", "vmlinuz-6.1", "initrd.img-6.1"];
        assert_eq!(found(&both), ["/vmlinuz-6.1 /initrd.img-6.1"]);
    }

    #[test]
    fn versions_in_their_order() {
        let ordered = [
            "5.4",
            "5.10.0-8",
            "5.10.0-8-rt",
            "5.10.1",
            "6.1~rc1",
            "6.1",
            "6.1.0",
        ];
        for (n, a) in ordered.iter().enumerate() {
            for (m, b) in ordered.iter().enumerate() {
                assert_eq!(natural(a, b), n.cmp(&m), "{a} {b}");
            }
        }
    }

    #[test]
    fn none_is_an_error_that_says_which_half_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let tree = TargetTree::at(folder.path());
        let error = find(&tree, true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the installed system has no kernel in /boot"
        );
        assert_eq!(error.kind, Kind::Image);
        tree.write("boot/vmlinuz-6.1", "x", 0o644).unwrap();
        tree.write("boot/initrd.img-6.1", "", 0o644).unwrap();
        let error = find(&tree, true).unwrap_err();
        assert!(error.to_string().contains("no initial ramdisk"), "{error}");
    }

    proptest! {
        #[test]
        fn the_order_is_an_order(a in "[0-9a-c.~-]{0,12}", b in "[0-9a-c.~-]{0,12}", c in "[0-9a-c.~-]{0,12}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
