//! Disarming disks in memory.

use host::blockdev::Devices;
use host::fake::{self, FakeDevices, FakeMounts, Fault, Script, What};
use host::units::Bytes;

use super::*;
use crate::apply::bootcode::bios;
use crate::apply::context::{Options, State};
use crate::events::{Event, Events};
use crate::model::plan::Plan;
use crate::model::plan::STAMP;
use crate::testing::sample_plan;

const DISK: &str = "/dev/sda";
const AREAS: [Extent; 2] = [
    Extent {
        start: Bytes(1 << 20),
        length: Bytes(1 << 20),
    },
    Extent {
        start: Bytes(25 << 20),
        length: Bytes(1 << 20),
    },
];

struct Deaf;

impl Events for Deaf {
    fn emit(&self, _event: &Event) {}
}

/// A disk that boots: GRUB's code, a core image, an ESP, an identity stamp.
fn armed() -> FakeDevices {
    let devices = FakeDevices::new().with(DISK, Bytes(2 << 30));
    let put = |at: u64, bytes: &[u8]| devices.put(DISK, Bytes(at), bytes).unwrap();
    put(0x180, b"GRUB ");
    put(440, b"disk\0\0table of partitions");
    put(510, &[0x55, 0xaa]);
    put(AREAS[0].start.0, b"core");
    put(AREAS[1].start.0, b"esp");
    put(STAMP.start.0, b"provision stamp\x01........");
    devices
}

fn run(plan: &Plan, devices: &FakeDevices) -> (Result<Outcome, Error>, bool) {
    let mut host = fake::host(&Script::new(), devices, &FakeMounts::new());
    let mut state = State::default();
    let options = Options {
        work: "/nowhere".into(),
        grub: "/nowhere".into(),
        allow_unverified: false,
        packed: crate::source::policy::PackedPolicy::default(),
        http: crate::http::HttpSettings::default(),
    };
    let approved = crate::plan::approve::ApprovedPlan::assumed(plan.clone());
    let mut context = Context {
        plan: &approved,
        host: &mut host,
        events: &Deaf,
        options: &options,
        state: &mut state,
    };
    let result = disarm(&mut context, DiskIndex(0), &AREAS);
    (result, state.touched)
}

fn content(devices: &FakeDevices, at: u64, length: u64) -> Vec<u8> {
    let extent = Extent {
        start: Bytes(at),
        length: Bytes(length),
    };
    devices.content(DISK, extent).unwrap()
}

fn boots(devices: &FakeDevices) -> bool {
    let device = devices.open(DISK.as_ref(), Access::Read).unwrap();
    bios::is_armed(device.as_ref()).unwrap()
}

#[test]
fn nothing_that_boots_is_left_and_the_table_stays() {
    let devices = armed();
    assert!(boots(&devices));
    let (result, touched) = run(&sample_plan::plan(), &devices);
    assert_eq!((result.unwrap(), touched), (Outcome::Changed, true));
    assert!(!boots(&devices));
    assert_eq!(content(&devices, 0, 440), stub::CODE);
    assert_eq!(content(&devices, 440, 25), b"disk\0\0table of partitions");
    for area in AREAS.into_iter().chain([STAMP]) {
        assert!(
            content(&devices, area.start.0, area.length.0)
                .iter()
                .all(|byte| *byte == 0)
        );
    }
    insta::assert_snapshot!(devices.transcript(), @"
    open /dev/sda Read
    open /dev/sda Exclusive
    write /dev/sda 440 B at 0 B
    flush /dev/sda
    zero /dev/sda 1 MiB at 1 MiB
    zero /dev/sda 1 MiB at 25 MiB
    zero /dev/sda 64 KiB at 512 KiB
    flush /dev/sda
    open /dev/sda Read
    ");
}

#[test]
fn the_mark_of_a_protective_entry_goes_with_the_boot_code_whatever_the_firmware() {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let devices = armed();
        devices
            .put(DISK, Bytes(446), &[0x80, 0, 2, 0, 0xee])
            .unwrap();
        let mut plan = sample_plan::plan();
        plan.firmware = firmware;
        run(&plan, &devices).0.unwrap();
        assert_eq!(content(&devices, 446, 5), [0, 0, 2, 0, 0xee]);
        assert_eq!(content(&devices, 0, 440), stub::CODE);
        assert_eq!(content(&devices, 440, 6), b"disk\0\0");
    }
    // an entry that is a partition's is the business of its owner
    let devices = armed();
    devices
        .put(DISK, Bytes(446), &[0x80, 0, 2, 0, 0x83])
        .unwrap();
    run(&sample_plan::plan(), &devices).0.unwrap();
    assert_eq!(content(&devices, 446, 1), [0x80]);
}

#[test]
fn the_boot_code_goes_first_and_is_flushed_before_anything_else() {
    let devices = armed();
    run(&sample_plan::plan(), &devices).0.unwrap();
    let log: Vec<What> = devices.log().into_iter().map(|done| done.what).collect();
    let code = Extent {
        start: Bytes::ZERO,
        length: Bytes(440),
    };
    assert_eq!(
        log[..3],
        [
            What::Open(Access::Exclusive),
            What::Write(code),
            What::Flush
        ]
    );
}

#[test]
fn every_fault_is_an_error_and_a_torn_first_write_is_all_that_can_boot() {
    let clean = armed();
    run(&sample_plan::plan(), &clean).0.unwrap();
    let changes = clean
        .log()
        .iter()
        .filter(|done| matches!(done.what, What::Write(_) | What::Zero(_)))
        .count();
    let flushes = clean
        .log()
        .iter()
        .filter(|done| matches!(done.what, What::Flush))
        .count();
    for n in 0..changes {
        for fault in [Fault::Write(n), Fault::HalfWrite(n)] {
            let devices = armed().failing(fault);
            let (result, touched) = run(&sample_plan::plan(), &devices);
            assert_eq!(result.unwrap_err().kind, Kind::Disk, "{fault:?}");
            assert!(touched);
            assert!(n == 0 || !boots(&devices), "{fault:?}");
        }
    }
    for n in 0..flushes {
        let (result, _) = run(&sample_plan::plan(), &armed().failing(Fault::Flush(n)));
        assert_eq!(result.unwrap_err().kind, Kind::Disk);
    }
}

#[test]
fn a_disk_that_is_held_is_not_touched() {
    let devices = armed().failing(Fault::Open(0));
    let (result, touched) = run(&sample_plan::plan(), &devices);
    assert!(!touched);
    assert_eq!(result.unwrap_err().device.as_deref(), Some(DISK));
    assert!(boots(&devices));
}

#[test]
fn kept_data_in_the_stamps_place_stays() {
    let devices = armed();
    devices
        .put(DISK, STAMP.start, b"kept data, no stamp")
        .unwrap();
    run(&sample_plan::plan(), &devices).0.unwrap();
    assert_eq!(content(&devices, STAMP.start.0, 9), b"kept data");
}

#[test]
fn boot_files_in_a_kept_esp_are_hidden_and_keep_their_bytes() {
    let mut plan = sample_plan::plan();
    plan.firmware = Firmware::Uefi;
    plan.disks[0].partitions[1].keep_data = true;
    let devices = armed().as_file();
    let esp = plan.disks[0].partitions[1].clone();
    let files = [
        configdrive::File::new("EFI/BOOT/BOOTX64.EFI", "loader"),
        configdrive::File::new("EFI/debian/shimx64.efi", "shim"),
        configdrive::File::new("EFI/debian/grub.cfg", "text"),
        configdrive::File::new("tool.efi", "no boot file"),
    ];
    {
        let mut device = devices.open(DISK.as_ref(), Access::Write).unwrap();
        uefi::make(device.as_mut(), &esp, &files).unwrap();
        assert!(uefi::is_armed(device.as_mut(), esp.extent).unwrap());
    }
    let mut device = devices.open(DISK.as_ref(), Access::Write).unwrap();
    hide_boot_files(
        device.as_mut(),
        &plan.disks[0],
        kept_esps(&plan.disks[0])[0],
    )
    .unwrap();
    assert!(!uefi::is_armed(device.as_mut(), esp.extent).unwrap());
    let found = fat::read(DiskRegion::new(device.as_mut(), esp.extent)).unwrap();
    let mut found: Vec<String> = found
        .into_iter()
        .map(|file| format!("{} {}", file.path, String::from_utf8_lossy(&file.content)))
        .collect();
    found.sort();
    insta::assert_snapshot!(found.join("\n"), @"
    EFI/BOOT/BOOTX64.EFI.off loader
    EFI/debian/grub.cfg text
    EFI/debian/shimx64.efi.off shim
    tool.efi no boot file
    ");
}

#[test]
fn a_kept_esp_that_holds_no_filesystem_is_passed_over() {
    let mut plan = sample_plan::plan();
    plan.disks[0].partitions[1].keep_data = true;
    let devices = armed();
    let mut device = devices.open(DISK.as_ref(), Access::Write).unwrap();
    let before = devices.log().len();
    hide_boot_files(
        device.as_mut(),
        &plan.disks[0],
        kept_esps(&plan.disks[0])[0],
    )
    .unwrap();
    assert_eq!(devices.log().len(), before);
}
