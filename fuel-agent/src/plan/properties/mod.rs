//! What holds of every plan, over requests and machines made at random. Written down anew, not by the planner's own
//! check.

mod inputs;

use host::units::{Bytes, Extent};
use proptest::prelude::*;

use super::{CountedIds, Options, PlanError, Width, plan};
use crate::model::error::Kind;
use crate::model::index::{DiskIndex, FilesystemIndex};
use crate::model::inventory::{Inventory, Stack, StackKind};
use crate::model::plan::{Plan, RefusedBy};
use crate::model::request::Request;
use crate::model::storage::BlockRef;
use crate::testing::sample_request::{self, known, part};
use inputs::{build, machine, pieces, volumes};

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

/// Kept: what the request marks, computed from the request alone. `None` where it keeps and overwrites the same.
fn kept(request: &Request) -> Option<Vec<(DiskIndex, Extent)>> {
    let storage = &request.storage;
    let image = |index: FilesystemIndex| {
        let mut images = request.images.iter();
        images.any(|image| image.filesystem == index)
    };
    let mut kept = Vec::new();
    for (disk, spec) in storage.disks() {
        for partition in &spec.partitions {
            let on = part(disk.0, partition.number);
            let filesystem = storage.filesystems().find(|(_, it)| it.on == on);
            let marked = partition.keep_data || filesystem.is_some_and(|(_, it)| it.keep_data);
            let overwritten = filesystem.is_some_and(|(index, it)| image(index) || !it.keep_data);
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

/// The first step's bytes that are kept by the request or by the table, or that the request does not name.
fn hit(request: &Request, plan: &Plan) -> Option<String> {
    if !plan.keeps_partitions {
        return None;
    }
    for (device, extent) in destroyed(plan) {
        let Some((index, disk)) = plan.disks().find(|(_, disk)| disk.device == device) else {
            continue;
        };
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
            format!("/dev/{}{number}", ["sda", "sdb", "sdc"][disk.0])
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
            .map(|index| node(storage[*index].on));
        stack(StackKind::VolumeGroup, group.name.clone(), nodes.collect())
    });
    raids.chain(groups).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_sound_or_there_is_none(
        disks in pieces(),
        volumes in volumes(),
        image in prop::option::of(0..6usize),
        inventory in machine(),
    ) {
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
                sample_request::installed(&request, index, &mut inventory.disks[index]);
            }
            inventory.stacks = stacks(&request);
            let second = of(&request, &inventory).unwrap();
            let layout = |plan: &Plan| {
                let json = plan.to_json();
                let lists = ["disks", "raids", "physical_volumes", "volume_groups"];
                let more = ["logical_volumes", "filesystems", "images"];
                lists.iter().chain(&more).map(|key| json[*key].clone()).collect::<Vec<_>>()
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
            for (index, _) in plan.disks() {
                for line in super::text::map::lines(&plan, index, super::text::map::WIDTH).iter().take(5) {
                    prop_assert!(line.starts_with('(') || line.chars().count() == super::text::map::WIDTH, "{}", line);
                }
            }
            for columns in [80, 100, 200] {
                for line in plan.text(Width::of(columns)).lines() {
                    // Longer is only what has no space to be broken at.
                    let fits = line.chars().count() <= columns || !line.trim().contains(' ');
                    prop_assert!(fits, "{}", line);
                }
            }
        }
    }
}
