//! What must hold for any input: layouts without overlap, and problems instead of panics.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use fuel_agent::model::index::{IndexedBy, PhysicalVolumeIndex};
use fuel_agent::model::request::{Problem, Request};
use fuel_agent::model::storage::{BlockRef, Mount, Role};
use fuel_agent::request::{self, Context, Driver};
use host::units::{Bytes, Extent};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

/// A good request of our own, whose disks are replaced.
fn base() -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/requests/lvm-three-disks.json");
    let text = std::fs::read_to_string(path).expect("testdata is part of the repository");
    serde_json::from_str(&text).expect("JSON")
}

fn check(value: &Value, driver: Driver) -> Result<Request, Vec<Problem>> {
    let context = Context {
        driver,
        ..Context::default()
    };
    request::check(value, context)
}

fn size() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-5), 1..400i64, 1000..9_000_000i64]
}

/// A volume of any kind in the schema.
fn volume() -> impl Strategy<Value = Value> {
    let mount = prop_oneof![
        Just("none"),
        Just("swap"),
        Just("/boot"),
        Just("/srv"),
        Just("/var/log"),
        Just("/data")
    ];
    let kind = prop_oneof![Just("ext4"), Just("xfs"), Just("none"), Just("ext2")];
    let name = prop_oneof![4 => Just("Data"), 1 => Just("ceph"), 1 => Just("cephjournal")];
    let group = prop_oneof![Just("os"), Just("vm"), Just("data-1")];
    prop_oneof![
        size().prop_map(|size| json!({"type": "boot", "size": size})),
        size().prop_map(|size| json!({"type": "lvm_meta_pool", "size": size})),
        (size(), group, 10..200i64, any::<bool>()).prop_map(|(size, vg, meta, keep)| {
            json!({"type": "pv", "size": size, "vg": vg, "lvm_meta_size": meta, "keep_data": keep})
        }),
        (size(), mount, kind, name, any::<bool>(), any::<bool>()).prop_map(
            |(size, mount, kind, name, raid, keep)| {
                json!({
                    "type": if raid { "raid" } else { "partition" }, "size": size, "mount": mount,
                    "file_system": kind, "name": name, "keep_data": keep,
                })
            }
        ),
    ]
}

/// Disks, the first of them with a root filesystem and a ceph data volume, so that most of them are accepted.
fn spaces() -> impl Strategy<Value = Value> {
    let disk = (
        vec(volume(), 0..12),
        prop_oneof![8 => Just(10_000_000i64), 1 => Just(0)],
    );
    let group = (prop_oneof![Just("os"), Just("vm")], vec(size(), 0..4));
    (vec(disk, 1..6), vec(group, 0..2)).prop_map(|(disks, groups)| {
        let mut items: Vec<Value> = disks
            .into_iter()
            .enumerate()
            .map(|(index, (mut volumes, size))| {
                if index == 0 {
                    volumes.push(json!({"type": "partition", "mount": "/", "file_system": "ext4", "size": 5000}));
                    volumes.push(json!({"type": "partition", "name": "ceph", "size": 50}));
                    volumes.push(json!({"type": "pv", "vg": "os", "size": 300, "lvm_meta_size": 64}));
                    volumes.push(json!({"type": "pv", "vg": "vm", "size": 300, "lvm_meta_size": 64}));
                    volumes.push(json!({"type": "partition", "mount": "/boot", "size": 100}));
                }
                let name = format!("vd{}", char::from(b'a' + u8::try_from(index).expect("few")));
                let size = if index == 0 { 100 } else { size };
                json!({
                    "type": "disk", "name": name, "id": name, "extra": [], "size": size, "free_space": 0,
                    "volumes": volumes,
                })
            })
            .collect();
        for (index, (name, sizes)) in groups.into_iter().enumerate() {
            let volumes: Vec<Value> = sizes
                .into_iter()
                .enumerate()
                .map(|(lv, size)| {
                    let (name, mount) = (format!("lv-{index}-{lv}"), format!("/m{index}-{lv}"));
                    json!({"type": "lv", "name": name, "size": size, "mount": mount})
                })
                .collect();
            items.push(json!({"type": "vg", "id": name, "volumes": volumes}));
        }
        Value::Array(items)
    })
}

/// What holds for every accepted request.
fn assert_sound(request: &Request) {
    let storage = &request.storage;
    for disk in &storage.disks {
        let numbers: Vec<u32> = disk.partitions.iter().map(|p| p.number).collect();
        let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).expect("few")).collect();
        assert_eq!(numbers, expected);
        let mut free = Bytes::MIB;
        for partition in &disk.partitions {
            assert!(
                partition.start.is_aligned(Bytes::MIB) && partition.size.is_aligned(Bytes::MIB)
            );
            assert!(partition.start >= free && partition.size > Bytes::ZERO);
            let extent = Extent::new(partition.start, partition.size).expect("on the disk");
            free = extent.end().saturating_add(Bytes::MIB);
        }
        assert_eq!(
            (disk.partitions[0].role, disk.partitions[1].role),
            (Role::BiosGrub, Role::Esp)
        );
    }
    assert_references(request);
}

/// What refers to something refers to what is there, and nothing is used for two things.
fn assert_references(request: &Request) {
    let storage = &request.storage;
    let exists = |on: BlockRef| match on {
        BlockRef::Partition { disk, number } => {
            storage[disk].partitions.iter().any(|p| p.number == number)
        }
        BlockRef::Raid(index) => storage.has(index),
        BlockRef::Logical(index) => storage.has(index),
        BlockRef::Undefined(_) => false,
    };
    let mut used: Vec<BlockRef> = storage
        .raids
        .iter()
        .flat_map(|raid| &raid.members)
        .copied()
        .collect();
    used.extend(storage.physical_volumes.iter().map(|pv| pv.on));
    used.extend(storage.filesystems.iter().map(|fs| fs.on));
    used.extend(request.configdrive);
    assert!(used.iter().all(|on| exists(*on)));
    let count = used.len();
    used.sort();
    used.dedup();
    assert_eq!(used.len(), count, "nothing is used for two things");
    let mut grouped: Vec<PhysicalVolumeIndex> = storage
        .volume_groups
        .iter()
        .flat_map(|vg| vg.physical_volumes.clone())
        .collect();
    grouped.sort_unstable();
    assert_eq!(
        grouped,
        storage
            .physical_volumes()
            .map(|(index, _)| index)
            .collect::<Vec<_>>()
    );
    for image in &request.images {
        assert_eq!(
            storage[image.filesystem].mount.as_ref().map(Mount::as_str),
            Some(image.mount.as_str())
        );
    }
    let boots = storage
        .disks
        .iter()
        .flat_map(|disk| &disk.partitions)
        .filter(|p| p.role == Role::Boot);
    assert!(boots.count() <= 1);
}

fn assert_useful(problems: &[Problem]) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(
            !problem.path.is_empty() && !problem.what.is_empty() && !problem.hint.is_empty(),
            "{problem:?}"
        );
        let known = [
            "ks_meta",
            "interfaces",
            "kernel_options",
            "hostname",
            "name_servers",
            "profile",
            "partitioning",
            "$",
            "[",
        ];
        assert!(
            known.iter().any(|start| problem.path.starts_with(start)),
            "{problem:?}"
        );
    }
}

/// Any JSON, with keys that mean something here more often than by chance.
fn garbage() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("disk"),
            Just("vg"),
            Just("lv"),
            Just("pv"),
            Just("raid"),
            Just("partition"),
            Just("/"),
            Just("swap"),
            Just("none")
        ]
        .prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("ks_meta"),
        Just("pm_data"),
        Just("ks_spaces"),
        Just("volumes"),
        Just("type"),
        Just("size"),
        Just("mount"),
        Just("image_data"),
        Just("/"),
        Just("uri"),
        Just("interfaces"),
        Just("kernel_options"),
        Just("udevrules"),
        Just("partitioning"),
        Just("parteds"),
        Just("partitions"),
        Just("fss"),
        Just("pvs"),
        Just("vgs"),
        Just("lvs"),
        Just("mds"),
        Just("name"),
        Just("device"),
        Just("user_accounts"),
        Just("hostname"),
        Just("profile"),
        Just("netcfg/choose_interface"),
    ]
    .prop_map(ToOwned::to_owned);
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// All places of a document, as JSON pointers.
fn pointers(value: &Value, here: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{here}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, format!("{here}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(here);
}

fn sample(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/requests/{name}.json"));
    let text = std::fs::read_to_string(path).expect("testdata is part of the repository");
    serde_json::from_str(&text).expect("JSON")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_layout_that_is_accepted_is_sound_and_the_same_twice(spaces in spaces()) {
        let mut input = base();
        input["ks_meta"]["pm_data"]["ks_spaces"] = spaces;
        match check(&input, Driver::Nailgun) {
            Ok(request) => {
                assert_sound(&request);
                let again = check(&input, Driver::Auto).expect("accepted before");
                prop_assert_eq!(request.storage, again.storage);
                prop_assert_eq!(request.digest, again.digest);
            }
            Err(problems) => assert_useful(&problems),
        }
    }

    #[test]
    fn garbage_is_refused_with_paths_by_every_driver(value in garbage()) {
        for driver in [Driver::Auto, Driver::Nailgun, Driver::NailgunSimple, Driver::Ironic, Driver::Native] {
            if let Err(problems) = check(&value, driver) {
                assert_useful(&problems);
            }
        }
    }

    #[test]
    fn one_wrong_value_anywhere_never_panics(place in any::<prop::sample::Index>(), value in garbage(), simple: bool) {
        let mut input = sample(if simple { "simple" } else { "lvm-three-disks" });
        let mut places = Vec::new();
        pointers(&input, String::new(), &mut places);
        let place: &String = place.get(&places);
        *input.pointer_mut(place).expect("a place") = value;
        if let Err(problems) = check(&input, Driver::Auto) {
            assert_useful(&problems);
        }
    }

    #[test]
    fn any_text_is_a_request_or_problems(text in ".{0,200}") {
        if let Err(problems) = request::load(&text, Driver::Auto) {
            assert_useful(&problems);
        }
    }
}

#[test]
fn most_random_layouts_are_accepted() {
    // Or else the property above would prove little.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..100)
        .filter(|_| {
            let tree = spaces()
                .new_tree(&mut runner)
                .unwrap_or_else(|e| panic!("{e}"));
            let mut input = base();
            input["ks_meta"]["pm_data"]["ks_spaces"] = tree.current();
            check(&input, Driver::Nailgun).is_ok()
        })
        .count();
    assert!(accepted > 50, "{accepted} of 100");
}

#[test]
fn a_document_full_of_wrong_items_is_refused_before_anyone_loses_patience() {
    let spaces = |item: &str, count: usize| {
        let items = vec![item; count].join(",");
        format!("{{\"profile\": \"\", \"ks_meta\": {{\"pm_data\": {{\"ks_spaces\": [{items}]}}}}}}")
    };
    let volume = r#"{"type":"lv","name":"a","size":1}"#;
    let group = format!(
        r#"{{"type":"vg","id":"a","volumes":[{}]}}"#,
        vec![volume; 1000].join(",")
    );
    for text in [
        spaces(r#"{"type":"x"}"#, 200_000),
        spaces(r#"{"type":"disk","volumes":[{},{},{},{},{}]}"#, 50_000),
        spaces(&group, 50),
    ] {
        let problems = request::load(&text, Driver::Auto).expect_err("refused");
        assert_useful(&problems);
        assert!(problems.len() <= 200);
    }
}
