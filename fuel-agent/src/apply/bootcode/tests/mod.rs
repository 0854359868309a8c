//! Boot code on disks in memory: what is written where, and that a disk at which anything went wrong does not boot.

mod on_bios;
mod on_uefi;

use crate::model::grub::Platform;
use host::efivars::Variables;
use host::fake::{self, FakeDevices, FakeMounts, Fault, Script, What};
use host::units::{Bytes, Extent};

use super::*;
use crate::apply::context::{BootFolder, Options, State};
use crate::apply::{disk_region, gpt};
use crate::events::Events;
use crate::model::error::Kind;
use crate::testing::sample_plan;

const DISKS: [&str; 2] = ["/dev/sda", "/dev/sdb"];
const BOOT_SECTOR: Extent = Extent {
    start: Bytes::ZERO,
    length: Bytes(512),
};

struct Deaf;

impl Events for Deaf {
    fn emit(&self, _event: &Event) {}
}

/// A machine with two disks that get boot code, both disarmed, and a GRUB whose pieces are made up.
struct Node {
    plan: Plan,
    work: tempfile::TempDir,
    options: Options,
    variables: Variables,
}

fn node(firmware: Firmware) -> Node {
    let work = tempfile::tempdir().unwrap();
    let mut plan = sample_plan::plan();
    plan.firmware = firmware;
    let mut second = plan.disks[0].clone();
    second.device = DISKS[1].to_owned();
    plan.disks.push(second);
    for platform in [Platform::Pc, Platform::Efi] {
        let folder = work.path().join(platform.name());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("normal.mod"), "").unwrap();
        std::fs::write(folder.join("boot.img"), boot_image()).unwrap();
    }
    let options = Options {
        work: work.path().to_owned(),
        grub: work.path().to_owned(),
        allow_unverified: false,
        packed: crate::source::policy::PackedPolicy::default(),
        http: crate::http::HttpSettings::default(),
    };
    Node {
        plan,
        work,
        options,
        variables: Variables::none(),
    }
}

fn boot_image() -> Vec<u8> {
    let mut image = vec![0x90; 512];
    image[0x66..0x68].copy_from_slice(&[0xeb, 0x05]);
    image[0x180..0x185].copy_from_slice(b"GRUB ");
    image[510..].copy_from_slice(&[0x55, 0xaa]);
    image
}

fn disks() -> FakeDevices {
    let disks = FakeDevices::new()
        .with(DISKS[0], Bytes::mib(2048).unwrap())
        .with(DISKS[1], Bytes::mib(2048).unwrap());
    for disk in DISKS {
        disks.put(disk, Bytes::ZERO, &stub::CODE).unwrap();
        disks.put(disk, Bytes(510), &[0x55, 0xaa]).unwrap();
    }
    disks
}

impl Node {
    /// Installs boot code on both disks, in order, as a run does.
    fn install(&self, devices: &FakeDevices) -> Result<(), Error> {
        self.install_telling(devices, &Deaf)
    }

    fn host(&self, devices: &FakeDevices) -> Host {
        let mut host = fake::host(&Script::new(), devices, &FakeMounts::new());
        host.variables = self.variables.clone();
        host
    }

    fn disarm_again(&self, devices: &FakeDevices) -> Vec<Error> {
        disarm_again(&self.plan, &self.host(devices))
    }

    fn install_telling(&self, devices: &FakeDevices, events: &dyn Events) -> Result<(), Error> {
        let mut host = self.host(devices);
        let mut state = State {
            boot_folder: Some(BootFolder {
                uuid: "0000b007".to_owned(),
                path: "/grub".to_owned(),
                in_tree: "boot/grub".to_owned(),
            }),
            ..State::default()
        };
        let approved = crate::plan::approve::ApprovedPlan::assumed(self.plan.clone());
        let mut context = Context {
            plan: &approved,
            host: &mut host,
            events,
            options: &self.options,
            state: &mut state,
        };
        for (disk, _) in self.plan.disks() {
            // what `grub-mkimage` would have made
            let core: Vec<u8> = (0..5000_u16).flat_map(u16::to_le_bytes).collect();
            std::fs::write(self.work.path().join("core.img"), core).unwrap();
            install(&mut context, disk)?;
        }
        Ok(())
    }

    fn armed(&self, devices: &FakeDevices) -> bool {
        is_armed(&self.plan, devices).unwrap()
    }

    /// Whether any one disk would boot.
    fn any_armed(&self, devices: &FakeDevices) -> bool {
        self.plan.disks.iter().any(|disk| {
            let mut plan = self.plan.clone();
            plan.disks = vec![disk.clone()];
            is_armed(&plan, devices).unwrap()
        })
    }
}

#[test]
fn each_piece_says_where_the_next_is() {
    let (node, devices) = (node(Firmware::Bios), disks());
    devices.put(DISKS[0], Bytes(440), b"disk").unwrap();
    devices.put(DISKS[0], Bytes(446), &[0xee; 64]).unwrap();
    node.install(&devices).unwrap();
    let sector = devices.content(DISKS[0], BOOT_SECTOR).unwrap();
    assert_eq!(
        sector[0x5c..0x64],
        2048_u64.to_le_bytes(),
        "the core image's sector"
    );
    assert_eq!(
        sector[0x64..0x68],
        [0xff, 0xfa, 0x90, 0x90].map(|b| if b == 0xfa { 0x90 } else { b })
    );
    assert_eq!(&sector[440..444], b"disk");
    assert_eq!(sector[446..510], [0xee; 64], "the partition table stays");
    let first = Extent {
        start: Bytes::MIB,
        length: Bytes(512),
    };
    let core = devices.content(DISKS[0], first).unwrap();
    assert_eq!(core[500..508], 2049_u64.to_le_bytes(), "the rest's sector");
    assert_eq!(core[508..510], 19_u16.to_le_bytes(), "how many follow");
    assert_eq!(
        core[510..512],
        0x820_u16.to_le_bytes(),
        "where they are loaded to"
    );
}

#[test]
fn whatever_fails_no_disk_boots_and_the_error_is_told() {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let node = node(firmware);
        let clean = disks();
        node.install(&clean).unwrap();
        let log = clean.log();
        assert!(node.armed(&clean));
        let count =
            |wanted: fn(&What) -> bool| log.iter().filter(|done| wanted(&done.what)).count();
        let writes = count(|what| matches!(what, What::Write(_) | What::Zero(_)));
        let flushes = count(|what| matches!(what, What::Flush));
        let opens = count(|what| matches!(what, What::Open(_)));
        assert!(
            writes >= 4 && flushes >= 4 && opens == 2,
            "{writes} {flushes} {opens}"
        );
        let faults = (0..writes)
            .flat_map(|n| [Fault::Write(n), Fault::HalfWrite(n)])
            .chain((0..flushes).map(Fault::Flush))
            .chain((0..opens).map(Fault::Open));
        for fault in faults {
            let devices = disks().failing(fault);
            let result = node.install(&devices);
            assert!(result.is_err(), "{firmware:?} {fault:?} went unnoticed");
            assert!(
                !node.any_armed(&devices),
                "{firmware:?} {fault:?} left a disk that boots"
            );
        }
    }
}

#[test]
fn a_disk_that_fails_does_not_keep_the_others_from_being_disarmed_again() {
    use crate::model::plan::STAMP;

    let stamped = |devices: &FakeDevices| {
        for disk in DISKS {
            let magic = b"provision stamp\x01";
            devices.put(disk, STAMP.start, magic).unwrap();
        }
    };
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let (node, devices) = (node(firmware), disks());
        node.install(&devices).unwrap();
        stamped(&devices);
        assert!(node.disarm_again(&devices).is_empty());
        assert!(!node.any_armed(&devices), "{firmware:?}");
        for disk in DISKS {
            let stamp = devices.content(disk, STAMP).unwrap();
            assert_eq!(stamp, vec![0; stamp.len()], "{firmware:?} {disk}");
        }
        // three opens: two of the installation, and the first disk's of taking it back
        let devices = disks().failing(Fault::Open(2));
        node.install(&devices).unwrap();
        let errors = node.disarm_again(&devices);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].device.as_deref(), Some(DISKS[0]));
        let mut second = node.plan.clone();
        second.disks.remove(0);
        assert!(!is_armed(&second, &devices).unwrap(), "{firmware:?}");
    }
}

#[test]
fn what_is_not_grubs_is_refused_before_anything_is_written() {
    let place = Extent {
        start: Bytes::MIB,
        length: Bytes::MIB,
    };
    let core = vec![1; 5000];
    let other = vec![0; 512];
    let refused = |boot: &[u8], core: &[u8], place| bios::prepared(boot, core, place).unwrap_err();
    insta::assert_snapshot!(refused(&other, &core, place), @"`boot.img` is not GRUB's");
    insta::assert_snapshot!(refused(&boot_image()[..500], &core, place), @"`boot.img` is not GRUB's");
    insta::assert_snapshot!(refused(&boot_image(), &core[..500], place), @"the core image is 500 bytes long; between 512 and 491520 can be started");
    insta::assert_snapshot!(refused(&boot_image(), &vec![0; 500_000], place), @"the core image is 500000 bytes long; between 512 and 491520 can be started");
    let small = Extent {
        start: Bytes::MIB,
        length: Bytes(4096),
    };
    insta::assert_snapshot!(refused(&boot_image(), &core, small), @"the core image does not fit into the 4 KiB of its partition");
}

#[test]
fn a_missing_grub_is_noticed_before_anything_is_touched() {
    let mut node = node(Firmware::Bios);
    std::fs::remove_file(node.options.grub.join("i386-pc/normal.mod")).unwrap();
    let error = crate::sequence::boot_code::check(&node.plan, &node.options.grub).unwrap_err();
    assert_eq!(
        error.hint.as_deref(),
        Some("install the package `grub-pc-bin`")
    );
    for disk in &mut node.plan.disks {
        disk.bootloader = false;
    }
    crate::sequence::boot_code::check(&node.plan, &node.options.grub).unwrap();
}
