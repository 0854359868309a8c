//! The Debian recipe: packages, and the files that configure the image.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use host::exec::Cmd;

use crate::cli::{Build, ImageOptions, Kind};
use crate::tools::Tool;

/// Code name of the release.
pub(crate) const RELEASE: &str = "bookworm";

/// Debian's name of the image's architecture.
pub(crate) const ARCHITECTURE: &str = "amd64";

/// Packages of every image: a system that boots from any layout of `provision`, with an ssh server.
const PACKAGES: [&str; 31] = [
    "ca-certificates",
    "cloud-init",
    "dbus",
    "dosfstools",
    "e2fsprogs",
    "gdisk",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "grub2-common",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "locales",
    "libpam-systemd",
    "lvm2",
    "mdadm",
    "nano",
    "netbase",
    "openssh-server",
    "procps",
    // a dependency of cloud-init needs a virtual package of this one, which only apt's resolver finds
    "python3-cffi-backend",
    "rsyslog",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
    "xfsprogs",
];

/// Excluded paths: a third of the image's size, and not needed on a node.
const LEFT_OUT: [&str; 4] = [
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
];

/// Makes the locale that Fuel's templates select: otherwise every node would spend seconds on it at its first boot. A
/// hook of mmdebstrap, which runs it by a shell with the root as `$1`.
const LOCALE: &str = concat!(
    r#"sed -i 's/^# *\(en_US\.UTF-8 \)/\1/' "$1/etc/locale.gen""#,
    r#" && chroot "$1" locale-gen && chroot "$1" locale -a | grep -qx en_US.utf8"#
);

/// Installs updates on its own; not part of every image.
const UNATTENDED_UPGRADES: &str = "unattended-upgrades";

/// What mmdebstrap installs into every system, as apt's patterns.
const BASE: [&str; 3] = ["?essential", "?priority(required)", "apt"];

/// Every package that is installed by name: the recipe's, the kernel, and those asked for.
pub(crate) fn packages(options: &Build) -> Vec<String> {
    let own = PACKAGES.iter().copied().chain([options.kernel.as_str()]);
    let upgrades = options.unattended_upgrades.then_some(UNATTENDED_UPGRADES);
    let own = own.chain(upgrades).map(str::to_owned);
    own.chain(options.packages.iter().cloned()).collect()
}

/// What the packages of an image are resolved from.
pub(crate) fn roots(options: &Build) -> Vec<String> {
    let base = BASE.iter().map(|&pattern| pattern.to_owned());
    base.chain(packages(options)).collect()
}

/// The mmdebstrap command that unpacks a system into `root` from the archives in the file `sources`. debootstrap does
/// not resolve virtual packages. `time` is what the packages' scripts are told instead of the time, in seconds since
/// 1970.
pub(crate) fn unpack(root: &Path, sources: &Path, packages: &[String], time: u32) -> Cmd {
    let mut cmd = Cmd::new(Tool::Mmdebstrap)
        .args(["--variant=minbase", "--format=directory"])
        .arg(format!("--architectures={ARCHITECTURE}"))
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        // of use on the node: mmdebstrap leaves these options in the image
        .arg("--aptopt=Acquire::Retries \"5\"")
        .arg("--dpkgopt=force-unsafe-io");
    for path in LEFT_OUT {
        cmd = cmd.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    // copyright files stay: the licences require it
    cmd = cmd.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
    cmd.arg(format!("--customize-hook={LOCALE}"))
        .arg(format!("--include={}", packages.join(",")))
        .arg(RELEASE)
        .arg(root)
        .arg(sources)
        .env("SOURCE_DATE_EPOCH", time.to_string())
        // compiled Python files have the order of sets in them
        .env("PYTHONHASHSEED", "0")
        .timeout(std::time::Duration::from_hours(1))
}

/// Properties of the image; `has_security` is whether its packages come from an archive with security fixes too.
pub(crate) fn image_options(options: &Build, has_security: bool) -> ImageOptions {
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&w| w.to_owned()).collect() };
    let mut features = words(&["lvm", "md", "cloud-init", "grub-pc", "grub-efi"]);
    if options.unattended_upgrades {
        features.push(UNATTENDED_UPGRADES.to_owned());
    }
    if !has_security {
        features.push("no-security-updates".to_owned());
    }
    ImageOptions {
        kind: Some(Kind::Filesystem),
        mount: String::from("/"),
        sector_size: None,
        os_family: Some(String::from("debian")),
        os_name: Some(String::from("Debian GNU/Linux")),
        os_version: Some(String::from("12")),
        os_codename: Some(RELEASE.to_owned()),
        architecture: Some(String::from("x86_64")),
        firmware: words(&["bios", "uefi"]),
        features,
    }
}

/// A file of the image.
struct File {
    path: &'static str,
    mode: u32,
    text: &'static str,
}

/// Configuration that the packages do not have. cloud-init, puppet or an administrator may change it.
const FILES: [File; 9] = [
    File {
        path: "etc/hostname",
        mode: 0o644,
        text: "localhost\n",
    },
    File {
        path: "etc/hosts",
        mode: 0o644,
        text: "127.0.0.1\tlocalhost\n\
               ::1\tlocalhost ip6-localhost ip6-loopback\n\
               ff02::1\tip6-allnodes\n\
               ff02::2\tip6-allrouters\n",
    },
    // empty, so that systemd sets it at the first boot: every node gets its own
    File {
        path: "etc/machine-id",
        mode: 0o444,
        text: "",
    },
    File {
        path: "etc/cloud/cloud.cfg.d/90_datasource.cfg",
        mode: 0o644,
        text: "# The configdrive that provision writes: NoCloud by default, ConfigDrive where it is asked for.\n\
               datasource_list: [NoCloud, ConfigDrive, None]\n",
    },
    File {
        path: "etc/cloud/cloud.cfg.d/91_fast.cfg",
        mode: 0o644,
        text: "# DSA keys are refused by today's ssh, and making RSA keys takes the slowest machines minutes.\n\
               ssh_genkeytypes: [ed25519, ecdsa]\n\
               # Volumes are laid out by provision.\n\
               growpart: {mode: off}\n\
               resize_rootfs: false\n",
    },
    File {
        path: "etc/default/grub",
        mode: 0o644,
        text: "GRUB_DEFAULT=0\n\
               GRUB_TIMEOUT=5\n\
               GRUB_DISTRIBUTOR=Debian\n\
               GRUB_CMDLINE_LINUX_DEFAULT=\"\"\n\
               GRUB_CMDLINE_LINUX=\"\"\n",
    },
    File {
        path: "etc/initramfs-tools/conf.d/provision",
        mode: 0o644,
        text: "# The machine that boots this image is not the one that made it.\nMODULES=most\nRESUME=none\n",
    },
    File {
        path: "etc/systemd/network/90-dhcp.network",
        mode: 0o644,
        text: "# Only where neither cloud-init nor anyone else configures the interface.\n\
               [Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
    },
    File {
        path: "etc/modules-load.d/provision.conf",
        mode: 0o644,
        text: "",
    },
];

/// Enabled units: links as `systemctl enable` makes them, and their targets.
const ENABLED: [(&str, &str); 2] = [
    (
        "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
        "/lib/systemd/system/systemd-networkd.service",
    ),
    (
        "etc/systemd/system/multi-user.target.wants/systemd-resolved.service",
        "/lib/systemd/system/systemd-resolved.service",
    ),
];

/// How often apt fetches lists and installs updates, in days.
const PERIODIC: &str =
    "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";

/// Timers that are masked without unattended upgrades: they would load mirrors and network when many nodes boot at
/// once.
const MASKED: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];

/// Removed files: they must differ between nodes.
const REMOVED: [&str; 6] = [
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
];

/// Writes the recipe's files into the unpacked system, and `sources`, the lines of its sources.list.
pub(crate) fn configure(
    root: &Path,
    sources: &[String],
    unattended_upgrades: bool,
) -> io::Result<()> {
    for file in &FILES {
        place_file(&root.join(file.path), file.text, file.mode)?;
    }
    let mut list = sources.join("\n");
    list.push('\n');
    place_file(&root.join("etc/apt/sources.list"), &list, 0o644)?;
    for (link, unit) in ENABLED {
        place_link(&root.join(link), unit)?;
    }
    if unattended_upgrades {
        let path = root.join("etc/apt/apt.conf.d/20auto-upgrades");
        place_file(&path, PERIODIC, 0o644)?;
    } else {
        for timer in MASKED {
            place_link(&root.join("etc/systemd/system").join(timer), "/dev/null")?;
        }
    }
    for path in REMOVED {
        remove_if_there(&root.join(path))?;
    }
    remove_if_there(&root.join("var/lib/dbus/machine-id"))?;
    Ok(())
}

fn place_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn place_link(link: &Path, target: &str) -> io::Result<()> {
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    remove_if_there(link)?;
    std::os::unix::fs::symlink(target, link)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::options;

    #[test]
    fn the_root_is_unpacked_with_every_package_by_name() {
        let options = Build {
            packages: vec!["tmux".to_owned()],
            ..options(Path::new("/nowhere"))
        };
        let packages = packages(&options);
        let cmd = unpack(Path::new("/w/root"), Path::new("/w/sources"), &packages, 7);
        let line = cmd.to_string();
        assert!(line.ends_with("bookworm /w/root /w/sources"), "{line}");
        assert!(line.contains("locale-gen"), "{line}");
        for package in [
            "cloud-init",
            "lvm2",
            "mdadm",
            "grub-pc-bin",
            "grub-efi-amd64-bin",
            "openssh-server",
            "linux-image-amd64",
            "tmux",
        ] {
            assert!(line.contains(&format!(",{package}")), "{package} in {line}");
            assert!(roots(&options).contains(&package.to_owned()), "{package}");
        }
        let epoch = ("SOURCE_DATE_EPOCH".into(), "7".into());
        assert!(cmd.env.contains(&epoch), "{:?}", cmd.env);
    }

    #[test]
    fn updates_are_installed_only_where_they_are_asked_for() {
        let plain = options(Path::new("/nowhere"));
        let upgraded = Build {
            unattended_upgrades: true,
            ..options(Path::new("/nowhere"))
        };
        let sources = ["deb http://m.test/debian bookworm main".to_owned()];
        for (options, is_on) in [(plain, false), (upgraded, true)] {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            configure(root.path(), &sources, options.unattended_upgrades).unwrap();
            let list = fs::read_to_string(at("etc/apt/sources.list")).unwrap();
            assert_eq!(list, "deb http://m.test/debian bookworm main\n");
            assert_eq!(at("etc/apt/apt.conf.d/20auto-upgrades").exists(), is_on);
            for timer in MASKED {
                let link = fs::read_link(at("etc/systemd/system").join(timer));
                assert_eq!(link.is_err(), is_on, "{timer}");
            }
            let name = UNATTENDED_UPGRADES.to_owned();
            assert_eq!(packages(&options).contains(&name), is_on);
            let features = image_options(&options, true).features;
            assert_eq!(features.contains(&name), is_on);
        }
    }

    #[test]
    fn an_image_without_security_fixes_says_so() {
        let options = options(Path::new("/nowhere"));
        let word = "no-security-updates".to_owned();
        assert!(image_options(&options, false).features.contains(&word));
        assert!(!image_options(&options, true).features.contains(&word));
    }

    #[test]
    fn two_nodes_share_no_identity() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/ssh")).unwrap();
        fs::write(root.path().join("etc/ssh/ssh_host_rsa_key"), "secret").unwrap();
        configure(root.path(), &[], false).unwrap();
        assert!(!root.path().join("etc/ssh/ssh_host_rsa_key").exists());
        assert_eq!(fs::read(root.path().join("etc/machine-id")).unwrap(), b"");
        let again = configure(root.path(), &[], false);
        assert!(again.is_ok(), "a second time over the same tree works too");
    }
}
