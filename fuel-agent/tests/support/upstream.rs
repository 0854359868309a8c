//! Upstream's form of a machine (its mocked block devices) to our [`Inventory`].

use fuel_agent::model::inventory::{Disk, Inventory};
use host::units::Bytes;
use serde_json::Value;

/// Converts an `inventory-*.json`: a list of `{device, size, bspec, espec, uspec}`.
pub fn inventory(devices: &Value) -> Inventory {
    Inventory {
        disks: devices
            .as_array()
            .expect("a list")
            .iter()
            .map(disk)
            .collect(),
        architecture: "x86_64".to_owned(),
        memory_bytes: Bytes(4 << 30),
        ..Inventory::default()
    }
}

fn disk(device: &Value) -> Disk {
    let udev = |key: &str| text(&device["uspec"][key]);
    let report = |key: &str| text(&device["bspec"][key]).parse().unwrap_or(512);
    let path = text(&device["device"]);
    Disk {
        size_bytes: Bytes(device["size"].as_u64().expect("a size")),
        logical_sector_size: report("ss"),
        physical_sector_size: report("pbsz"),
        // As they are: some lack their `/dev/` on purpose, and then match nothing.
        links: device["uspec"]["DEVLINKS"]
            .as_array()
            .map(|links| links.iter().map(text).collect())
            .unwrap_or_default(),
        model: udev("ID_MODEL"),
        serial: udev("ID_SERIAL_SHORT"),
        wwn: udev("ID_WWN"),
        vendor: udev("ID_VENDOR"),
        transport: udev("ID_BUS"),
        removable: text(&device["espec"]["removable"]) == "1",
        read_only: text(&device["bspec"]["ro"]) == "1",
        // Upstream has renamed a multipath map to its `/dev/mapper` link by then.
        multipath: path.starts_with("/dev/mapper/"),
        path,
        ..Disk::default()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
