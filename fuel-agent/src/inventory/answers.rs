//! Parsers for the output of query tools.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::inventory::AMBIVALENT;

/// Content of a device as a whole: a filesystem, a member of something, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// Its kind, as blkid names it; [`AMBIVALENT`] where there are several.
    pub(super) kind: Option<String>,
    pub(super) label: Option<String>,
    pub(super) uuid: Option<String>,
    /// The label in the boot sector of a FAT filesystem, where blkid was asked.
    pub(super) boot_label: Option<String>,
    /// Why it could not be examined; then nothing else is known.
    pub(super) failure: Option<String>,
}

impl Signature {
    /// For a device that could not be examined.
    pub(super) fn unknown(why: String) -> Self {
        Self {
            failure: Some(why),
            ..Self::default()
        }
    }
}

/// Content of each device that has any, by kernel name.
pub(super) type Signatures = BTreeMap<String, Signature>;

/// Reads `blkid -p -o export`: `KEY=VALUE` lines, whose values have a backslash before what a shell would take
/// otherwise.
pub(super) fn parse_blkid(status: i32, text: &str) -> Signature {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(name, _)| *name == key)?;
        let plain = unescaped(value);
        (!plain.is_empty()).then_some(plain)
    };
    Signature {
        kind: value("TYPE").or_else(|| (status == 8).then(|| AMBIVALENT.to_owned())),
        label: value("LABEL"),
        uuid: value("UUID"),
        boot_label: value("LABEL_FATBOOT"),
        failure: None,
    }
}

fn unescaped(value: &str) -> String {
    let mut plain = String::new();
    let mut escaped = false;
    for c in value.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    plain
}

/// The array that a device is a member of, by the device's own superblock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    /// Identifier of the array, the same on all members; not empty.
    pub(super) uuid: String,
    /// Name in the superblock, possibly after that of a host and a colon; the earlier owner's choice.
    pub(super) name: Option<String>,
}

/// Reads `mdadm --examine --export DEVICE`: a line for each key, its value as it is in the superblock up to the end of
/// the line; `None` where it names no array. A name can contain anything but the end of a line, at which mdadm cuts it,
/// so it cannot be taken for another key.
pub(super) fn parse_mdadm(text: &str) -> Option<Membership> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(name, _)| *name == key)?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    Some(Membership {
        uuid: value("MD_UUID")?,
        name: value("MD_NAME"),
    })
}

/// An array that its members name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Array {
    /// Node that it would have: `/dev/md/NAME`, or with its identifier where it has no name. One file name: nothing in
    /// a superblock leads elsewhere.
    pub(super) node: String,
    pub(super) uuid: String,
    /// Nodes of the members that were found.
    pub(super) members: Vec<String>,
}

impl Array {
    /// Without members.
    pub(super) fn of(membership: Membership) -> Self {
        let name = membership.name.as_deref().unwrap_or_default();
        // a host's name stands in front of it
        let name = name.split_once(':').map_or(name, |(_, name)| name);
        let name = if name.is_empty() {
            &membership.uuid
        } else {
            name
        };
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.:+".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).collect();
        let name = match name.as_str() {
            "." | ".." => "_",
            name => name,
        };
        Self {
            node: format!("/dev/md/{name}"),
            uuid: membership.uuid,
            members: Vec::new(),
        }
    }
}

/// A physical volume that belongs to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PhysicalVolume {
    pub(super) device: String,
    pub(super) group: String,
    /// Without its dashes, as device-mapper's names have it.
    pub(super) group_uuid: String,
}

/// Reads `lvm pvs --reportformat json`. Volumes of no group, and those that LVM misses (`[unknown]`), are left out;
/// `None` where it is no such report.
pub(super) fn parse_pvs(text: &str) -> Option<Vec<PhysicalVolume>> {
    // Warnings may come before the report where standard output is shared.
    let start = text.find('{')?;
    let report: Value = serde_json::from_str(text.get(start..)?).ok()?;
    let mut volumes = Vec::new();
    for part in report.get("report")?.as_array()? {
        for row in part
            .get("pv")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let field = |key: &str| row.get(key).and_then(Value::as_str).map(str::trim);
            let (device, group) = (field("pv_name")?, field("vg_name")?);
            if !group.is_empty() && device.starts_with('/') {
                volumes.push(PhysicalVolume {
                    device: device.to_owned(),
                    group: group.to_owned(),
                    group_uuid: field("vg_uuid")?.replace('-', ""),
                });
            }
        }
    }
    Some(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkid_says_what_is_there() {
        let text = "DEVNAME=/dev/sda1\nLABEL=my\\ root\\\\x\nUUID=0a-1b\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        assert_eq!(
            parse_blkid(0, text),
            Signature {
                kind: Some("ext4".to_owned()),
                label: Some("my root\\x".to_owned()),
                uuid: Some("0a-1b".to_owned()),
                ..Signature::default()
            }
        );
        let fat = parse_blkid(0, "LABEL_FATBOOT=CIDATA\nLABEL=DATA\nTYPE=vfat\n");
        assert_eq!(fat.boot_label.as_deref(), Some("CIDATA"));
        assert_eq!(parse_blkid(2, ""), Signature::default());
        assert_eq!(parse_blkid(8, "").kind.as_deref(), Some(AMBIVALENT));
        assert_eq!(
            parse_blkid(0, "DEVNAME=/dev/sda\nPTTYPE=gpt\n"),
            Signature::default()
        );
    }

    #[test]
    fn mdadm_says_what_a_superblock_says() {
        let text = "MD_LEVEL=raid1\nMD_DEVICES=2\nMD_NAME=node:0\nMD_UUID=5f:1\nMD_EVENTS=17\n";
        let found = parse_mdadm(text).unwrap();
        let expected = Membership {
            uuid: "5f:1".to_owned(),
            name: Some("node:0".to_owned()),
        };
        assert_eq!(found, expected);
        assert_eq!(Array::of(found).node, "/dev/md/0");
        let container =
            parse_mdadm("MD_METADATA=imsm\nMD_LEVEL=container\nMD_UUID=84:3\n").unwrap();
        assert_eq!(Array::of(container).node, "/dev/md/84:3");
        for nothing in ["", "MD_LEVEL=raid1\n", "MD_UUID=\n", "ARRAY UUID=5f:1\n"] {
            assert_eq!(parse_mdadm(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_name_forges_no_key_and_leads_nowhere() {
        for (name, node) in [
            (
                "x container=y devices=/dev/vda",
                "/dev/md/x_container_y_devices__dev_vda",
            ),
            ("MD_UUID=dead:beef", "/dev/md/beef"),
            ("host:../../sda", "/dev/md/.._.._sda"),
            ("..", "/dev/md/_"),
            ("host:", "/dev/md/5f:1"),
            ("q'\"$(x)", "/dev/md/q____x_"),
            ("\u{1b}[31m", "/dev/md/__31m"),
        ] {
            let text = format!("MD_LEVEL=raid1\nMD_NAME={name}\nMD_UUID=5f:1\n");
            let found = parse_mdadm(&text).unwrap();
            assert_eq!(
                (found.uuid.as_str(), found.name.as_deref()),
                ("5f:1", Some(name))
            );
            assert_eq!(Array::of(found).node, node);
        }
    }

    #[test]
    fn lvm_says_which_volumes_belong_together() {
        let text = r#"  WARNING: something
  {"report": [{"pv": [
      {"pv_name":"/dev/sda5", "vg_name":"os", "vg_uuid":"ab-cd"},
      {"pv_name":"/dev/sdb", "vg_name":"", "vg_uuid":""},
      {"pv_name":"[unknown]", "vg_name":"os", "vg_uuid":"ab-cd"}
  ]}], "log": []}"#;
        let volumes = parse_pvs(text).unwrap();
        assert_eq!(
            volumes,
            [PhysicalVolume {
                device: "/dev/sda5".to_owned(),
                group: "os".to_owned(),
                group_uuid: "abcd".to_owned(),
            }]
        );
        assert_eq!(parse_pvs(r#"{"report":[{"pv":[]}]}"#), Some(Vec::new()));
        for bad in ["", "{", "{}", r#"{"report":[{"pv":[{}]}]}"#] {
            assert_eq!(parse_pvs(bad), None, "{bad}");
        }
    }
}
