//! Requests and machines made by hand, for the tests of this room.

use host::units::Bytes;

use crate::model::digest::DocumentedDigests;
use crate::model::index::{DiskIndex, FilesystemIndex, LogicalVolumeIndex, PhysicalVolumeIndex};
use crate::model::inventory::{Disk, ExistingPartition, Inventory};
use crate::model::operating_system::OperatingSystem;
use crate::model::plan::Plan;
use crate::model::request::{BootSpec, Container, Dialect, ImageSpec, Request};
use crate::model::sources::{SourceFacts, Sources};
use crate::model::storage::{
    BlockRef, DiskSelector, DiskSpec, FilesystemSpec, LogicalVolumeSpec, Mount, PartitionSpec,
    PhysicalVolumeSpec, Role, Storage, Table, VolumeGroupSpec,
};
use crate::model::trust::Doubt;
use crate::plan::{CountedIds, Options, PlanError, plan};

pub(crate) const URL: &str = "http://10.20.0.2:8080/targetimages/ubuntu.img.gz";

pub(crate) fn mib(count: u64) -> Bytes {
    Bytes::mib(count).unwrap()
}

/// An empty disk of this node.
pub(crate) fn empty_disk(path: &str, size: u64) -> Disk {
    let name = path.trim_start_matches("/dev/");
    Disk {
        path: path.to_owned(),
        size_bytes: mib(size),
        logical_sector_size: 512,
        physical_sector_size: 4096,
        links: vec![format!("/dev/disk/by-id/ata-{name}")],
        model: "TEST 9000".to_owned(),
        serial: format!("SN-{name}"),
        ..Disk::default()
    }
}

/// A node with these disks.
pub(crate) fn node(disks: Vec<Disk>) -> Inventory {
    Inventory {
        disks,
        ..Inventory::default()
    }
}

/// A disk of the request, without partitions.
pub(crate) fn disk_spec(name: &str) -> DiskSpec {
    DiskSpec {
        selector: DiskSelector::Fuel {
            extra: vec![format!("disk/by-id/ata-{name}")],
            id: String::new(),
            name: name.to_owned(),
        },
        path: format!("ks_spaces[{name}]"),
        table: Table::Gpt,
        bootloader: true,
        partitions: Vec::new(),
    }
}

/// Adds a partition as Fuel would: a hole of 1 MiB in front of it.
pub(crate) fn add(disk: &mut DiskSpec, size: u64, role: Role) -> u32 {
    let start = disk.partitions.last().map_or(mib(1), |last| {
        last.start.saturating_add(last.size).saturating_add(mib(1))
    });
    let number = u32::try_from(disk.partitions.len() + 1).unwrap();
    disk.partitions.push(PartitionSpec {
        number,
        start,
        size: mib(size),
        role,
        partition_type: None,
        flags: Vec::new(),
        logical: false,
        keep_data: false,
    });
    number
}

pub(crate) fn filesystem(on: BlockRef, mount: Option<&str>, kind: &str) -> FilesystemSpec {
    FilesystemSpec {
        on,
        mount: mount.map(|mount| match mount {
            "swap" => Mount::Swap,
            path => Mount::Path(path.to_owned()),
        }),
        kind: kind.into(),
        label: String::new(),
        options: String::new(),
        keep_data: false,
    }
}

pub(crate) fn part(disk: usize, number: u32) -> BlockRef {
    let disk = DiskIndex(disk);
    BlockRef::Partition { disk, number }
}

fn volume(group: &str, name: &str, size: u64) -> LogicalVolumeSpec {
    LogicalVolumeSpec {
        volume_group: group.to_owned(),
        name: name.to_owned(),
        size: mib(size),
        keep_data: false,
    }
}

/// Fuel's usual layout on one disk: /boot, group `os` with root and swap, /var/lib/data, configdrive.
pub(crate) fn lvm_request() -> Request {
    let mut disk = disk_spec("sda");
    for (size, role) in [
        (24, Role::BiosGrub),
        (200, Role::Esp),
        (200, Role::Boot),
        (5120, Role::Pv),
        (2048, Role::Data),
        (20, Role::Configdrive),
    ] {
        add(&mut disk, size, role);
    }
    let storage = Storage {
        disks: vec![disk],
        physical_volumes: vec![PhysicalVolumeSpec {
            on: part(0, 4),
            metadata_size: mib(28),
            metadata_copies: 2,
            keep_data: false,
        }],
        volume_groups: vec![VolumeGroupSpec {
            name: "os".to_owned(),
            physical_volumes: vec![PhysicalVolumeIndex(0)],
            keep_data: false,
        }],
        logical_volumes: vec![volume("os", "root", 4096), volume("os", "swap", 900)],
        filesystems: vec![
            filesystem(part(0, 3), Some("/boot"), "ext2"),
            filesystem(part(0, 5), Some("/var/lib/data"), "xfs"),
            filesystem(BlockRef::Logical(LogicalVolumeIndex(0)), Some("/"), "ext4"),
            filesystem(
                BlockRef::Logical(LogicalVolumeIndex(1)),
                Some("swap"),
                "swap",
            ),
        ],
        ..Storage::default()
    };
    let mut request = request(storage);
    request.configdrive = Some(part(0, 6));
    request.images = vec![image("/", 2)];
    request
}

pub(crate) fn image(mount: &str, filesystem: usize) -> ImageSpec {
    ImageSpec {
        mount: Mount::Path(mount.to_owned()),
        filesystem: FilesystemIndex(filesystem),
        url: URL.into(),
        format: "ext4".into(),
        container: Container::Gzip,
        digests: DocumentedDigests::default(),
    }
}

/// A request with nothing in it but its storage.
pub(crate) fn request(storage: Storage) -> Request {
    Request {
        dialect: Dialect::Nailgun,
        digest: "0123456789abcdef".to_owned(),
        generation: None,
        name: None,
        storage,
        images: Vec::new(),
        boot: BootSpec {
            kernel_params: " console=ttyS0,9600".to_owned(),
            grub_version: 2,
            system: OperatingSystem::new("ubuntu", "14", "04"),
            profile: "ubuntu_1404_x86_64".to_owned(),
        },
        node: None,
        configdrive: None,
        warnings: Vec::new(),
        refusals: Vec::new(),
    }
}

/// What a look at the image has found.
pub(crate) fn known() -> Sources {
    Sources {
        images: [(
            URL.into(),
            SourceFacts {
                size_bytes: Some(Bytes(812_341_231)),
                raw_size_bytes: Some(mib(3072)),
                raw_md5: Some("5d41402abc4b2a76b9719d911017c592".to_owned()),
                container: Some(Container::Gzip),
                ..SourceFacts::default()
            },
        )]
        .into(),
    }
}

/// Warnings of a plan with [`known`] facts but for those that each has: an image by plain http, with an md5 alone.
pub(crate) fn other_warnings(plan: &Plan) -> Vec<String> {
    let doubts = [Doubt::PlainHttp, Doubt::Md5Only].map(|doubt| format!("{URL} {doubt}"));
    let others = plan.warnings.iter().filter(|it| !doubts.contains(it));
    others.cloned().collect()
}

/// The layout of the request's disk as a former run left it.
pub(crate) fn installed(request: &Request, disk: usize, real: &mut Disk) {
    real.table = Some("gpt".to_owned());
    real.partitions = request.storage.disks[disk]
        .partitions
        .iter()
        .map(|partition| ExistingPartition {
            number: partition.number,
            path: format!("{}{}", real.path, partition.number),
            start_bytes: partition.start,
            size_bytes: partition.size,
            partition_type: None,
            ..ExistingPartition::default()
        })
        .collect();
}

pub(crate) fn plan_of(request: &Request, inventory: &Inventory) -> Result<Plan, Vec<PlanError>> {
    plan(
        request,
        inventory,
        &known(),
        &Options::default(),
        &mut CountedIds::default(),
    )
}

/// Numbered steps with their stages, for snapshots.
pub(crate) fn steps_of(plan: &Plan) -> String {
    let line = |planned: &crate::model::step::PlannedStep| {
        let (number, stage, what) = (planned.number, planned.stage.name(), &planned.what);
        format!("{number:2} {stage:11} {what}")
    };
    plan.steps.iter().map(line).collect::<Vec<_>>().join("\n")
}
