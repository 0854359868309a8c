//! Disks that firmware starts by their EFI system partition.

use super::*;

#[test]
fn a_uefi_disk_has_no_filesystem_until_all_of_it_is_there() {
    let (node, devices) = (node(Firmware::Uefi), disks());
    node.install(&devices).unwrap();
    let esp = esp(&node.plan.disks[0]).unwrap().extent;
    let writes: Vec<Extent> = devices
        .log()
        .iter()
        .filter(|done| done.device == Path::new(DISKS[0]))
        .filter_map(|done| match done.what {
            What::Write(extent) => Some(extent),
            _ => None,
        })
        .collect();
    let first_sector = |extent: &&Extent| extent.start.0 < esp.start.0 + 512;
    assert_eq!(writes.iter().filter(first_sector).count(), 1);
    assert_eq!(writes.last().unwrap().start, esp.start);
    assert!(writes.iter().all(|extent| esp.contains(*extent)));
    // the boot sector keeps the stub: nothing there for a BIOS
    assert_eq!(
        devices.content(DISKS[0], BOOT_SECTOR).unwrap()[..440],
        stub::CODE
    );
}

/// Warnings, as they come.
#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Events for Warnings {
    fn emit(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// Both disks with the plan's table on them.
fn partitioned(node: &Node) -> FakeDevices {
    let devices = disks();
    for disk in &node.plan.disks {
        let mut device = devices.open(disk.device.as_ref(), Access::Write).unwrap();
        let table = gpt::of(disk, device.size(), device.sector_size()).unwrap();
        table.write(device.as_mut()).unwrap();
    }
    devices
}

#[test]
fn each_uefi_disk_is_in_the_firmwares_list_until_the_run_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(Firmware::Uefi);
    node.variables = Variables::at(folder.path());
    // the network card that the node was started by
    let network = b"\x01\0\0\0\x04\0P\0X\0E\0\0\0\x7f\xff\x04\0";
    node.variables.write("Boot0000", network).unwrap();
    node.variables.write("BootOrder", &[0, 0]).unwrap();
    node.variables.write("BootCurrent", &[0, 0]).unwrap();
    let devices = partitioned(&node);
    let warnings = Warnings::default();
    node.install_telling(&devices, &warnings).unwrap();
    assert_eq!(*warnings.0.lock().unwrap(), Vec::<String>::new());
    let order = || node.variables.read("BootOrder").unwrap().unwrap();
    assert_eq!(order(), [0, 0, 1, 0, 2, 0]);
    let esp = esp(&node.plan.disks[1]).unwrap();
    let entry = node.variables.read("Boot0002").unwrap().unwrap();
    let guid = esp.guid.to_bytes_le();
    assert!(entry.windows(16).any(|window| window == guid));
    assert!(node.disarm_again(&devices).is_empty());
    assert_eq!(order(), [0, 0]);
    assert_eq!(node.variables.names().unwrap().len(), 3);
}

#[test]
fn firmware_that_cannot_be_told_is_worth_a_warning() {
    let node = node(Firmware::Uefi);
    let (devices, warnings) = (partitioned(&node), Warnings::default());
    node.install_telling(&devices, &warnings).unwrap();
    assert!(node.armed(&devices));
    let warnings = warnings.0.lock().unwrap();
    assert_eq!(warnings.len(), 2);
    insta::assert_snapshot!(warnings[0], @r"/dev/sda gets no entry in the firmware's boot list: the firmware's variables cannot be reached (is efivarfs mounted?); the firmware has to find \EFI\BOOT\BOOTX64.EFI by itself");
}

#[test]
fn a_kept_esp_gets_our_loader_beside_what_it_holds() {
    let (mut node, devices) = (node(Firmware::Uefi), disks());
    for disk in &mut node.plan.disks {
        for partition in &mut disk.partitions {
            partition.keep_data |= partition.role == Role::Esp;
        }
    }
    let theirs = configdrive::File::new("EFI/other/grub.cfg", "theirs");
    for disk in &node.plan.disks {
        let mut device = devices.open(disk.device.as_ref(), Access::Write).unwrap();
        let esp = esp(disk).unwrap();
        uefi::make(device.as_mut(), esp, std::slice::from_ref(&theirs)).unwrap();
    }
    assert!(!node.armed(&devices));
    node.install(&devices).unwrap();
    assert!(node.armed(&devices));
    let mut device = devices.open(DISKS[0].as_ref(), Access::Read).unwrap();
    let extent = esp(&node.plan.disks[0]).unwrap().extent;
    let region = disk_region::DiskRegion::new(device.as_mut(), extent);
    assert!(configdrive::fat::read(region).unwrap().contains(&theirs));
}
