//! Identity of this machine, for URLs and callbacks: the interface it booted from, and the names in its firmware.

use std::fs;
use std::path::Path;

use crate::settings::boot_mac;

/// Names of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Address of the interface that booted, `52:54:00:12:34:56`; else of the first one with a link, else of the first.
    pub mac: String,
    /// Its UUID, by its firmware, lower case.
    pub uuid: String,
    /// Its serial number, by its firmware.
    pub serial: String,
    /// Fingerprint of the ramdisk's ssh host key, `SHA256:…`; empty where no ramdisk has noted one.
    pub host_key: String,
}

impl Machine {
    /// Reads `/sys` below `sys`, the kernel's command line, and what the ramdisk has noted in the folder `ramdisk`.
    /// What cannot be known is empty.
    pub fn read(sys: &Path, kernel_command_line: &str, ramdisk: &Path) -> Self {
        let firmware = |name: &str| {
            let text = fs::read_to_string(sys.join("class/dmi/id").join(name));
            text.unwrap_or_default().trim().to_owned()
        };
        Self {
            mac: booted_from(kernel_command_line)
                .or_else(|| linked(&sys.join("class/net")))
                .unwrap_or_default(),
            uuid: firmware("product_uuid").to_lowercase(),
            serial: firmware("product_serial"),
            host_key: fs::read_to_string(ramdisk.join("host-key"))
                .unwrap_or_default()
                .trim()
                .to_owned(),
        }
    }
}

/// What an operator wrote by hand, else what PXELINUX, iPXE and GRUB put there: `BOOTIF=01-52-54-00-12-34-56`, `01`
/// being Ethernet. Of several the last counts, as in the ramdisk; one that is not an address does not.
fn booted_from(kernel_command_line: &str) -> Option<String> {
    ["provision.bootif=", "BOOTIF="].iter().find_map(|name| {
        let words = kernel_command_line.split_ascii_whitespace();
        let value = words.rev().find_map(|word| word.strip_prefix(name))?;
        boot_mac(value.trim_matches('"'))
    })
}

/// The address of the first real interface with a link, by name; without any link, of the first real one.
fn linked(net: &Path) -> Option<String> {
    let read = |name: &str, file: &str| {
        let text = fs::read_to_string(net.join(name).join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    let mut names: Vec<String> = fs::read_dir(net)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| net.join(name).join("device").exists())
        .collect();
    names.sort();
    let has_link = |name: &&String| read(name, "carrier").as_deref() == Some("1");
    let name = names.iter().find(has_link).or_else(|| names.first())?;
    read(name, "address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_that_booted_is_named_by_the_boot_loader() {
        for (line, mac) in [
            ("a BOOTIF=01-52-54-00-AB-34-56 b", Some("52:54:00:ab:34:56")),
            ("BOOTIF=52:54:00:ab:34:56", Some("52:54:00:ab:34:56")),
            (
                "provision.bootif=52:54:00:ab:34:56",
                Some("52:54:00:ab:34:56"),
            ),
            (
                "BOOTIF=01-52-54-00-00-00-01 provision.bootif=52:54:00:ab:34:56",
                Some("52:54:00:ab:34:56"),
            ),
            (
                "provision.bootif= BOOTIF=01-52-54-00-ab-34-56",
                Some("52:54:00:ab:34:56"),
            ),
            (
                "BOOTIF=01-52-54-00-00-00-01 BOOTIF=01-52-54-00-ab-34-56",
                Some("52:54:00:ab:34:56"),
            ),
            ("BOOTIF=01-52-54-00", None),
            ("BOOTIF=01-52-54-00-ab-34-xx", None),
            ("", None),
        ] {
            assert_eq!(booted_from(line).as_deref(), mac, "{line}");
        }
    }

    fn interface(net: &Path, name: &str, address: &str, carrier: Option<&str>, real: bool) {
        let folder = net.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("address"), format!("{address}\n")).unwrap();
        if let Some(carrier) = carrier {
            fs::write(folder.join("carrier"), format!("{carrier}\n")).unwrap();
        }
        if real {
            fs::create_dir(folder.join("device")).unwrap();
        }
    }

    #[test]
    fn without_that_the_first_interface_with_a_link_counts() {
        let sys = tempfile::tempdir().unwrap();
        let net = sys.path().join("class/net");
        interface(&net, "bond0", "00:00:00:00:00:00", Some("1"), false);
        interface(&net, "eth0", "52:54:00:00:00:00", Some("0"), true);
        interface(&net, "eth1", "52:54:00:00:00:01", Some("1"), true);
        let dmi = sys.path().join("class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        fs::write(dmi.join("product_uuid"), "4C4C4544-0042\n").unwrap();
        fs::write(sys.path().join("host-key"), "SHA256:abc\n").unwrap();
        let machine = Machine::read(sys.path(), "quiet", sys.path());
        let expected = Machine {
            mac: "52:54:00:00:00:01".to_owned(),
            uuid: "4c4c4544-0042".to_owned(),
            serial: String::new(),
            host_key: "SHA256:abc".to_owned(),
        };
        assert_eq!(machine, expected);
        fs::write(net.join("eth1/carrier"), "0\n").unwrap();
        assert_eq!(Machine::read(sys.path(), "", &net).mac, "52:54:00:00:00:00");
    }
}
