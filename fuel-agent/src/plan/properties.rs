//! What holds of every plan, over requests and machines made at random. Written down anew, not by the planner's own check.

use host::units::{Bytes, Extent};
use proptest::prelude::*;

use super::sample::{self, disk_spec, empty_disk, filesystem, known, mib, node, part, request};
use super::{CountedIds, Options, Page, Plan, PlanError, RefusedBy, plan};
use crate::error::Kind;
use crate::inventory::{ExistingPartition, Firmware, Inventory, Stack, StackKind};
use crate::request::Request;
use crate::request::spec::{
    BlockRef, LogicalVolumeSpec, PartitionSpec, PhysicalVolumeSpec, RaidSpec, Role, Storage,
    VolumeGroupSpec,
};

/// What is made on a random partition.
#[derive(Clone, Copy, Debug)]
enum Use {
    Nothing,
    Filesystem(usize),
    Member(usize),
    Volume(usize),
}

#[derive(Clone, Debug)]
struct Piece {
    /// MiB of hole in front of it; negative overlaps what comes before.
    hole: i64,
    size: u64,
    /// Bytes more, so that not everything is a whole MiB.
    crumbs: u64,
    role: Role,
    used: Use,
    keep: bool,
}

const MOUNTS: [&str; 7] = ["/", "/boot", "/var", "/var/log", "/home", "swap", "none"];

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::BiosGrub),
        Just(Role::Esp),
        Just(Role::Boot),
        Just(Role::Data),
        Just(Role::Swap),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
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

fn pieces() -> impl Strategy<Value = Vec<Vec<Piece>>> {
    prop::collection::vec(prop::collection::vec(piece(), 0..7), 1..4)
}

fn volumes() -> impl Strategy<Value = Vec<(usize, u64, usize, bool)>> {
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
fn build(
    disks: &[Vec<Piece>],
    volumes: &[(usize, u64, usize, bool)],
    image_on: Option<usize>,
) -> Request {
    let mut storage = Storage::default();
    let mut raids: [Vec<BlockRef>; 2] = Default::default();
    let mut groups: [Vec<usize>; 2] = Default::default();
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
                    groups[group].push(storage.physical_volumes.len());
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
        let on = BlockRef::Raid(storage.raids.len());
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
        .map(|index| sample::image("/", index))
        .into_iter()
        .collect();
    request
}

fn partitions(pieces: &[Piece]) -> Vec<PartitionSpec> {
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
            type_guid: None,
            flags: Vec::new(),
            logical: false,
            keep_data: piece.keep,
        });
    }
    partitions
}

fn physical_volume(on: BlockRef) -> PhysicalVolumeSpec {
    PhysicalVolumeSpec {
        on,
        metadata_size: mib(28),
        metadata_copies: 2,
        keep_data: false,
    }
}

fn mirror(index: usize, members: Vec<BlockRef>) -> RaidSpec {
    RaidSpec {
        device: format!("/dev/md{index}"),
        level: "mirror".to_owned(),
        metadata: "default".to_owned(),
        members,
        spares: Vec::new(),
        keep_data: false,
    }
}

fn add_group(
    storage: &mut Storage,
    index: usize,
    physical_volumes: Vec<usize>,
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
        let on = BlockRef::Logical(storage.logical_volumes.len());
        storage.logical_volumes.push(LogicalVolumeSpec {
            volume_group: name.to_owned(),
            name: format!("v{count}"),
            size: mib(*size),
            keep_data: *keep,
        });
        storage.filesystems.push(mounted(on, MOUNTS[*mount], *keep));
    }
}

fn mounted(on: BlockRef, mount: &str, keep: bool) -> crate::request::spec::FilesystemSpec {
    let kind = if mount == "swap" { "swap" } else { "ext4" };
    let mut filesystem = filesystem(on, (mount != "none").then_some(mount), kind);
    filesystem.keep_data = keep;
    filesystem
}

/// A machine with three disks for requests, and one that no request names.
fn machine() -> impl Strategy<Value = Inventory> {
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

fn of(request: &Request, inventory: &Inventory) -> Result<Plan, Vec<PlanError>> {
    plan(
        request,
        inventory,
        &known(),
        &Options::default(),
        &mut CountedIds::default(),
    )
}

fn fits(plan: &Plan) -> bool {
    plan.refusals
        .iter()
        .all(|refusal| refusal.by == RefusedBy::Run)
}

fn destroyed(plan: &Plan) -> impl Iterator<Item = (&str, Extent)> {
    plan.steps
        .iter()
        .flat_map(|step| &step.destroys)
        .map(|one| {
            (
                one.device.as_str(),
                Extent {
                    start: one.offset,
                    length: one.length,
                },
            )
        })
}

fn partitions_are_apart_aligned_and_inside(plan: &Plan) {
    for disk in &plan.disks {
        let sector = disk.sector_size.0;
        for (index, partition) in disk.partitions.iter().enumerate() {
            let (start, length) = (partition.extent.start.0, partition.extent.length.0);
            assert!(
                length > 0 && start % sector == 0 && length % sector == 0,
                "{partition:?}"
            );
            if fits(plan) {
                assert!(
                    start >= sector * 6 && start + length + sector * 5 <= disk.size.0,
                    "{partition:?} of {}",
                    disk.size
                );
            }
            for other in &disk.partitions[index + 1..] {
                let (theirs, after) = (
                    other.extent.start.0,
                    other.extent.start.0 + other.extent.length.0,
                );
                assert!(
                    after <= start || start + length <= theirs,
                    "{partition:?} {other:?}"
                );
                assert_ne!(partition.number, other.number);
            }
        }
    }
}

fn only_chosen_bytes_are_destroyed(plan: &Plan) {
    for (device, extent) in destroyed(plan) {
        match plan.disks.iter().find(|disk| disk.device == device) {
            Some(disk) => assert!(
                !fits(plan) || extent.end() <= disk.size,
                "{device} {extent:?}"
            ),
            None => assert!(
                plan.keeps_partitions
                    && (device.starts_with("/dev/mapper/") || device.starts_with("/dev/md")),
                "{device}"
            ),
        }
        assert_ne!(device, "/dev/sdx");
    }
}

/// Kept: what the request marks, said by the request alone. `None` where it wants to keep and to overwrite the same.
fn kept(request: &Request) -> Option<Vec<(usize, Extent)>> {
    let storage = &request.storage;
    let image = |index: usize| request.images.iter().any(|image| image.filesystem == index);
    let mut kept = Vec::new();
    for (disk, spec) in storage.disks.iter().enumerate() {
        for partition in &spec.partitions {
            let on = part(disk, partition.number);
            let filesystem = storage
                .filesystems
                .iter()
                .position(|filesystem| filesystem.on == on);
            let marked = partition.keep_data
                || filesystem.is_some_and(|index| storage.filesystems[index].keep_data);
            let overwritten = filesystem
                .is_some_and(|index| image(index) || !storage.filesystems[index].keep_data);
            if marked && overwritten {
                return None;
            }
            if marked {
                kept.push((
                    disk,
                    Extent {
                        start: partition.start,
                        length: partition.size,
                    },
                ));
            }
        }
    }
    Some(kept)
}

/// The first step's bytes that are kept by the request, by the table, or by nobody having asked for them.
fn hit(request: &Request, plan: &Plan) -> Option<String> {
    if !plan.keeps_partitions {
        return None;
    }
    for (device, extent) in destroyed(plan) {
        let Some(index) = plan.disks.iter().position(|disk| disk.device == device) else {
            continue;
        };
        let disk = &plan.disks[index];
        let sectors = |count: u64| Bytes(count * disk.sector_size.0);
        // The entries and headers of the table, boot code apart.
        let head = Extent {
            start: Bytes(440),
            length: sectors(6).saturating_sub(Bytes(440)),
        };
        let tail = Extent {
            start: disk.size.saturating_sub(sectors(5)),
            length: sectors(5),
        };
        let mut stays = vec![head, tail];
        stays.extend(disk.others.iter().map(|(_, extent)| *extent));
        stays.extend(
            kept(request)
                .unwrap_or_default()
                .iter()
                .filter(|(disk, _)| *disk == index)
                .map(|(_, extent)| *extent),
        );
        if let Some(kept) = stays.iter().find(|kept| kept.overlaps(extent)) {
            return Some(format!("{device}: {extent:?} hits {kept:?}"));
        }
    }
    None
}

/// The groups and arrays of the request, as a former run left them.
fn stacks(request: &Request) -> Vec<Stack> {
    let storage = &request.storage;
    let node = |on: BlockRef| match on {
        BlockRef::Partition { disk, number } => {
            format!("/dev/{}{number}", ["sda", "sdb", "sdc"][disk])
        }
        _ => unreachable!("only partitions are used"),
    };
    let stack = |kind, name: String, nodes: Vec<String>| Stack {
        kind,
        name,
        disks: nodes
            .iter()
            .map(|node| node[.."/dev/sda".len()].to_owned())
            .collect(),
        members: nodes.iter().map(Into::into).collect(),
        active: false,
        nodes: Vec::new(),
    };
    let raids = storage.raids.iter().map(|raid| {
        stack(
            StackKind::Raid,
            "/dev/md127".to_owned(),
            raid.members.iter().map(|member| node(*member)).collect(),
        )
    });
    let groups = storage.volume_groups.iter().map(|group| {
        let nodes = group
            .physical_volumes
            .iter()
            .map(|index| node(storage.physical_volumes[*index].on));
        stack(StackKind::VolumeGroup, group.name.clone(), nodes.collect())
    });
    raids.chain(groups).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_sound_or_there_is_none(disks in pieces(), volumes in volumes(), image in prop::option::of(0..6usize), inventory in machine()) {
        let request = build(&disks, &volumes, image);
        match of(&request, &inventory) {
            Ok(plan) => {
                partitions_are_apart_aligned_and_inside(&plan);
                only_chosen_bytes_are_destroyed(&plan);
                let harm = hit(&request, &plan).is_some() || kept(&request).is_none();
                prop_assert!(!harm || !plan.refusals.is_empty());
                let again = of(&request, &inventory).unwrap();
                prop_assert_eq!(plan.to_json(), again.to_json());
                prop_assert_eq!(plan.to_string(), again.to_string());
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(error.kind() != Kind::Internal, "{}", error);
                    prop_assert!(!error.hint().is_empty());
                }
            }
        }
    }

    #[test]
    fn a_second_run_makes_the_same_layout(disks in pieces(), volumes in volumes(), mut inventory in machine()) {
        let request = build(&disks, &volumes, Some(0));
        if let Ok(first) = of(&request, &inventory) {
            for index in 0..disks.len() {
                sample::installed(&request, index, &mut inventory.disks[index]);
            }
            inventory.stacks = stacks(&request);
            let second = of(&request, &inventory).unwrap();
            let layout = |plan: &Plan| {
                let json = plan.to_json();
                ["disks", "raids", "physical_volumes", "volume_groups", "logical_volumes", "filesystems", "images"].map(|key| json[key].clone())
            };
            prop_assert_eq!(layout(&first), layout(&second));
            if fits(&second) && second.refusals.iter().all(|refusal| refusal.kind != Kind::Refused) {
                prop_assert_eq!(hit(&request, &second), None);
            }
        }
    }

    #[test]
    fn every_step_is_drawn_within_the_page(disks in pieces(), volumes in volumes(), inventory in machine()) {
        if let Ok(plan) = of(&build(&disks, &volumes, Some(0)), &inventory) {
            for index in 0..plan.disks.len() {
                for line in super::map::lines(&plan, index, super::map::WIDTH).iter().take(5) {
                    prop_assert!(line.starts_with('(') || line.chars().count() == super::map::WIDTH, "{}", line);
                }
            }
            for columns in [80, 100, 200] {
                for line in plan.text(Page::of(columns)).lines() {
                    // Longer is only what has no space to be broken at.
                    let fits = line.chars().count() <= columns || !line.trim().contains(' ');
                    prop_assert!(fits, "{}", line);
                }
            }
        }
    }
}
