//! Identity of a disk without udev's records: from sysfs alone.

/// How a disk is attached, from its kernel name and its place in `/sys/devices`.
pub(super) fn transport(name: &str, place: &str) -> String {
    let has = |prefix: &str| {
        place.split('/').any(|part| {
            let rest = part.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    // The nearest bus counts: a SATA disk in a USB box is a USB disk, one behind a SAS adapter a SAS disk.
    let kind = if has("usb") {
        "usb"
    } else if name.starts_with("nvme") {
        "nvme"
    } else if name.starts_with("mmcblk") {
        "mmc"
    } else if has("session") {
        "iscsi"
    } else if has("rport-") {
        "fc"
    } else if has("end_device-") {
        "sas"
    } else if has("ata") {
        "sata"
    } else if name.starts_with("vd") {
        "virtio"
    } else if name.starts_with("xvd") {
        "xen"
    } else if has("host") {
        "scsi"
    } else {
        ""
    };
    kind.to_owned()
}

/// The serial number in a SCSI disk's page 0x80 of vital product data: four bytes of head, then text.
pub(super) fn vpd_serial(page: &[u8]) -> Option<String> {
    let (head, text) = page.split_at_checked(4)?;
    if head.get(1) != Some(&0x80) {
        return None;
    }
    let length = head
        .get(2..4)?
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let text = text.get(..length.min(text.len()))?;
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    (!text.is_empty()).then(|| text.to_owned())
}

/// The world-wide name in sysfs's `wwid`, written as udev writes it; names made up of model and serial are none.
pub(super) fn wwn(wwid: &str) -> Option<String> {
    let wwid = wwid.trim();
    if let Some(naa) = wwid.strip_prefix("naa.") {
        return Some(format!("0x{naa}"));
    }
    (wwid.starts_with("eui.") || wwid.starts_with("uuid.")).then(|| wwid.to_owned())
}

/// Orders kernel names as the kernel gave them: `sdb` before `sdaa`, `nvme2n1` before `nvme10n1`.
pub(super) fn natural_order(name: &str) -> Vec<(usize, String)> {
    let prefix = ["sd", "vd", "xvd", "hd"]
        .into_iter()
        .find(|prefix| name.starts_with(prefix))
        .unwrap_or_default();
    let mut key = vec![(0, prefix.to_owned())];
    let rest = name.strip_prefix(prefix).unwrap_or(name);
    let mut run = String::new();
    for c in rest.chars() {
        let digit = |c: char| c.is_ascii_digit();
        if run.ends_with(digit) != digit(c) && !run.is_empty() {
            key.push(measured(&run));
            run.clear();
        }
        run.push(c);
    }
    key.push(measured(&run));
    // Without one of those prefixes the first run of letters is the driver's name: by alphabet, not by length.
    if prefix.is_empty()
        && let Some(first) = key.get_mut(1)
    {
        first.0 = 0;
    }
    key
}

fn measured(run: &str) -> (usize, String) {
    let significant = run.trim_start_matches('0');
    (significant.len(), run.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_bus_is_the_transport() {
        for (name, place, expected) in [
            (
                "sda",
                "/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
                "sata",
            ),
            (
                "sdb",
                "/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb",
                "usb",
            ),
            (
                "sdc",
                "/devices/pci0000:00/0000:00:02.0/0000:02:00.0/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sdc",
                "sas",
            ),
            (
                "sdd",
                "/devices/pci0000:00/0000:03:00.0/host2/target2:2:0/2:2:0:0/block/sdd",
                "scsi",
            ),
            (
                "sde",
                "/devices/platform/host3/session1/target3:0:0/3:0:0:1/block/sde",
                "iscsi",
            ),
            (
                "sdf",
                "/devices/pci0000:00/0000:05:00.0/host4/rport-4:0-2/target4:0:0/4:0:0:0/block/sdf",
                "fc",
            ),
            (
                "vda",
                "/devices/pci0000:00/0000:00:04.0/virtio0/block/vda",
                "virtio",
            ),
            (
                "nvme0n1",
                "/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1",
                "nvme",
            ),
            (
                "nvme1n1",
                "/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1",
                "nvme",
            ),
            (
                "mmcblk0",
                "/devices/pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0",
                "mmc",
            ),
            ("xvda", "/devices/vbd-51712/block/xvda", "xen"),
            ("dm-0", "/devices/virtual/block/dm-0", ""),
        ] {
            assert_eq!(transport(name, place), expected, "{name}");
        }
    }

    #[test]
    fn a_serial_number_is_cut_out_of_its_page() {
        let page = |text: &[u8]| [&[0, 0x80, 0, u8::try_from(text.len()).unwrap()], text].concat();
        assert_eq!(vpd_serial(&page(b"  S3X9  \0")).as_deref(), Some("S3X9"));
        let longer = [page(b"S3X9"), b"noise".to_vec()].concat();
        assert_eq!(vpd_serial(&longer).as_deref(), Some("S3X9"));
        for bad in [&b""[..], b"\0\x80", b"\0\x83\0\x01A", b"\0\x80\0\x04    "] {
            assert_eq!(vpd_serial(bad), None, "{bad:?}");
        }
        assert_eq!(vpd_serial(b"\0\x80\0\x09short").as_deref(), Some("short"));
    }

    #[test]
    fn a_world_wide_name_is_written_as_udev_writes_it() {
        assert_eq!(
            wwn("naa.5000c500a1b2c3d4\n").as_deref(),
            Some("0x5000c500a1b2c3d4")
        );
        assert_eq!(
            wwn("eui.0025385b71b0a1c2").as_deref(),
            Some("eui.0025385b71b0a1c2")
        );
        assert_eq!(wwn("t10.ATA     QEMU HARDDISK   QM00001"), None);
        assert_eq!(wwn("nvme.8086-5048-494e-00000001"), None);
    }

    #[test]
    fn names_are_in_the_kernels_order() {
        let mut names = [
            "sdaa", "nvme10n1", "sdz", "vda", "nvme2n1", "sda", "mmcblk1", "mmcblk0", "sdb",
        ];
        names.sort_by_key(|name| natural_order(name));
        assert_eq!(
            names,
            [
                "mmcblk0", "mmcblk1", "nvme2n1", "nvme10n1", "sda", "sdb", "sdz", "sdaa", "vda"
            ]
        );
    }
}
