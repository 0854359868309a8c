//! Requests and machines made at random: sound ones, and malformed ones.

use host::units::Bytes;
use proptest::prelude::*;

use crate::model::filesystem::ImageFormat;
use crate::model::index::{IndexedBy, PhysicalVolumeIndex};
use crate::model::inventory::{ExistingPartition, Inventory, Stack, StackKind};
use crate::model::node::Firmware;
use crate::model::request::Request;
use crate::model::storage::{
    BlockRef, LogicalVolumeSpec, PartitionSpec, PhysicalVolumeSpec, RaidLevel, RaidMetadata,
    RaidSpec, Role, Storage, VolumeGroupSpec,
};
use crate::testing::sample_request::{
    self, disk_spec, empty_disk, filesystem, mib, node, part, request,
};

/// What is made on a random partition.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    Nothing,
    Filesystem(usize),
    Member(usize),
    Volume(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// MiB of hole in front of it; negative overlaps what comes before.
    hole: i64,
    size: u64,
    /// Bytes more, so that not everything is a whole MiB.
    crumbs: u64,
    role: Role,
    used: Use,
    keep: bool,
}

pub(super) const MOUNTS: [&str; 7] = ["/", "/boot", "/var", "/var/log", "/home", "swap", "none"];

pub(super) fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::BiosGrub),
        Just(Role::Esp),
        Just(Role::Boot),
        Just(Role::Data),
        Just(Role::Swap),
    ]
}

pub(super) fn piece() -> impl Strategy<Value = Piece> {
    let used = prop_oneof![
        2 => Just(Use::Nothing),
        4 => (0..MOUNTS.len()).prop_map(Use::Filesystem),
        2 => (0..2usize).prop_map(Use::Member),
        3 => (0..2usize).prop_map(Use::Volume),
    ];
    let hole = prop_oneof![120 => 0..3i64, 1 => -40..0i64];
    let crumbs =
        prop_oneof![150 => Just(0u64), 1 => Just(4096u64), 1 => Just(512u64), 1 => Just(7u64)];
    let size = prop_oneof![1 => 0..4u64, 60 => 4..4000u64];
    let keep = prop::bool::weighted(0.06);
    (hole, size, crumbs, role(), used, keep).prop_map(|(hole, size, crumbs, role, used, keep)| {
        Piece {
            hole,
            size,
            crumbs,
            role,
            used,
            keep,
        }
    })
}

pub(super) fn pieces() -> impl Strategy<Value = Vec<Vec<Piece>>> {
    prop::collection::vec(prop::collection::vec(piece(), 0..7), 1..4)
}

pub(super) fn volumes() -> impl Strategy<Value = Vec<(usize, u64, usize, bool)>> {
    prop::collection::vec(
        (
            0..2usize,
            1..5000u64,
            0..MOUNTS.len(),
            prop::bool::weighted(0.1),
        ),
        0..5,
    )
}

/// A request out of random pieces. It may well contradict itself.
pub(super) fn build(
    disks: &[Vec<Piece>],
    volumes: &[(usize, u64, usize, bool)],
    image_on: Option<usize>,
) -> Request {
    let mut storage = Storage::default();
    let mut raids: [Vec<BlockRef>; 2] = Default::default();
    let mut groups: [Vec<PhysicalVolumeIndex>; 2] = Default::default();
    for (index, pieces) in disks.iter().enumerate() {
        let mut disk = disk_spec(["sda", "sdb", "sdc"][index]);
        disk.bootloader = index != 1;
        disk.partitions = partitions(pieces);
        storage.disks.push(disk);
        for (number, piece) in (1u32..).zip(pieces) {
            let on = part(index, number);
            match piece.used {
                Use::Nothing => {}
                Use::Filesystem(mount) => {
                    let made = mounted(on, MOUNTS[mount], piece.keep);
                    storage.filesystems.push(made);
                }
                Use::Member(raid) => raids[raid].push(on),
                Use::Volume(group) => {
                    groups[group].push(storage.next_index());
                    storage.physical_volumes.push(physical_volume(on));
                }
            }
        }
    }
    for (index, members) in raids
        .into_iter()
        .enumerate()
        .filter(|(_, members)| !members.is_empty())
    {
        let on = BlockRef::Raid(storage.next_index());
        storage.raids.push(mirror(index, members));
        storage.filesystems.push(mounted(on, "/srv", false));
    }
    for (index, group) in groups
        .into_iter()
        .enumerate()
        .filter(|(_, volumes)| !volumes.is_empty())
    {
        add_group(&mut storage, index, group, volumes);
    }
    let images = image_on.filter(|index| *index < storage.filesystems.len());
    let mut request = request(storage);
    request.images = images
        .map(|index| {
            let mut image = sample_request::image("/", index);
            if index % 2 == 1 {
                image.format = ImageFormat::Archive;
            }
            image
        })
        .into_iter()
        .collect();
    request
}

pub(super) fn partitions(pieces: &[Piece]) -> Vec<PartitionSpec> {
    let mut end: i64 = 1;
    let mut partitions = Vec::new();
    for (number, piece) in (1u32..).zip(pieces) {
        let start = (end + piece.hole).max(0);
        end = start + i64::try_from(piece.size).unwrap();
        partitions.push(PartitionSpec {
            number,
            start: mib(start.unsigned_abs()),
            size: mib(piece.size).saturating_add(Bytes(piece.crumbs)),
            role: match piece.used {
                Use::Member(_) => Role::Raid,
                Use::Volume(_) => Role::Pv,
                Use::Nothing | Use::Filesystem(_) => piece.role,
            },
            partition_type: None,
            flags: Vec::new(),
            logical: false,
            keep_data: piece.keep,
        });
    }
    partitions
}

pub(super) fn physical_volume(on: BlockRef) -> PhysicalVolumeSpec {
    PhysicalVolumeSpec {
        on,
        metadata_size: mib(28),
        metadata_copies: 2,
        keep_data: false,
    }
}

pub(super) fn mirror(index: usize, members: Vec<BlockRef>) -> RaidSpec {
    RaidSpec {
        device: format!("/dev/md{index}"),
        level: RaidLevel::Raid1,
        metadata: RaidMetadata::Default,
        members,
        spares: Vec::new(),
        keep_data: false,
    }
}

pub(super) fn add_group(
    storage: &mut Storage,
    index: usize,
    physical_volumes: Vec<PhysicalVolumeIndex>,
    volumes: &[(usize, u64, usize, bool)],
) {
    let name = ["os", "data"][index];
    storage.volume_groups.push(VolumeGroupSpec {
        name: name.to_owned(),
        physical_volumes,
        keep_data: false,
    });
    for (count, (_, size, mount, keep)) in volumes
        .iter()
        .enumerate()
        .filter(|(_, (group, ..))| *group == index)
    {
        let on = BlockRef::Logical(storage.next_index());
        storage.logical_volumes.push(LogicalVolumeSpec {
            volume_group: name.to_owned(),
            name: format!("v{count}"),
            size: mib(*size),
            keep_data: *keep,
        });
        storage.filesystems.push(mounted(on, MOUNTS[*mount], *keep));
    }
}

pub(super) fn mounted(
    on: BlockRef,
    mount: &str,
    keep: bool,
) -> crate::model::storage::FilesystemSpec {
    let kind = if mount == "swap" { "swap" } else { "ext4" };
    let mut filesystem = filesystem(on, (mount != "none").then_some(mount), kind);
    filesystem.keep_data = keep;
    filesystem
}

/// A machine with three disks for requests, and one that no request names.
pub(super) fn machine() -> impl Strategy<Value = Inventory> {
    let disk = (
        64..80_000u64,
        prop::bool::ANY,
        prop::collection::vec((0..3u64, 1..3000u64), 0..5),
    );
    let stacks = prop::collection::vec((0..4usize, 0..4usize, 0..5usize), 0..3);
    (prop::collection::vec(disk, 4), stacks, prop::bool::ANY).prop_map(|(disks, stacks, uefi)| {
        let names = ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdx"];
        let mut inventory = node(
            disks
                .iter()
                .zip(names)
                .map(|((size, large_sectors, old), path)| {
                    let mut disk = empty_disk(path, *size);
                    disk.logical_sector_size = if *large_sectors { 4096 } else { 512 };
                    disk.table = Some("gpt".to_owned());
                    let mut at = 1;
                    for (number, (hole, size)) in (1u32..).zip(old) {
                        disk.partitions.push(ExistingPartition {
                            number,
                            path: format!("{path}{number}"),
                            start_bytes: mib(at + hole),
                            size_bytes: mib(*size),
                            signature: (number == 2).then(|| "vfat".to_owned()),
                            ..ExistingPartition::default()
                        });
                        at += hole + size;
                    }
                    disk
                })
                .collect(),
        );
        inventory.firmware = if uefi { Firmware::Uefi } else { Firmware::Bios };
        inventory.stacks = stacks
            .iter()
            .enumerate()
            .map(|(index, (a, b, kind))| Stack {
                kind: [
                    StackKind::Raid,
                    StackKind::VolumeGroup,
                    StackKind::Crypt,
                    StackKind::Btrfs,
                    StackKind::Mapping,
                ][*kind],
                name: format!("stack{index}"),
                members: vec![
                    format!("{}1", names[*a]).into(),
                    format!("{}1", names[*b]).into(),
                ],
                disks: vec![names[*a].to_owned(), names[*b].to_owned()],
                active: index % 2 == 0,
                nodes: Vec::new(),
            })
            .collect();
        inventory
    })
}
