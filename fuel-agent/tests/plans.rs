//! Requests on machines to plans, as text and as JSON, compared with `testdata/plans`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p fuel-agent --test plans` writes them anew; then read the diff.

#![allow(clippy::expect_used, clippy::panic, reason = "a test program")]

use std::path::{Path, PathBuf};

use fuel_agent::model::inventory::{Disk, ExistingPartition, Inventory, Stack, StackKind};
use fuel_agent::model::node::Firmware;
use fuel_agent::model::plan::{Plan, RefusedBy};
use fuel_agent::model::request::{Container, Request};
use fuel_agent::model::sources::{SourceFacts, Sources};
use fuel_agent::model::storage::{BlockRef, DiskSelector};
use fuel_agent::plan::{CountedIds, Options, diff, plan};
use fuel_agent::request::{self, Driver};
use host::units::Bytes;

const GIB: u64 = 1 << 30;

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata")
        .join(path)
}

fn request(name: &str) -> Request {
    let text = std::fs::read_to_string(testdata(&format!("requests/{name}.json"))).expect(name);
    let driver = match name {
        "ironic" => Driver::Ironic,
        _ => Driver::Auto,
    };
    request::load(&text, driver).unwrap_or_else(|problems| panic!("{name}: {problems:?}"))
}

/// A node with just the disks that the request names, empty and of this size.
fn node(request: &Request, size: u64) -> Inventory {
    let disk = |selector: &DiskSelector| {
        let (path, links) = match selector {
            DiskSelector::Fuel { extra, id, name } => (
                format!("/dev/{name}"),
                extra
                    .iter()
                    .chain([id])
                    .map(|link| format!("/dev/{link}"))
                    .collect(),
            ),
            DiskSelector::Node(node) => (node.clone(), Vec::new()),
        };
        Disk {
            size_bytes: Bytes(size),
            logical_sector_size: 512,
            physical_sector_size: 4096,
            links,
            model: "ACME SSD".to_owned(),
            serial: format!(
                "SN-{}",
                path.rsplit('/').next().unwrap_or(&path).to_uppercase()
            ),
            path,
            ..Disk::default()
        }
    };
    Inventory {
        disks: request
            .storage
            .disks
            .iter()
            .map(|spec| disk(&spec.selector))
            .collect(),
        architecture: "x86_64".to_owned(),
        memory_bytes: Bytes(4 * GIB),
        ..Inventory::default()
    }
}

/// The node after an earlier run of the same request: its partitions, groups and arrays are there, inactive.
fn installed(request: &Request, size: u64) -> Inventory {
    let mut inventory = node(request, size);
    for (real, spec) in inventory.disks.iter_mut().zip(&request.storage.disks) {
        real.table = Some("gpt".to_owned());
        real.partitions = spec
            .partitions
            .iter()
            .map(|partition| ExistingPartition {
                number: partition.number,
                path: partition_node(&real.path, partition.number),
                start_bytes: partition.start,
                size_bytes: partition.size,
                partition_type: (partition.number == 1)
                    .then(|| "21686148-6449-6e6f-744e-656564454649".into()),
                ..ExistingPartition::default()
            })
            .collect();
    }
    let storage = &request.storage;
    let node_of = |on: BlockRef| match on {
        BlockRef::Partition { disk, number } => {
            partition_node(&inventory.disks[disk.0].path, number)
        }
        BlockRef::Raid(raid) => storage[raid].device.clone(),
        other => panic!("{other:?}"),
    };
    let disk_of = |on: BlockRef| match on {
        BlockRef::Partition { disk, .. } => inventory.disks[disk.0].path.clone(),
        other => panic!("{other:?}"),
    };
    let ground_of = |on: &BlockRef| match on {
        BlockRef::Partition { .. } => vec![disk_of(*on)],
        BlockRef::Raid(raid) => {
            let members = storage[*raid].members.iter();
            members.map(|on| disk_of(*on)).collect()
        }
        other => panic!("{other:?}"),
    };
    let stack = |kind, name: &str, on: Vec<BlockRef>| Stack {
        kind,
        name: name.to_owned(),
        disks: on.iter().flat_map(ground_of).collect(),
        members: on.iter().map(|on| node_of(*on).into()).collect(),
        active: false,
        nodes: Vec::new(),
    };
    let groups = storage.volume_groups.iter().map(|group| {
        let on = group
            .physical_volumes
            .iter()
            .map(|index| storage[*index].on);
        stack(StackKind::VolumeGroup, &group.name, on.collect())
    });
    let raids = storage.raids.iter().map(|raid| {
        let on = raid.members.iter().chain(&raid.spares).copied();
        stack(StackKind::Raid, &raid.device, on.collect())
    });
    inventory.stacks = groups.chain(raids).collect();
    inventory
}

fn partition_node(disk: &str, number: u32) -> String {
    let p = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    format!("{disk}{p}{number}")
}

/// Facts about the images of the request: all is well with them.
fn looked_up(request: &Request) -> Sources {
    let facts = |container: Container| SourceFacts {
        size_bytes: Some(Bytes(612_345_678)),
        raw_size_bytes: Some(Bytes(104_857_600)),
        raw_md5: Some("5d41402abc4b2a76b9719d911017c592".to_owned()),
        container: Some(container),
        ..SourceFacts::default()
    };
    Sources {
        images: request
            .images
            .iter()
            .map(|image| (image.url.clone(), facts(image.container)))
            .collect(),
    }
}

fn planned(request: &Request, inventory: &Inventory, options: &Options) -> Plan {
    plan(
        request,
        inventory,
        &looked_up(request),
        options,
        &mut CountedIds::default(),
    )
    .unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Compares with `testdata/plans/NAME.txt` and `.json`.
fn golden(name: &str, plan: &Plan) {
    let json = serde_json::to_string_pretty(&plan.to_json()).expect("JSON") + "\n";
    for (suffix, text) in [("txt", plan.to_string()), ("json", json)] {
        let path = testdata(&format!("plans/{name}.{suffix}"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("the golden can be written");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == wanted,
            "{} is not what is planned now:\n{}",
            path.display(),
            diff::lines(&wanted, &text)
        );
    }
}

fn kinds(plan: &Plan) -> Vec<(RefusedBy, u8)> {
    plan.refusals
        .iter()
        .map(|refusal| (refusal.by, refusal.kind.exit_status()))
        .collect()
}

#[test]
fn empty_disks_get_the_layout_of_the_request() {
    for name in [
        "lvm-three-disks",
        "raid-mirrors",
        "two-images",
        "ceph-journals",
        "unmounted-filesystems",
        "ironic",
        "root-archive",
    ] {
        let request = request(name);
        let plan = planned(&request, &node(&request, 128 * GIB), &Options::default());
        assert_eq!(kinds(&plan), [], "{name}: {:?}", plan.refusals);
        golden(name, &plan);
    }
}

#[test]
fn on_uefi_the_placeholder_becomes_an_esp() {
    let request = request("nvme-first");
    let mut inventory = node(&request, 64 * GIB);
    inventory.firmware = Firmware::Uefi;
    golden(
        "nvme-first-uefi",
        &planned(&request, &inventory, &Options::default()),
    );
}

#[test]
fn what_an_earlier_run_left_is_let_go_from_the_top_down() {
    let request = request("raid-mirrors");
    golden(
        "raid-mirrors-again",
        &planned(
            &request,
            &installed(&request, 64 * GIB),
            &Options::default(),
        ),
    );
}

#[test]
fn kept_data_stays_where_it_is() {
    let request = request("keep-lvm");
    let plan = planned(
        &request,
        &installed(&request, 64 * GIB),
        &Options::default(),
    );
    assert_eq!(kinds(&plan), []);
    golden("keep-lvm", &plan);
}

#[test]
fn an_explicit_layout_is_kept_too() {
    let request = request("simple");
    let plan = planned(
        &request,
        &installed(&request, 64 * GIB),
        &Options::default(),
    );
    golden("simple-kept", &plan);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let request = request("keep-root-with-image");
    let plan = planned(&request, &node(&request, 64 * GIB), &Options::default());
    assert!(
        kinds(&plan).iter().all(|kind| *kind == (RefusedBy::Run, 5)),
        "{:?}",
        plan.refusals
    );
    golden("keep-root-with-image", &plan);
}

#[test]
fn a_layout_that_does_not_fit_is_refused_by_the_plan() {
    let request = request("lvm-three-disks");
    let plan = planned(&request, &node(&request, 40 * GIB), &Options::default());
    assert!(
        kinds(&plan).contains(&(RefusedBy::Plan, 4)),
        "{:?}",
        plan.refusals
    );
    golden("lvm-three-disks-too-small", &plan);
}

#[test]
fn disks_that_must_not_be_written_to_are_refused() {
    let request = request("lvm-three-disks");
    let mut inventory = node(&request, 64 * GIB);
    inventory.disks[0].mounted = true;
    inventory.disks[1].read_only = true;
    inventory.disks[1].removable = true;
    inventory.disks.push(Disk {
        path: "/dev/sdz".to_owned(),
        size_bytes: Bytes(GIB),
        ..Disk::default()
    });
    inventory.stacks.push(Stack {
        kind: StackKind::VolumeGroup,
        name: "elsewhere".to_owned(),
        members: vec![inventory.disks[2].path.clone().into(), "/dev/sdz".into()],
        disks: vec![inventory.disks[2].path.clone(), "/dev/sdz".to_owned()],
        active: true,
        nodes: Vec::new(),
    });
    let options = Options {
        protect: vec!["ata-ACME_SSD_VDC".to_owned()],
        ..Options::default()
    };
    let plan = planned(&request, &inventory, &options);
    golden("lvm-three-disks-busy", &plan);
    assert!(
        plan.steps
            .iter()
            .flat_map(|step| &step.destroys)
            .all(|destroyed| destroyed.device != "/dev/sdz")
    );
}
