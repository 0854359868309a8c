//! The built-in files of a ramdisk: init and its scripts, configuration, folders and links.

use std::fs;

use crate::compose::BuildOptions;
use crate::error::{self, Error};
use crate::tree::{EntryKind, Tree};
use crate::{authorities, host_key};

/// Scripts: path in the ramdisk and text.
const SCRIPTS: [(&str, &str); 8] = [
    ("init", include_str!("../files/init")),
    ("usr/lib/provision/main", include_str!("../files/main")),
    (
        "usr/lib/provision/network",
        include_str!("../files/network"),
    ),
    (
        "usr/lib/provision/dhcp-hook",
        include_str!("../files/dhcp-hook"),
    ),
    ("usr/lib/provision/ssh", include_str!("../files/ssh")),
    ("usr/lib/provision/shell", include_str!("../files/shell")),
    (
        "usr/lib/provision/watch-firmware",
        include_str!("../files/watch-firmware"),
    ),
    (
        "usr/lib/provision/functions",
        include_str!("../files/functions"),
    ),
];

/// Configuration files: path in the ramdisk and text.
const SETTINGS: [(&str, &str); 10] = [
    ("etc/dhcpcd.conf", include_str!("../files/dhcpcd.conf")),
    ("etc/lvm/lvm.conf", include_str!("../files/lvm.conf")),
    ("etc/passwd", include_str!("../files/passwd")),
    ("etc/group", include_str!("../files/group")),
    ("etc/shells", "/bin/sh\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "hosts: files dns\nservices: files\n"),
    // The clients that set the clock look up their port by name.
    ("etc/services", "ntp 123/udp\ntime 37/tcp\n"),
    // mdadm must not assemble arrays that it finds on the disks.
    ("etc/mdadm/mdadm.conf", "AUTO -all\nHOMEHOST <ignore>\n"),
    ("etc/mtab", ""),
];

/// Other names of programs: link and target.
const LINKS: [(&str, &str); 16] = [
    ("usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm"),
    ("usr/sbin/udevadm", "../bin/udevadm"),
    ("usr/sbin/modprobe", "../bin/kmod"),
    ("usr/sbin/insmod", "../bin/kmod"),
    ("usr/sbin/rmmod", "../bin/kmod"),
    ("usr/sbin/modinfo", "../bin/kmod"),
    ("usr/bin/lsmod", "kmod"),
    ("usr/sbin/mkfs.ext2", "mke2fs"),
    ("usr/sbin/mkfs.ext3", "mke2fs"),
    ("usr/sbin/mkfs.ext4", "mke2fs"),
    ("usr/sbin/fsck.ext4", "e2fsck"),
    // They signal init.
    ("usr/sbin/reboot", "../bin/busybox"),
    ("usr/sbin/poweroff", "../bin/busybox"),
    ("usr/sbin/halt", "../bin/busybox"),
    // The path that dropbear uses.
    ("usr/lib/sftp-server", "openssh/sftp-server"),
    ("var/run", "../run"),
];

/// Applets of busybox, each of which gets a link.
const APPLETS: &str = include_str!("../files/applets");

/// Mount points and writable folders, with their permissions.
const FOLDERS: [(&str, u32); 10] = [
    ("dev", 0o755),
    ("proc", 0o755),
    ("sys", 0o755),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("mnt", 0o755),
    ("root", 0o700),
    ("root/.ssh", 0o700),
    ("var/lib/dhcpcd", 0o755),
    ("etc/dropbear", 0o700),
];

/// Adds the built-in files, and those that `options` name, to the tree.
pub(crate) fn take(tree: &mut Tree, options: &BuildOptions, built: u32) -> Result<(), Error> {
    for (path, permissions) in FOLDERS {
        tree.folder("base", path, permissions)?;
    }
    for (path, text) in SCRIPTS {
        tree.text("init", path, 0o755, text)?;
    }
    for (path, text) in SETTINGS {
        tree.text("init", path, 0o644, text)?;
    }
    for (path, target) in LINKS {
        tree.link("base", path, target)?;
    }
    for applet in APPLETS.split_whitespace() {
        let path = format!("usr/bin/{applet}");
        if !tree.contains(&path) {
            tree.link("base", &path, "busybox")?;
        }
    }
    // The kernel opens it for init before devtmpfs is mounted.
    let console = EntryKind::Character { major: 5, minor: 1 };
    tree.insert("base", "dev/console", 0o600, console)?;
    tree.text(
        "init",
        "usr/share/provision/built",
        0o644,
        &format!("{built}\n"),
    )?;
    if let Some(path) = &options.authorized_keys {
        let text = fs::read_to_string(path).map_err(error::io("read", path))?;
        check_keys(&text)?;
        tree.text("init", "root/.ssh/authorized_keys", 0o600, &text)?;
    }
    if let Some(path) = &options.host_key {
        let bytes = fs::read(path).map_err(error::io("read", path))?;
        let key = host_key::read(&bytes)?;
        let fingerprint = key.fingerprint.as_deref().unwrap_or("of another kind");
        tracing::info!(fingerprint, "host key of the ssh server");
        let content = EntryKind::File(key.bytes);
        tree.insert("init", "etc/dropbear/host_key", 0o600, content)?;
    }
    settings(tree, options)
}

/// Where the ramdisk has the authorities of `--ca`.
const AUTHORITIES: &str = "etc/provision/ca.pem";

/// The agent's settings, and the authorities that they name.
fn settings(tree: &mut Tree, options: &BuildOptions) -> Result<(), Error> {
    let mut text = String::new();
    if let Some(path) = &options.conf {
        text = fs::read_to_string(path).map_err(error::io("read", path))?;
    }
    if let Some(path) = &options.ca {
        let pem = fs::read_to_string(path).map_err(error::io("read", path))?;
        for warning in authorities::check(&pem, i64::from(options.now))? {
            tracing::warn!("{warning}");
        }
        tree.text("init", AUTHORITIES, 0o644, &pem)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text = format!("{text}ca=/{AUTHORITIES}\n");
    }
    if options.conf.is_some() || options.ca.is_some() {
        tree.text("init", "etc/provision.conf", 0o600, &text)?;
    }
    Ok(())
}

/// Refuses private keys, and a file without any key.
fn check_keys(text: &str) -> Result<(), Error> {
    let usage = |what: &str| {
        Err(Error::Usage {
            what: what.to_owned(),
        })
    };
    if text.contains("PRIVATE KEY") {
        return usage("`--authorized-keys` has a private key; give the file that ends in `.pub`");
    }
    let is_key = |line: &str| {
        ["ssh-", "ecdsa-", "sk-"]
            .iter()
            .any(|kind| line.starts_with(kind) || line.contains(&format!(" {kind}")))
    };
    if text
        .lines()
        .any(|line| !line.starts_with('#') && is_key(line))
    {
        Ok(())
    } else {
        usage("the file of `--authorized-keys` has no key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_are_accepted() {
        check_keys("# mine\nssh-ed25519 AAAA me\n").unwrap();
        check_keys("from=\"10.0.0.1\" ecdsa-sha2-nistp256 AAAA\n").unwrap();
        for bad in [
            "",
            "# ssh-ed25519 AAAA",
            "hello",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nssh-ed25519",
        ] {
            assert!(check_keys(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_script_is_run_by_sh() {
        for (path, text) in SCRIPTS {
            if path != "usr/lib/provision/functions" {
                assert!(text.starts_with("#!/bin/sh\n"), "{path}");
            }
        }
    }
}
