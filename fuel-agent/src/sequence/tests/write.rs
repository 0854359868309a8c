//! `write` on a host of fakes: a fault at any call leaves a disk as it was, or one from which nothing starts.

use std::fs;

use host::blockdev::Access;
use host::cancel::Cancel;
use host::fake::{self, FakeDevices, FakeMounts, Fault, What};
use host::units::{Bytes, Extent};
use sha2::{Digest, Sha256};

use super::super::host_executor::HostExecutor;
use super::super::rundir::RunDir;
use super::super::write::{StepContext, write};
use crate::apply;
use crate::http::HttpSettings;
use crate::model::error::{Error, Kind};
use crate::model::filesystem::ImageFormat;
use crate::model::index::DiskIndex;
use crate::model::inventory::{Disk, ExistingPartition};
use crate::model::partition_type;
use crate::model::plan::{ImageTarget, PlannedImage, STAMP};
use crate::model::report::ImageOutcome;
use crate::model::request::Container;
use crate::model::sources::SourceFacts;
use crate::plan::Options;
use crate::plan::write::{Target, TargetKind};
use crate::source::policy::PackedPolicy;
use crate::testing::sample_request::node;
use crate::testing::step_harness::RecordedEvents;

const DISK: &str = "/dev/sda";
const SIZE: usize = 12 << 20;
const MIB: usize = 1 << 20;
/// Where the disk's EFI system partition begins.
const ESP: usize = 2 * MIB;

/// A disk of `size` bytes that starts with either firmware; `name` is part of its identity.
fn bootable(name: &[u8], size: usize) -> Vec<u8> {
    let mut disk = vec![name[0]; size];
    let last = size - 512;
    for (at, bytes) in [
        (0, [b"\xeb\x63", name].concat()),
        (446, vec![0, 0, 2, 0, 0xee]),
        (510, vec![0x55, 0xaa]),
        (512, b"EFI PART".to_vec()),
        (ESP, [b"FAT ", name].concat()),
        (last, b"EFI PART".to_vec()),
    ] {
        disk[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    disk
}

/// Whether a BIOS starts what `name` brought, or UEFI firmware anything.
fn boots(disk: &[u8]) -> bool {
    let is_at = |at: usize, bytes: &[u8]| disk[at..].starts_with(bytes);
    let bios = [b"OLD!", b"NEW!"].iter().any(|name| is_at(2, *name)) && is_at(510, &[0x55, 0xaa]);
    let table = is_at(512, b"EFI PART") || is_at(SIZE - 512, b"EFI PART");
    let uefi = is_at(510, &[0x55, 0xaa]) && is_at(450, &[0xee]) && table && is_at(ESP, b"FAT ");
    bios || uefi
}

/// A disk that an earlier run of the agent has installed.
fn old() -> Vec<u8> {
    let mut disk = bootable(b"OLD!", SIZE);
    let stamp = usize::try_from(STAMP.start.0).unwrap();
    disk[stamp..stamp + 16].copy_from_slice(b"provision stamp\x01");
    disk
}

fn devices(content: &[u8]) -> FakeDevices {
    let devices = FakeDevices::new().with(DISK, bytes(SIZE));
    devices.put(DISK, Bytes::ZERO, content).unwrap();
    devices
}

fn bytes(count: usize) -> Bytes {
    Bytes(u64::try_from(count).unwrap())
}

fn content(devices: &FakeDevices) -> Vec<u8> {
    let (start, length) = (Bytes::ZERO, bytes(SIZE));
    devices.content(DISK, Extent { start, length }).unwrap()
}

/// The disk, or a partition, or a file of its size.
fn target(kind: TargetKind) -> Target {
    let esp = ExistingPartition {
        number: 1,
        path: "/dev/sda1".to_owned(),
        start_bytes: bytes(ESP),
        size_bytes: bytes(4 * MIB),
        partition_type: Some(partition_type::ESP.to_string().as_str().into()),
        ..ExistingPartition::default()
    };
    let is_disk = kind == TargetKind::Device;
    let disk = Disk {
        path: DISK.to_owned(),
        size_bytes: bytes(SIZE),
        logical_sector_size: 512,
        partitions: if is_disk { vec![esp] } else { Vec::new() },
        ..Disk::default()
    };
    Target {
        kind,
        disk,
        node: node(Vec::new()),
    }
}

/// The recorded events, and the result.
struct Left {
    result: Result<ImageOutcome, Error>,
    warnings: Vec<String>,
}

impl Left {
    fn kind(&self) -> Option<Kind> {
        self.result.as_ref().err().map(|error| error.kind)
    }
}

/// Writes `raw` onto what each probe finds.
fn run(devices: &FakeDevices, raw: &[u8], digest: &str, looks: [Target; 2]) -> Left {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("disk.img");
    fs::write(&path, raw).unwrap();
    let folder = RunDir::open(temporary.path().join("run")).unwrap();
    let (events, cancel) = (RecordedEvents::default(), Cancel::new());
    let image = PlannedImage {
        url: format!("file://{}", path.display()).into(),
        onto: ImageTarget::Disk(DiskIndex(0)),
        format: ImageFormat::Unspecified,
        container: Container::Raw,
        facts: SourceFacts {
            raw_size_bytes: Some(bytes(raw.len())),
            raw_sha256: Some(digest.to_owned()),
            ..SourceFacts::default()
        },
    };
    let fakes = devices.clone();
    let options = apply::context::Options {
        work: folder.work(),
        grub: "/nowhere".into(),
        allow_unverified: false,
        packed: PackedPolicy::default(),
        http: HttpSettings::default(),
    };
    let host = move || Ok(fake::host(&fake::Script::new(), &fakes, &FakeMounts::new()));
    let mut executor = HostExecutor::new(host, &events, options, &folder, cancel.clone());
    let mut context = StepContext {
        executor: &mut executor,
        events: &events,
        cancel: &cancel,
    };
    let [first, second] = looks;
    let result = write(
        image,
        &first,
        || Ok(second),
        &Options::default(),
        &mut context,
    );
    Left {
        result,
        warnings: events.warnings(),
    }
}

fn sha256(raw: &[u8]) -> String {
    let digest = Sha256::digest(raw);
    let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
    digest.iter().fold(String::new(), hex)
}

/// The image `raw`, onto a target of that kind.
fn onto(devices: &FakeDevices, raw: &[u8], kind: TargetKind) -> Left {
    run(devices, raw, &sha256(raw), [target(kind), target(kind)])
}

/// Every call of a run that goes well, each as the one that fails.
fn faults(log: &[fake::Operation]) -> Vec<Fault> {
    let count = |is: fn(&What) -> bool| log.iter().filter(|done| is(&done.what)).count();
    let writes = count(|what| matches!(what, What::Write(_) | What::Zero(_)));
    let (flushes, opens) = (
        count(|what| matches!(what, What::Flush)),
        count(|what| matches!(what, What::Open(_))),
    );
    let writes = (0..writes).flat_map(|n| [Fault::Write(n), Fault::HalfWrite(n)]);
    let others = (0..flushes).map(Fault::Flush);
    let opens = (0..opens).map(Fault::Open);
    let reads = [Bytes::ZERO, STAMP.start].map(Fault::ReadAt);
    writes.chain(others).chain(opens).chain(reads).collect()
}

#[test]
fn a_disk_is_disarmed_first_and_armed_by_the_last_write_of_its_image() {
    let devices = devices(&old());
    let raw = bootable(b"NEW!", 10 * MIB);
    let left = onto(&devices, &raw, TargetKind::Device);
    assert!(left.result.unwrap().verified);
    assert_eq!(left.warnings, Vec::<String>::new());
    let disk = content(&devices);
    assert!(disk[..raw.len()] == raw && boots(&disk));
    assert!(disk[SIZE - MIB..].iter().all(|byte| *byte == 0));
    let short =
        |line: &&str| !line.starts_with("write /dev/sda 1 MiB at") || line.ends_with(" 0 B");
    let log = devices.transcript();
    let log: Vec<&str> = log.lines().filter(short).collect();
    insta::assert_snapshot!(log.join("\n"), @"
    open /dev/sda Exclusive
    open /dev/sda Exclusive
    write /dev/sda 440 B at 0 B
    flush /dev/sda
    zero /dev/sda 1 MiB at 2 MiB
    zero /dev/sda 16896 B at 512 B
    zero /dev/sda 16896 B at 12566016 B
    zero /dev/sda 64 KiB at 512 KiB
    flush /dev/sda
    open /dev/sda Write
    zero /dev/sda 1 MiB at 11 MiB
    flush /dev/sda
    open /dev/sda Exclusive
    zero /dev/sda 1 MiB at 0 B
    flush /dev/sda
    flush /dev/sda
    write /dev/sda 1 MiB at 0 B
    flush /dev/sda
    read table /dev/sda
    ");
}

#[test]
fn a_fault_at_any_call_leaves_a_disk_as_it_was_or_one_from_which_nothing_starts() {
    let before = old();
    // shorter than the disk, and as long: then its own second table comes before its beginning
    for length in [10 * MIB, SIZE] {
        let raw = bootable(b"NEW!", length);
        let whole = devices(&before);
        onto(&whole, &raw, TargetKind::Device).result.unwrap();
        for fault in faults(&whole.log()) {
            let devices = devices(&before).failing(fault);
            let left = onto(&devices, &raw, TargetKind::Device);
            assert_ne!(left.kind().map_or(0, Kind::exit_status), 0, "{fault:?}");
            let after = content(&devices);
            // while the first write fails, what was installed is still whole but for its boot code
            let is_as_it_was = after[440..] == before[440..];
            assert!(is_as_it_was || !boots(&after), "{length} {fault:?}");
        }
    }
}

#[test]
fn a_fault_at_any_call_is_an_error_for_a_partition_and_a_file_too() {
    let raw = vec![b'x'; 3 * MIB + 512];
    for kind in [TargetKind::Partition, TargetKind::File] {
        let whole = devices(&old());
        onto(&whole, &raw, kind).result.unwrap();
        let disk = content(&whole);
        assert!(disk[..raw.len()] == raw);
        let end = if kind == TargetKind::File {
            SIZE
        } else {
            SIZE - MIB
        };
        assert!(disk[raw.len()..end] == old()[raw.len()..end], "{kind:?}");
        for fault in faults(&whole.log()) {
            // neither reads what is there
            if matches!(fault, Fault::ReadAt(_)) {
                continue;
            }
            let devices = devices(&old()).failing(fault);
            let left = onto(&devices, &raw, kind);
            assert_eq!(left.kind(), Some(Kind::Disk), "{kind:?} {fault:?}");
            assert!(content(&devices)[..MIB] != raw[..MIB], "{kind:?} {fault:?}");
        }
    }
}

#[test]
fn a_table_that_the_kernel_does_not_read_is_worth_a_warning() {
    let devices = devices(&old()).failing(Fault::ReadTable(0));
    let left = onto(&devices, &bootable(b"NEW!", 10 * MIB), TargetKind::Device);
    left.result.unwrap();
    assert_eq!(left.warnings.len(), 1);
    let what = "the kernel did not read the new partition table of /dev/sda: ";
    assert!(left.warnings[0].starts_with(what), "{:?}", left.warnings);
}

#[test]
fn a_wrong_image_leaves_a_disk_from_which_nothing_starts() {
    let devices = devices(&old());
    let raw = bootable(b"NEW!", SIZE);
    let looks = [target(TargetKind::Device), target(TargetKind::Device)];
    let left = run(&devices, &raw, &"0".repeat(64), looks);
    assert_eq!(left.kind(), Some(Kind::Image));
    assert!(!boots(&content(&devices)));
}

#[test]
fn a_target_that_is_another_one_by_now_is_not_touched() {
    let change = |change: fn(&mut Disk)| {
        let mut other = target(TargetKind::Device);
        change(&mut other.disk);
        other
    };
    for other in [
        change(|disk| disk.serial.push('x')),
        change(|disk| disk.size_bytes.0 -= 512),
        change(|disk| disk.partitions.clear()),
        change(|disk| disk.mounted = true),
    ] {
        let case = format!("{:?}", other.disk);
        let devices = devices(&old());
        let raw = bootable(b"NEW!", MIB * 4);
        let looks = [target(TargetKind::Device), other];
        let left = run(&devices, &raw, &sha256(&raw), looks);
        assert_eq!(left.kind(), Some(Kind::Refused), "{case}");
        assert!(devices.log().is_empty() && content(&devices) == old());
    }
    // the facts of an open disk are compared too
    let devices = FakeDevices::new().with_sectors(DISK, bytes(SIZE), Bytes(4096));
    let left = onto(&devices, &bootable(b"NEW!", 4 * MIB), TargetKind::Device);
    assert_eq!(left.kind(), Some(Kind::Refused));
    let opened = [What::Open(Access::Exclusive)];
    assert!(devices.log().iter().map(|done| &done.what).eq(&opened));
}
