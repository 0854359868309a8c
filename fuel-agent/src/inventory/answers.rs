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

/// An array as its members describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Array {
    /// `/dev/md/NAME`, where it has a name.
    pub(super) name: Option<String>,
    pub(super) uuid: String,
    pub(super) members: Vec<String>,
    /// It is inside a container of the firmware, and has no members of its own.
    pub(super) contained: bool,
}

/// Reads `mdadm --examine --scan --verbose`: a line `ARRAY [NAME] KEY=VALUE…`, then indented lines with more of the
/// same.
pub(super) fn parse_mdadm(text: &str) -> Vec<Array> {
    let mut arrays: Vec<Array> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        if !line.starts_with(char::is_whitespace) {
            if words.next() != Some("ARRAY") {
                continue;
            }
            let name = words.next_if(|word| !word.contains('='));
            arrays.push(Array {
                name: name.map(str::to_owned),
                ..Array::default()
            });
        }
        let Some(array) = arrays.last_mut() else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "UUID" => value.clone_into(&mut array.uuid),
                "devices" => array.members = value.split(',').map(str::to_owned).collect(),
                "container" => array.contained = true,
                _ => {}
            }
        }
    }
    arrays
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
    fn mdadm_says_what_members_say() {
        let text = "\
ARRAY /dev/md/0  level=raid1 metadata=1.2 num-devices=2 UUID=5f:1 name=node:0
   devices=/dev/sdb2,/dev/sda2
ARRAY level=raid5 num-devices=3 UUID=77:2
   spares=1   devices=/dev/sdc1
ARRAY metadata=imsm UUID=84:3
   devices=/dev/sdd,/dev/sde
ARRAY /dev/md/Volume0 container=84:3 member=0 UUID=31:4
mdadm: something else
";
        let short: Vec<String> = parse_mdadm(text)
            .into_iter()
            .map(|array| {
                let name = array.name.as_deref().unwrap_or("-").to_owned();
                format!(
                    "{name} {} {:?} {}",
                    array.uuid, array.members, array.contained
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                r#"/dev/md/0 5f:1 ["/dev/sdb2", "/dev/sda2"] false"#,
                r#"- 77:2 ["/dev/sdc1"] false"#,
                r#"- 84:3 ["/dev/sdd", "/dev/sde"] false"#,
                "/dev/md/Volume0 31:4 [] true",
            ]
        );
        assert_eq!(parse_mdadm("   devices=/dev/sda\n"), []);
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
