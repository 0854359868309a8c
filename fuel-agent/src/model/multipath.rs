//! One medium behind several block devices: a disk with two ports, or a LUN over two fabrics, where no map joins its
//! paths.

use super::index::InventoryDiskIndex;
use super::inventory::{Disk, Inventory};

/// Buses on which a disk has one path at most: two disks with equal ids are two disks that share an identity, as with
/// the bridges in USB boxes and disks of a cheap batch.
const SINGLE_PATH: [&str; 6] = ["usb", "sata", "mmc", "virtio", "xen", "file"];

/// Shortest serial number that is taken for one: shorter ones are placeholders.
const SHORTEST_SERIAL: usize = 5;

impl Inventory {
    /// The other paths to the medium of the disk at `index`.
    pub fn other_paths(&self, index: InventoryDiskIndex) -> Vec<InventoryDiskIndex> {
        let Some(disk) = self.disks.get(index.0) else {
            return Vec::new();
        };
        self.disks()
            .filter(|(other, candidate)| *other != index && same_medium(disk, candidate))
            .map(|(other, _)| other)
            .collect()
    }

    /// The device to use where `disks` all are paths to one medium: the map that joins them, else the first; `None`
    /// where they are several media.
    pub fn one_medium(&self, disks: &[InventoryDiskIndex]) -> Option<InventoryDiskIndex> {
        let (first, rest) = disks.split_first()?;
        let paths = self.other_paths(*first);
        if !rest.iter().all(|disk| paths.contains(disk)) {
            return None;
        }
        let map = disks.iter().find(|disk| {
            let disk = self.disks.get(disk.0);
            disk.is_some_and(|disk| disk.multipath)
        });
        Some(*map.unwrap_or(first))
    }
}

/// Whether two block devices are paths to one medium. The world-wide name decides; where neither has one, vendor, model
/// and serial number together. Sizes have to agree, and so does what is known of serial numbers and models; a
/// placeholder identifies nothing.
fn same_medium(a: &Disk, b: &Disk) -> bool {
    let sectors = |disk: &Disk| disk.logical_sector_size.max(512);
    if a.path == b.path
        || a.size_bytes != b.size_bytes
        || sectors(a) != sectors(b)
        || has_single_path(a)
        || has_single_path(b)
        || are_units_of_one_target(a, b)
    {
        return false;
    }
    let differs = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
    if differs(&a.serial, &b.serial) || differs(&a.model, &b.model) {
        return false;
    }
    if !a.wwn.is_empty() || !b.wwn.is_empty() {
        return is_wwn(&a.wwn) && a.wwn.eq_ignore_ascii_case(&b.wwn);
    }
    is_serial(&a.serial)
        && !a.model.is_empty()
        && a.serial == b.serial
        && a.model == b.model
        && a.vendor == b.vendor
}

/// By its transport, else by the names of its links.
fn has_single_path(disk: &Disk) -> bool {
    if SINGLE_PATH.contains(&disk.transport.as_str()) {
        return true;
    }
    let attached_by = |bus: &str| {
        let (by_id, by_path) = (format!("/dev/disk/by-id/{bus}-"), format!("-{bus}-"));
        disk.links.iter().any(|link| {
            link.starts_with(&by_id)
                || (link.starts_with("/dev/disk/by-path/") && link.contains(&by_path))
        })
    };
    disk.transport.is_empty() && (attached_by("usb") || attached_by("ata"))
}

/// Whether they are two logical units behind one port, which may share the identity of their target.
fn are_units_of_one_target(a: &Disk, b: &Disk) -> bool {
    let units = |disk: &Disk| -> Vec<(String, String)> {
        let paths = disk
            .links
            .iter()
            .filter_map(|link| link.strip_prefix("/dev/disk/by-path/"));
        paths.filter_map(unit).collect()
    };
    let others = units(b);
    units(a).iter().any(|(port, lun)| {
        others
            .iter()
            .any(|(other_port, other)| port == other_port && lun != other)
    })
}

/// Port and logical unit in `…-scsi-0:0:0:1`, `…-lun-1` and `…-nvme-1`.
fn unit(by_path: &str) -> Option<(String, String)> {
    let separators = ["-lun-", "-nvme-"];
    let named = separators
        .iter()
        .find_map(|separator| by_path.rsplit_once(separator));
    let (port, lun) = named.or_else(|| {
        by_path
            .rsplit_once(':')
            .filter(|_| by_path.contains("-scsi-"))
    })?;
    Some((port.to_owned(), lun.to_owned()))
}

/// Whether a world-wide name is one: not all zeros or the like, and of a registered vendor where its form has one.
fn is_wwn(wwn: &str) -> bool {
    let digits = wwn.trim_start_matches("0x");
    let digits = digits
        .strip_prefix("eui.")
        .or_else(|| digits.strip_prefix("uuid."))
        .unwrap_or(digits);
    let vendor = digits.get(1..7).filter(|_| digits.starts_with(['5', '6']));
    varies(digits) && vendor != Some("000000")
}

fn is_serial(serial: &str) -> bool {
    serial.len() >= SHORTEST_SERIAL && varies(serial)
}

/// Whether a text has two different letters or digits at least.
fn varies(text: &str) -> bool {
    let mut letters = text.chars().filter(char::is_ascii_alphanumeric);
    let first = letters.next();
    letters.any(|letter| Some(letter) != first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::units::Bytes;

    fn path(name: &str) -> Disk {
        Disk {
            path: format!("/dev/{name}"),
            size_bytes: Bytes(4 << 40),
            logical_sector_size: 512,
            vendor: "SEAGATE".to_owned(),
            model: "ST4000NM0025".to_owned(),
            serial: "ZC11A2B3".to_owned(),
            wwn: "0x5000c500a1b2c3d4".to_owned(),
            transport: "sas".to_owned(),
            links: vec![format!(
                "/dev/disk/by-path/pci-0000:02:00.0-sas-phy-{name}-lun-0"
            )],
            ..Disk::default()
        }
    }

    fn same(change: fn(&mut Disk)) -> bool {
        let (mut a, mut b) = (path("sda"), path("sdm"));
        a.links.clear();
        b.links.clear();
        change(&mut a);
        change(&mut b);
        same_medium(&a, &b)
    }

    #[test]
    fn two_paths_are_known_by_their_world_wide_name_or_by_everything_else() {
        assert!(same_medium(&path("sda"), &path("sdm")));
        assert!(same(|disk| disk.wwn.clear()));
        assert!(same(|disk| disk.serial.clear()));
        assert!(same(|disk| disk.transport.clear()));
        let mut shouting = path("sdm");
        shouting.wwn = "0x5000C500A1B2C3D4".to_owned();
        assert!(same_medium(&path("sda"), &shouting));
    }

    #[test]
    fn what_only_looks_alike_is_two_disks() {
        let placeholders: [fn(&mut Disk); 8] = [
            |disk| (disk.wwn, disk.serial) = (String::new(), String::new()),
            |disk| (disk.wwn, disk.serial) = (String::new(), "0000".to_owned()),
            |disk| (disk.wwn, disk.serial) = (String::new(), "00000000".to_owned()),
            |disk| (disk.wwn, disk.model) = (String::new(), String::new()),
            |disk| disk.wwn = "0x0000000000000000".to_owned(),
            |disk| disk.wwn = "0x5000000000000001".to_owned(),
            |disk| disk.wwn = "eui.0000000000000000".to_owned(),
            |disk| disk.transport = "usb".to_owned(),
        ];
        for (number, change) in placeholders.into_iter().enumerate() {
            assert!(!same(change), "{number}");
        }
        let differs = |change: fn(&mut Disk)| {
            let mut other = path("sdm");
            change(&mut other);
            !same_medium(&path("sda"), &other)
        };
        assert!(differs(|disk| disk.size_bytes.0 += 512));
        assert!(differs(|disk| disk.wwn.push('0')));
        assert!(differs(|disk| disk.wwn.clear()));
        assert!(differs(|disk| disk.serial.push('0')));
        assert!(differs(|disk| disk.model.push('0')));
        // two logical units of one target
        assert!(differs(|disk| {
            disk.links = vec!["/dev/disk/by-path/pci-0000:02:00.0-sas-phy-sda-lun-1".to_owned()];
        }));
        let usb = |disk: &mut Disk| {
            disk.transport.clear();
            disk.links =
                vec!["/dev/disk/by-path/pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0".to_owned()];
        };
        assert!(!same(usb));
    }

    #[test]
    fn the_map_over_the_paths_is_the_one_to_use() {
        let mut map = path("mapper/mpatha");
        (map.multipath, map.transport) = (true, String::new());
        let mut other = path("sdb");
        other.wwn = "0x5000c500ffffffff".to_owned();
        let mut node = Inventory {
            disks: vec![path("sda"), path("sdm"), other],
            ..Inventory::default()
        };
        let [sda, sdm, sdb, mpatha] = [0, 1, 2, 3].map(InventoryDiskIndex);
        assert_eq!(node.one_medium(&[sda, sdm]), Some(sda));
        assert_eq!(node.one_medium(&[sda, sdm, sdb]), None);
        assert_eq!(node.one_medium(&[]), None);
        assert_eq!(
            (node.other_paths(sda), node.other_paths(sdb)),
            (vec![sdm], Vec::new())
        );
        node.disks.push(map);
        assert_eq!(node.one_medium(&[sda, sdm, mpatha]), Some(mpatha));
    }
}
