//! What firmware makes of it: real boot code, made by the real GRUB, started by SeaBIOS and OVMF in QEMU.
//!
//! The serial line is not parsed for success: the code that is reached at last exits QEMU with a status of its own.
//! Each test is over in seconds and is skipped, with a message, where its programs are not installed.

use crate::model::grub::Platform;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::Host;
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Program, System};
use host::units::Bytes;

use super::*;
use crate::apply::context::{BootFolder, Options, State};
use crate::apply::disarm;
use crate::apply::outcome::Outcome;
use crate::events::Events;
use crate::testing::sample_plan;
use crate::tools::Tool;

/// The port of QEMU's `isa-debug-exit`; writing N ends it with status 2N + 1.
const EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";
const GRUB: &str = "/usr/lib/grub";
const BOOT_UUID: &str = "0000b007-0000-4000-8000-000000000000";
const BOOT_START: u64 = 225 << 20;
const ESP_START: u64 = 25 << 20;

struct Deaf;

impl Events for Deaf {
    fn emit(&self, _event: &Event) {}
}

/// Real mode code that ends QEMU with status 35: mov dx, 0xf4; mov al, 0x11; out dx, al; hlt; jmp -3.
const PROGRAM: [u8; 9] = [0xba, 0xf4, 0x00, 0xb0, 0x11, 0xee, 0xf4, 0xeb, 0xfd];

const MKE2FS: Program = Program::new("mke2fs", "e2fsprogs");
const QEMU: Program = Program::new("qemu-system-x86_64", "qemu-system-x86");

/// Not those of the host, which see none of the test's files.
fn programs() -> System {
    System::new(Cancel::new())
}

fn skipped(needs: &[Program], files: &[&str]) -> bool {
    let exec = programs();
    let program = host::exec::missing(&exec, needs.iter().copied()).pop();
    let file = files.iter().find(|file| !Path::new(file).exists());
    match (program, file) {
        (None, None) => return false,
        (Some(program), _) => {
            host::fake::skipped(format_args!("{} is not installed", program.package()));
        }
        (_, Some(file)) => host::fake::skipped(format_args!("there is no {file}")),
    }
    true
}

/// A folder with a disk in a file, and a plan for it.
struct StepHarness {
    folder: tempfile::TempDir,
    plan: Plan,
    host: Host,
    options: Options,
    state: State,
}

impl StepHarness {
    fn new(firmware: Firmware) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = sample_plan::plan();
        plan.firmware = firmware;
        let disk = folder.path().join("disk");
        let disks = vec![("sda".to_owned(), disk, Some(plan.disks[0].size))];
        let host = Host::on_files(disks, Cancel::new()).unwrap();
        let options = Options {
            work: folder.path().to_owned(),
            grub: GRUB.into(),
            allow_unverified: false,
            packed: crate::source::policy::PackedPolicy::default(),
            http: crate::http::HttpSettings::default(),
        };
        let mut harness = Self {
            folder,
            plan,
            host,
            options,
            state: State::default(),
        };
        harness.write(0, &table());
        harness
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let opened = self.host.devices.open("/dev/sda".as_ref(), Access::Write);
        opened.unwrap().write_at(bytes, Bytes(at)).unwrap();
    }

    fn with(&mut self, act: impl FnOnce(&mut Context<'_>) -> Result<Outcome, Error>) {
        let approved = crate::plan::approve::ApprovedPlan::assumed(self.plan.clone());
        let mut context = Context {
            plan: &approved,
            host: &mut self.host,
            events: &Deaf,
            options: &self.options,
            state: &mut self.state,
        };
        assert_eq!(act(&mut context).unwrap(), Outcome::Changed);
    }

    /// A filesystem as /boot, whose grub.cfg ends QEMU through a module from its folder.
    fn boot_filesystem(&mut self, platform: Platform) {
        let tree = self.path("boot");
        let modules = tree.join("grub").join(platform.name());
        std::fs::create_dir_all(&modules).unwrap();
        for entry in std::fs::read_dir(Path::new(GRUB).join(platform.name())).unwrap() {
            let entry = entry.unwrap();
            if !entry.path().is_file() {
                continue;
            }
            std::fs::copy(entry.path(), modules.join(entry.file_name())).unwrap();
        }
        let config = "serial --unit=0 --speed=115200\nterminal_output serial\necho reached grub.cfg\n\
                      insmod iorw\noutb 0xf4 0x12\n";
        std::fs::write(tree.join("grub/grub.cfg"), config).unwrap();
        let make = Cmd::new(MKE2FS)
            .args(["-q", "-F", "-t", "ext2", "-U", BOOT_UUID, "-d"])
            .arg(&tree)
            .args(["-E", &format!("offset={BOOT_START}")])
            .arg(self.path("disk"))
            .arg("200M");
        programs().run(&make).unwrap();
        self.state.boot_folder = Some(BootFolder {
            uuid: BOOT_UUID.to_owned(),
            path: "/grub".to_owned(),
            in_tree: "boot/grub".to_owned(),
        });
    }

    /// Starts QEMU with the disk first in its boot order, and returns its exit status.
    fn start(&mut self, more: &[&str]) -> Result<i32, ExecError> {
        let disk = format!(
            "file={},format=raw,if=none,id=first",
            self.path("disk").display()
        );
        let serial = format!("file:{}", self.path("serial").display());
        let start = Cmd::new(QEMU)
            .args([
                "-accel",
                "tcg",
                "-display",
                "none",
                "-nodefaults",
                "-no-reboot",
                "-vga",
                "std",
            ])
            .args(["-serial", &serial, "-device", EXIT, "-drive", &disk])
            .args(["-device", "virtio-blk-pci,drive=first,bootindex=0"])
            .args(more)
            .accept(&[35, 37])
            .timeout(Duration::from_mins(4));
        programs().run(&start).map(|output| output.status)
    }

    fn serial(&self) -> String {
        let bytes = std::fs::read(self.path("serial")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A boot sector with a partition table: an EFI system partition and a Linux one, where the sample plan has them.
fn table() -> Vec<u8> {
    let mut sector = vec![0x90; 440];
    sector.resize(446, 0);
    for (kind, start) in [(0xef, ESP_START), (0x83, BOOT_START)] {
        let sectors = |bytes: u64| u32::try_from(bytes / 512).unwrap().to_le_bytes();
        sector.extend([0, 0, 2, 0, kind, 0, 0, 0]);
        sector.extend(sectors(start));
        sector.extend(sectors(200 << 20));
    }
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

// To the network card, not to a second disk: to SeaBIOS all hard disks together are one boot device.
#[test]
fn a_disarmed_disk_hands_on_to_the_network_card() {
    if skipped(&[QEMU], &["/usr/lib/ipxe/qemu/pxe-virtio.rom"]) {
        return;
    }
    let mut harness = StepHarness::new(Firmware::Bios);
    harness.with(|context| disarm::disarm(context, DiskIndex(0), &[]));
    std::fs::create_dir(harness.path("tftp")).unwrap();
    let mut program = PROGRAM.to_vec();
    program.resize(512, 0);
    std::fs::write(harness.path("tftp/program"), program).unwrap();
    let network = format!(
        "user,id=net,restrict=on,tftp={},bootfile=program",
        harness.path("tftp").display()
    );
    let card = "virtio-net-pci,netdev=net,bootindex=1";
    let status = harness.start(&["-netdev", &network, "-device", card]);
    assert_eq!(status.unwrap(), 35);
}

#[test]
fn a_bios_starts_grub_from_an_armed_disk() {
    let needs = [QEMU, Tool::GrubMkimage.into(), MKE2FS];
    if skipped(&needs, &["/usr/lib/grub/i386-pc/iorw.mod"]) {
        return;
    }
    let mut harness = StepHarness::new(Firmware::Bios);
    harness.with(|context| disarm::disarm(context, DiskIndex(0), &[]));
    harness.boot_filesystem(Platform::Pc);
    harness.with(|context| install(context, DiskIndex(0)));
    assert!(is_armed(&harness.plan, harness.host.devices.as_ref()).unwrap());
    let status = harness.start(&[]);
    assert_eq!(status.unwrap(), 37, "{}", harness.serial());
    assert!(
        harness.serial().contains("reached grub.cfg"),
        "{}",
        harness.serial()
    );
}

#[test]
fn uefi_starts_grub_from_an_armed_disk() {
    const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    let needs = [QEMU, Tool::GrubMkimage.into(), MKE2FS];
    if skipped(
        &needs,
        &["/usr/lib/grub/x86_64-efi/iorw.mod", CODE, VARIABLES],
    ) {
        return;
    }
    let mut harness = StepHarness::new(Firmware::Uefi);
    harness.with(|context| disarm::disarm(context, DiskIndex(0), &[]));
    harness.boot_filesystem(Platform::Efi);
    harness.with(|context| install(context, DiskIndex(0)));
    assert!(is_armed(&harness.plan, harness.host.devices.as_ref()).unwrap());
    std::fs::copy(VARIABLES, harness.path("variables")).unwrap();
    let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}");
    let variables = format!(
        "if=pflash,unit=1,format=raw,file={}",
        harness.path("variables").display()
    );
    let status = harness.start(&[
        "-machine", "q35", "-m", "256", "-drive", &code, "-drive", &variables,
    ]);
    assert_eq!(status.unwrap(), 37, "{}", harness.serial());
    assert!(
        harness.serial().contains("reached grub.cfg"),
        "{}",
        harness.serial()
    );
}
