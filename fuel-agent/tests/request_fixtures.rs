//! Upstream's inputs through our loader, compared with what upstream's own parser made of them.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;

use fuel_agent::model::request::{Problem, Request};
use fuel_agent::plan::select;
use fuel_agent::request::{self, Context, Driver};
use serde_json::Value;
use support::scheme;

/// The driver that a fixture was made with.
fn driver(name: &str) -> Driver {
    match name {
        "ironic-minimal" => Driver::Ironic,
        "simple-driver" => Driver::NailgunSimple,
        _ => Driver::Nailgun,
    }
}

fn load(value: &Value, driver: Driver) -> Result<Request, Vec<Problem>> {
    let context = Context {
        driver,
        ..Context::default()
    };
    request::check(value, context)
}

/// What differs between two values, as paths with both sides.
fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let side = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or_default()
                };
                differences(&format!("{path}.{key}"), &side(a), &side(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{index}]"), a, b, found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: ours {ours}, upstream's {theirs}")),
    }
}

fn assert_same(name: &str, request: &Request, upstream: Value) {
    let mut found = Vec::new();
    differences(
        "",
        &scheme::dump(request),
        &scheme::upstream(upstream),
        &mut found,
    );
    assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
}

fn check_fixture(folder: &Path, name: &str) {
    let input = support::json(&folder.join(format!("{name}.json")));
    let theirs = support::json(&folder.join(format!("{name}.scheme.json")));
    for driver in [driver(name), Driver::Auto] {
        let ours = load(&input, driver);
        if theirs.get("ERROR").is_some() {
            let problems = ours.expect_err(name);
            assert!(!problems.is_empty(), "{name}");
            continue;
        }
        let request = ours.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert_same(name, &request, theirs.clone());
    }
}

#[test]
fn every_fixture_yields_upstreams_layout_or_is_refused_where_upstream_refuses() {
    let Some(folder) = support::fixtures() else {
        return;
    };
    let names = support::names(&folder);
    assert!(names.len() > 20, "only {names:?}");
    for name in names {
        check_fixture(&folder, &name);
    }
}

#[test]
fn every_fixtures_disks_are_found_on_its_machine() {
    let Some(folder) = support::fixtures() else {
        return;
    };
    for name in support::names(&folder) {
        let input = support::json(&folder.join(format!("{name}.json")));
        let Ok(request) = load(&input, driver(&name)) else {
            continue;
        };
        let inventory = support::inventory_of(&folder, &name);
        let disks = &request.storage.disks;
        let chosen =
            select::select_all(disks, &inventory).unwrap_or_else(|e| panic!("{name}: {e:#?}"));
        let dump = scheme::dump(&request);
        for (index, choice) in chosen.iter().enumerate() {
            let theirs = &dump["partition_scheme"]["parteds"][index]["name"];
            assert_eq!(theirs, inventory[choice.disk].path.as_str(), "{name}");
        }
    }
}

/// Where the agent accepts what upstream refuses, each with its reason; nothing else may differ.
const ACCEPTED_HERE: [(&str, &str); 1] = [(
    "admin-mac-uppercase",
    "upstream compares MAC addresses byte for byte and crashes where only the case differs",
)];

#[test]
fn every_mutation_is_accepted_or_refused_as_upstream_does() {
    let Some(folder) = support::fixtures() else {
        return;
    };
    let mutations = support::json(&folder.join("mutations.json"));
    let mutations = mutations.as_array().expect("a list");
    assert!(mutations.len() > 70);
    for mutation in mutations {
        let name = mutation["name"].as_str().expect("a name");
        let base = mutation["base"].as_str().expect("a base");
        let input = support::mutation::input(&folder, mutation);
        let ours = load(&input, Driver::Nailgun);
        let mut theirs = support::json(&folder.join(format!("{base}.scheme.json")));
        let deviates = ACCEPTED_HERE
            .iter()
            .any(|(deviation, _)| *deviation == name);
        if mutation["expect"].get("error_class").is_some() && !deviates {
            assert!(ours.is_err(), "{name}: upstream refuses it");
            continue;
        }
        if let Some(changed) = mutation["expect"]["changed"].as_object() {
            for (key, value) in changed {
                theirs[key] = value.clone();
            }
        }
        let request = ours.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert_same(name, &request, theirs);
    }
}

/// What a person reads for every input that is refused.
#[test]
fn every_refusal_names_a_path_and_says_what_is_right() {
    let Some(folder) = support::fixtures() else {
        return;
    };
    let mutations = support::json(&folder.join("mutations.json"));
    for mutation in mutations.as_array().expect("a list") {
        let input = support::mutation::input(&folder, mutation);
        for problem in load(&input, Driver::Nailgun).err().unwrap_or_default() {
            println!("{}: {problem}; {}", mutation["name"], problem.hint);
            assert!(
                !problem.path.is_empty() && !problem.what.is_empty() && !problem.hint.is_empty()
            );
            assert!(
                !problem.to_string().contains("r00tme") && !problem.hint.contains("marionette")
            );
        }
    }
}
