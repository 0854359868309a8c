//! The machine around the disks: firmware, memory, network interfaces.

use host::units::Bytes;

use super::identity::natural_order;
use super::reader::Reader;
use crate::model::inventory::Interface;
use crate::model::node::Firmware;

/// Firmware that the machine was started by.
pub(super) fn firmware(reader: &Reader) -> Firmware {
    if reader.exists("/sys/firmware/efi") {
        Firmware::Uefi
    } else {
        Firmware::Bios
    }
}

/// Size of the memory, as far as the kernel has it.
pub(super) fn memory(reader: &Reader) -> Bytes {
    let text = reader.text("/proc/meminfo").unwrap_or_default();
    parse_memory(&text).unwrap_or_default()
}

/// Reads `/proc/meminfo`: `MemTotal:  16303412 kB`.
pub(super) fn parse_memory(text: &str) -> Option<Bytes> {
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10).map(Bytes)
}

/// Interfaces with hardware behind them; bridges, bonds, tunnels and the like have none.
pub(super) fn interfaces(reader: &Reader) -> Vec<Interface> {
    let mut names = reader.names("/sys/class/net");
    names.retain(|name| {
        reader
            .link(&format!("/sys/class/net/{name}/device"))
            .is_some()
    });
    names.sort_by_cached_key(|name| natural_order(name));
    let interfaces = names.into_iter().map(|name| {
        let mac = permanent_address(reader, &name);
        Interface { name, mac }
    });
    interfaces
        .filter(|interface| !interface.mac.is_empty())
        .collect()
}

/// Its address. One that is part of a bond lends its bond's address; its own is kept beside.
fn permanent_address(reader: &Reader, name: &str) -> String {
    let file = |file: &str| reader.text(&format!("/sys/class/net/{name}/{file}"));
    let address = file("bonding_slave/perm_hwaddr").or_else(|| file("address"));
    let address = address.unwrap_or_default().to_ascii_lowercase();
    if address.split(':').all(|part| part == "00") {
        return String::new();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_kib() {
        let text = "MemTotal:       16303412 kB\nMemFree:  1 kB\n";
        assert_eq!(parse_memory(text), Some(Bytes(16_303_412 << 10)));
        for bad in [
            "",
            "MemTotal: x kB",
            "MemTotal: 12",
            "MemTotal: 99999999999999999999 kB",
        ] {
            assert_eq!(parse_memory(bad), None, "{bad}");
        }
    }
}
