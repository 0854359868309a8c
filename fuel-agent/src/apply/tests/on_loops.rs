//! Steps on loop devices, with the kernel's partitions and the real tools; skipped where there are no loop devices.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use host::Host;
use host::cancel::Cancel;
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::mount::MountMode;
use host::units::{Bytes, Extent};
use uuid::Uuid;

use super::outcome::Outcome;
use crate::model::index::{DiskIndex, FilesystemIndex};
use crate::model::step::{Configure, ImageStep, Make, Step};
use crate::model::storage::{BlockRef, Mount};
use crate::testing::step_harness::StepHarness;

const SIZE: u64 = 2 << 30;

/// A program's standard output; `None`, and a printed line, where it is not installed.
#[expect(clippy::disallowed_methods, reason = "a test looks at what it made")]
fn tool(program: &str, args: &[&str]) -> Option<(bool, String)> {
    let path = "/usr/sbin:/sbin:/usr/bin:/bin";
    match Command::new(program).args(args).env("PATH", path).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Err(error) => {
            host::fake::skipped(format_args!("{program}: {error}"));
            None
        }
    }
}

/// The sample plan, laid out on a loop device of this sector size.
struct Loop {
    harness: StepHarness,
    host: Host,
    device: LoopDevice,
}

impl Loop {
    fn new(sector_size: u64) -> Option<Self> {
        let mut harness = StepHarness::new();
        let path = harness.work.path().join("disk.img");
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(path);
        let file = file.unwrap();
        file.set_len(SIZE).unwrap();
        let options = LoopOptions {
            sector_size: Bytes(sector_size),
            ..LoopOptions::default()
        };
        let device = match LoopDevice::attach(&file, options) {
            Ok(device) => device,
            Err(error) => {
                host::fake::skipped(format_args!("no loop device: {error}"));
                return None;
            }
        };
        let disk = &mut harness.plan.disks[0];
        disk.device = device.path().display().to_string();
        disk.sector_size = Bytes(sector_size);
        // Numbers with gaps, and a name that is not plain ASCII.
        disk.partitions[1].number = 15;
        disk.partitions[2].name = "böot".to_owned();
        disk.partitions[2].legacy_boot = true;
        harness.plan.configdrive = None;
        let host = Host::real(Cancel::new());
        Some(Self {
            harness,
            host,
            device,
        })
    }

    fn path(&self) -> &str {
        self.device.path().to_str().unwrap()
    }

    fn perform(&mut self, step: &Step) -> Result<Outcome, crate::model::error::Error> {
        self.harness.on(&mut self.host, step)
    }
}

#[test]
fn tables_are_what_other_programs_call_sound() {
    for sector_size in [512, 4096] {
        let Some(mut node) = Loop::new(sector_size) else {
            return;
        };
        let whole = Extent::new(Bytes(4096), Bytes(1 << 20)).unwrap();
        let wipe = Step::Make(Make::Wipe {
            disk: DiskIndex(0),
            extents: vec![whole],
        });
        node.perform(&wipe).unwrap();
        // Twice: the second one finds partitions and takes them away first.
        for _ in 0..2 {
            node.perform(&Step::Make(Make::Table(DiskIndex(0))))
                .unwrap();
        }
        let known = node.host.devices.partitions(node.device.path()).unwrap();
        let numbers: Vec<u32> = known.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4, 5, 15]);
        let Some((sound, text)) = tool("sgdisk", &["--verify", node.path()]) else {
            return;
        };
        assert!(sound && text.contains("No problems found"), "{text}");
        let (_, text) = tool("sgdisk", &["--info=3", node.path()]).unwrap();
        assert!(text.contains("Partition name: 'böot'"), "{text}");
        assert!(text.contains("Attribute flags: 0000000000000004"), "{text}");
    }
}

#[test]
fn filesystems_are_made_on_partitions_and_found_again() {
    let Some(mut node) = Loop::new(512) else {
        return;
    };
    if tool("mkfs.ext4", &["-V"]).is_none() {
        return;
    }
    node.perform(&Step::Make(Make::Table(DiskIndex(0))))
        .unwrap();
    let on = |number| BlockRef::Partition {
        disk: DiskIndex(0),
        number,
    };
    let filesystems = &mut node.harness.plan.filesystems;
    for (index, (number, kind)) in [(3, "ext2"), (4, "ext4"), (15, "swap")]
        .into_iter()
        .enumerate()
    {
        filesystems[index].on = on(number);
        filesystems[index].kind = kind.into();
        filesystems[index].label = "ein Name, länger als zwölf".to_owned();
        filesystems[index].image = None;
        filesystems[index].uuid = Uuid::from_u128(0x1000 + u128::from(number));
    }
    filesystems[1].mount = Some(Mount::Path("/".to_owned()));
    node.harness.plan.images.clear();
    for filesystem in (0..3).map(FilesystemIndex) {
        let made = node.perform(&Step::Make(Make::Filesystem(filesystem)));
        assert_eq!(made.unwrap(), Outcome::Changed);
    }
    // The files under /boot of the root move into its own filesystem.
    let root = node.host.devices.partition(node.device.path(), 4).unwrap();
    let folder = node.harness.work.path().join("look");
    fs::create_dir(&folder).unwrap();
    let mounts = &mut node.host.mounts;
    mounts
        .mount(&root, &folder, "ext4", MountMode::Write)
        .unwrap();
    fs::create_dir(folder.join("boot")).unwrap();
    fs::write(folder.join("boot/vmlinuz"), "kernel").unwrap();
    mounts.unmount(&folder).unwrap();
    let path = "boot".to_owned();
    let moving = Configure::MoveContent {
        from: FilesystemIndex(1),
        to: FilesystemIndex(0),
        path,
    };
    for step in [moving, Configure::Fstab] {
        let done = node.perform(&Step::Configure(step)).unwrap();
        assert_eq!(done, Outcome::Changed);
    }
    let target = node.harness.state.target.as_ref().unwrap();
    let boot = target.root.join("boot");
    assert_eq!(fs::read_to_string(boot.join("vmlinuz")).unwrap(), "kernel");
    assert!(
        boot.join("lost+found").is_dir(),
        "that of its own filesystem"
    );
    assert_eq!(node.perform(&Step::Verify).unwrap(), Outcome::Unchanged);
    assert!(node.harness.state.target.is_none());
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounted.contains(node.path()), "{mounted}");
}

/// Holds a device exclusively as another program would, and releases it soon after [`Holder::lets_go`].
struct Holder {
    release: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Holder {
    fn of(node: &Path) -> Self {
        use std::os::unix::fs::OpenOptionsExt;
        const EXCLUSIVE: i32 = 0o200;
        let mut options = File::options();
        let held = options
            .read(true)
            .custom_flags(EXCLUSIVE)
            .open(node)
            .unwrap();
        let (release, released) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            released.recv().unwrap();
            // the device is open for a moment
            let mut beginning = std::io::Read::take(&held, 4 << 20);
            std::io::copy(&mut beginning, &mut std::io::sink()).unwrap();
        });
        Self { release, thread }
    }

    fn lets_go(&self) {
        self.release.send(()).unwrap();
    }
}

#[test]
fn a_partition_that_another_program_looks_at_for_a_moment_is_waited_for() {
    let Some(mut node) = Loop::new(512) else {
        return;
    };
    if tool("mkfs.ext4", &["-V"]).is_none() {
        return;
    }
    node.harness.plan.filesystems.truncate(1);
    node.harness.plan.images.clear();
    node.perform(&Step::Make(Make::Table(DiskIndex(0))))
        .unwrap();
    let partition = node.host.devices.partition(node.device.path(), 3).unwrap();
    for step in [
        Step::Make(Make::Filesystem(FilesystemIndex(0))),
        Step::Image(ImageStep::Grow(FilesystemIndex(0))),
        // takes the partition away, and makes it anew
        Step::Make(Make::Table(DiskIndex(0))),
    ] {
        let holder = Holder::of(&partition);
        holder.lets_go();
        assert_eq!(node.perform(&step).unwrap(), Outcome::Changed, "{step:?}");
        holder.thread.join().unwrap();
    }
    let holder = Holder::of(node.device.path());
    holder.lets_go();
    let devices = &node.host.devices;
    let opened = devices.open(node.device.path(), host::blockdev::Access::Exclusive);
    assert!(opened.is_ok(), "{:?}", opened.err());
    holder.thread.join().unwrap();
}

#[test]
fn whatever_is_damaged_afterwards_is_found_by_reading_back() {
    let places = [
        ("primary array", 1024 + 2 * 128),
        ("backup header", SIZE - 512 + 40),
        // The UUID of ext's superblock, and the type's magic.
        ("has the UUID", (225 << 20) + 1024 + 0x68),
        ("ext2 not found", (225 << 20) + 1024 + 0x38),
    ];
    for (reason, place) in places {
        let Some(mut node) = Loop::new(512) else {
            return;
        };
        node.harness.plan.filesystems.truncate(1);
        node.harness.plan.images.clear();
        node.perform(&Step::Make(Make::Table(DiskIndex(0))))
            .unwrap();
        node.perform(&Step::Make(Make::Filesystem(FilesystemIndex(0))))
            .unwrap();
        assert_eq!(node.perform(&Step::Verify).unwrap(), Outcome::Unchanged);
        let at = Bytes(place);
        let devices = &node.host.devices;
        let mut disk = devices
            .open(Path::new(node.path()), host::blockdev::Access::Write)
            .unwrap();
        let mut byte = [0];
        disk.read_at(&mut byte, at).unwrap();
        disk.write_at(&[byte[0] ^ 0xff], at).unwrap();
        disk.flush().unwrap();
        drop(disk);
        let error = node.perform(&Step::Verify).unwrap_err();
        let text = crate::model::error::render(&error);
        assert!(text.contains(reason), "{reason}: {text}");
    }
}
