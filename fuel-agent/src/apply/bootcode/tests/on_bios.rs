//! Disks that firmware starts by their first sector.

use super::*;

/// The mark of the first entry of a disk's MBR.
fn mark(devices: &FakeDevices, disk: &str) -> u8 {
    devices.content(disk, BOOT_SECTOR).unwrap()[446]
}

/// Disks whose first entry is of that type: 0xee is the protective one.
fn disks_with(kind: u8) -> FakeDevices {
    let devices = disks();
    for disk in DISKS {
        devices.put(disk, Bytes(450), &[kind]).unwrap();
    }
    devices
}

#[test]
fn on_a_bios_node_the_protective_entry_becomes_active_with_the_boot_code_and_with_nothing_else() {
    for (firmware, wanted, kind, marked) in [
        (Firmware::Bios, true, 0xee, 0x80),
        (Firmware::Bios, false, 0xee, 0),
        (Firmware::Bios, true, 0x83, 0),
        (Firmware::Uefi, false, 0xee, 0),
    ] {
        let (mut node, devices) = (node(firmware), disks_with(kind));
        node.plan.gpt_active = wanted;
        node.install(&devices).unwrap();
        for disk in DISKS {
            assert_eq!(
                mark(&devices, disk),
                marked,
                "{firmware:?} {wanted} {kind:x}"
            );
            let sector = devices.content(disk, BOOT_SECTOR).unwrap();
            assert_eq!((sector[450], &sector[510..]), (kind, &[0x55, 0xaa][..]));
        }
        // what arms a disk is one write: the mark is never there without the code
        let writes = devices.log().into_iter().filter(
            |done| matches!(done.what, What::Write(extent) if extent.overlaps(BOOT_SECTOR)),
        );
        let expected = if firmware == Firmware::Bios { 2 } else { 0 };
        assert_eq!(writes.count(), expected);
        assert!(node.disarm_again(&devices).is_empty());
        assert_eq!((mark(&devices, DISKS[0]), mark(&devices, DISKS[1])), (0, 0));
    }
}

#[test]
fn a_bios_disk_is_armed_by_its_very_last_write() {
    let (node, devices) = (node(Firmware::Bios), disks());
    assert!(!node.armed(&devices));
    node.install(&devices).unwrap();
    assert!(node.armed(&devices));
    let written: Vec<(u64, u64)> = devices
        .log()
        .iter()
        .filter(|done| done.device == Path::new(DISKS[0]))
        .filter_map(|done| match done.what {
            What::Write(extent) => Some((extent.start.0, extent.length.0)),
            What::Flush => Some((0, 0)),
            _ => None,
        })
        .collect();
    // core image, flush, boot sector's code, flush
    assert_eq!(written, [(1 << 20, 10240), (0, 0), (0, 440), (0, 0)]);
}

#[test]
fn large_sectors_do_not_start_by_bios() {
    let mut node = node(Firmware::Bios);
    crate::sequence::boot_code::check(&node.plan, &node.options.grub).unwrap();
    node.plan.disks[1].sector_size = Bytes(4096);
    let error = crate::sequence::boot_code::check(&node.plan, &node.options.grub).unwrap_err();
    assert_eq!(
        (error.kind, error.device.as_deref()),
        (Kind::Hardware, Some("/dev/sdb"))
    );
    node.plan.firmware = Firmware::Uefi;
    crate::sequence::boot_code::check(&node.plan, &node.options.grub).unwrap();
}
