//! An inventory from a file: what `provision inventory --format json` wrote, or what a person did.
//!
//! Only `path` and `size_bytes` of a disk are required, unknown keys are passed over, and everything that is wrong is
//! reported at once, each with its place.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::count::{Count, MOST_VALUES, TOO_MANY};
use crate::model::error::{Error, Kind};
use crate::model::inventory::{Disk, ExistingPartition, Interface, Inventory, Stack};

/// Reads an inventory file.
pub fn from_json(text: &str) -> Result<Inventory, Error> {
    // Counted before anything is kept of it.
    let value = serde_json::from_str(text).and_then(|Count(_)| serde_json::from_str(text));
    let value: Value = value.map_err(|source| {
        if source.to_string().contains(TOO_MANY) {
            return wrong(format!(
                "the inventory holds more than the {MOST_VALUES} values that are read"
            ));
        }
        wrong("the inventory is not JSON").because(source)
    })?;
    let mut problems = Vec::new();
    check(&value, &mut problems);
    if !problems.is_empty() {
        return Err(wrong(format!(
            "the inventory is wrong: {}",
            problems.join("; ")
        )));
    }
    let mut inventory: Inventory = serde_json::from_value(value)
        .map_err(|source| wrong("the inventory cannot be read").because(source))?;
    for disk in &mut inventory.disks {
        if disk.logical_sector_size == 0 {
            disk.logical_sector_size = 512;
        }
        disk.physical_sector_size = disk.physical_sector_size.max(disk.logical_sector_size);
    }
    Ok(inventory)
}

fn wrong(what: impl Into<String>) -> Error {
    let hint =
        "`provision inventory --format json` shows the form; a disk needs `path` and `size_bytes`";
    Error::new(Kind::Usage, what).hint(hint)
}

fn check(value: &Value, problems: &mut Vec<String>) {
    let Some(root) = value.as_object() else {
        problems.push("it has to be an object with `disks`".to_owned());
        return;
    };
    let Some(disks) = root.get("disks") else {
        problems.push("`disks` is missing".to_owned());
        return;
    };
    let mut paths: Vec<&str> = Vec::new();
    for (place, disk) in objects("disks", disks, problems) {
        check_disk(&place, disk, &mut paths, problems);
    }
    for (place, interface) in items(root, "interfaces", problems) {
        whole::<Interface>(&place, interface, problems);
    }
    for (place, stack) in items(root, "stacks", problems) {
        whole::<Stack>(&place, stack, problems);
    }
    let mut rest = root.clone();
    for key in ["interfaces", "stacks"] {
        rest.shift_remove(key);
    }
    rest.insert("disks".to_owned(), Value::Array(Vec::new()));
    each_key(&rest, "", problems, |alone| {
        let mut alone = alone.clone();
        alone.entry("disks").or_insert(Value::Array(Vec::new()));
        parse::<Inventory>(Value::Object(alone))
    });
}

fn check_disk<'a>(
    place: &str,
    disk: &'a Map<String, Value>,
    paths: &mut Vec<&'a str>,
    problems: &mut Vec<String>,
) {
    for key in ["path", "size_bytes"] {
        if !disk.contains_key(key) {
            problems.push(format!("`{place}.{key}` is missing"));
        }
    }
    if let Some(path) = disk.get("path").and_then(Value::as_str) {
        if !path.starts_with("/dev/") {
            problems.push(format!("`{place}.path` has to start with `/dev/`"));
        }
        if paths.contains(&path) {
            problems.push(format!("`{place}.path` is `{path}` once more"));
        }
        paths.push(path);
    }
    for (place, partition) in items(disk, "partitions", problems)
        .into_iter()
        .map(|(inner, partition)| (format!("{place}.{inner}"), partition))
    {
        each_key(partition, &format!("{place}."), problems, |alone| {
            parse::<ExistingPartition>(Value::Object(alone.clone()))
        });
    }
    let mut rest = disk.clone();
    rest.shift_remove("partitions");
    each_key(&rest, &format!("{place}."), problems, |alone| {
        parse::<Disk>(Value::Object(alone.clone()))
    });
    let sector = disk.get("logical_sector_size").and_then(Value::as_u64);
    let size = disk.get("size_bytes").and_then(Value::as_u64);
    if let Some(sector) = sector.filter(|sector| !matches!(sector, 0 | 512 | 4096)) {
        problems.push(format!(
            "`{place}.logical_sector_size` is {sector}, not 512 or 4096"
        ));
    } else if size
        .is_some_and(|size| size == 0 || !size.is_multiple_of(sector.unwrap_or(512).max(512)))
    {
        problems.push(format!(
            "`{place}.size_bytes` is not a whole number of sectors"
        ));
    }
}

/// The members of a list that is itself optional.
fn items<'a>(
    object: &'a Map<String, Value>,
    key: &str,
    problems: &mut Vec<String>,
) -> Vec<(String, &'a Map<String, Value>)> {
    let list = object.get(key);
    list.map(|list| objects(key, list, problems))
        .unwrap_or_default()
}

/// The objects of a list, each with its place; a complaint for all else.
fn objects<'a>(
    place: &str,
    list: &'a Value,
    problems: &mut Vec<String>,
) -> Vec<(String, &'a Map<String, Value>)> {
    let Some(list) = list.as_array() else {
        problems.push(format!("`{place}` has to be a list"));
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let place = format!("{place}[{index}]");
        match item.as_object() {
            Some(object) => found.push((place, object)),
            None => problems.push(format!("`{place}` has to be an object")),
        }
    }
    found
}

/// Complains of an object as a whole where no key of its own can be named.
fn whole<T: DeserializeOwned>(
    place: &str,
    object: &Map<String, Value>,
    problems: &mut Vec<String>,
) {
    if let Err(error) = parse::<T>(Value::Object(object.clone())) {
        problems.push(format!("`{place}`: {error}"));
    }
}

/// Tries every key alone, because serde stops at the first error without its place.
fn each_key(
    object: &Map<String, Value>,
    place: &str,
    problems: &mut Vec<String>,
    parse: impl Fn(&Map<String, Value>) -> Result<(), String>,
) {
    for (key, value) in object {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = parse(&alone) {
            problems.push(format!("`{place}{key}`: {error}"));
        }
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<(), String> {
    serde_json::from_value::<T>(value)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::units::Bytes;

    #[test]
    fn a_path_and_a_size_are_enough_and_the_rest_has_defaults() {
        let text =
            r#"{"disks":[{"path":"/dev/sda","size_bytes":1048576,"colour":"red"}],"future":{}}"#;
        let inventory = from_json(text).unwrap();
        let expected = Disk {
            path: "/dev/sda".to_owned(),
            size_bytes: Bytes::MIB,
            logical_sector_size: 512,
            physical_sector_size: 512,
            ..Disk::default()
        };
        assert_eq!(inventory.disks, [expected]);
        assert_eq!(inventory.firmware, crate::model::node::Firmware::Bios);
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let text = r#"{"disks":[
            {"path":"/dev/sda","size_bytes":"20 GiB","rotational":"yes","links":["a",7]},
            {"path":"sdb","partitions":[{"number":1,"path":3}]},
            7,
            {"path":"/dev/sda","size_bytes":1000,"logical_sector_size":520},
            {"path":"/dev/sdc","size_bytes":1000}
        ],"firmware":"openboot","interfaces":[{"name":"eth0","mac":null}],"stacks":[{"kind":"raid"}]}"#;
        let error = from_json(text).unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        insta::assert_snapshot!(error.what.replace("; ", "\n"), @r#"
        the inventory is wrong: `disks[2]` has to be an object
        `disks[0].size_bytes`: invalid type: string "20 GiB", expected u64
        `disks[0].rotational`: invalid type: string "yes", expected a boolean
        `disks[0].links`: invalid type: integer `7`, expected a string
        `disks[1].size_bytes` is missing
        `disks[1].path` has to start with `/dev/`
        `disks[1].partitions[0].path`: invalid type: integer `3`, expected a string
        `disks[3].path` is `/dev/sda` once more
        `disks[3].logical_sector_size` is 520, not 512 or 4096
        `disks[4].size_bytes` is not a whole number of sectors
        `interfaces[0]`: invalid type: null, expected a string
        `stacks[0]`: missing field `name`
        `firmware`: unknown variant `openboot`, expected `bios` or `uefi`
        "#);
    }

    #[test]
    fn what_is_no_inventory_is_refused() {
        for (text, what) in [
            ("", "the inventory is not JSON"),
            (
                "[]",
                "the inventory is wrong: it has to be an object with `disks`",
            ),
            ("{}", "the inventory is wrong: `disks` is missing"),
            (
                r#"{"disks":{}}"#,
                "the inventory is wrong: `disks` has to be a list",
            ),
        ] {
            assert_eq!(from_json(text).unwrap_err().what, what);
        }
    }
}
