//! Types of partitions: the known GPT types, and the one that a request, an inventory or a plan names.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Uuid, uuid};

// As the UEFI and Discoverable Partitions specifications list them.

/// GPT type of GRUB's core image.
pub const BIOS_GRUB: Uuid = uuid!("21686148-6449-6E6F-744E-656564454649");
/// GPT type of an EFI system partition.
pub const ESP: Uuid = uuid!("C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
/// GPT type of a member of an md array.
pub const RAID: Uuid = uuid!("A19D880F-05FC-4D3B-A006-743F0F84911E");
/// GPT type of an LVM physical volume.
pub const LVM: Uuid = uuid!("E6D6D379-F507-44C2-A23C-238F2A3DF928");
/// GPT type of swap space.
pub const SWAP: Uuid = uuid!("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F");
/// GPT type of a partition for which the plan has none: a Linux filesystem.
pub const DATA: Uuid = uuid!("0FC63DAF-8483-4772-8E79-3D69D8477DE4");

/// MBR type of an EFI system partition, as udev writes it.
const MBR_ESP: &str = "0xef";

/// Type of a partition. It is read from text once, where a request or an inventory is read; its own text is that text,
/// letter for letter.
///
/// A GPT type is a [`Uuid`], like the identifiers of disks and partitions: a table has all of them in the same encoding
/// ([`Uuid::to_bytes_le`]), and `host` reads and writes them as such. A type of its own would be converted everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionType {
    /// A GPT type, as a GUID.
    Gpt {
        /// Type GUID.
        guid: Uuid,
        /// How it was given, where that is not the usual form, which is in upper case.
        spelling: Option<String>,
    },
    /// What is not a GUID: what a request gives in its place, which is planned as upstream plans it and refused by
    /// `run`; or what udev has of an MBR, like `0x83`.
    Other(String),
}

impl PartitionType {
    /// The GPT type, if it is one.
    pub const fn guid(&self) -> Option<Uuid> {
        match self {
            Self::Gpt { guid, .. } => Some(*guid),
            Self::Other(_) => None,
        }
    }

    /// Whether firmware or GRUB starts what is in such a partition.
    pub fn boots(&self) -> bool {
        match self {
            Self::Gpt { guid, .. } => [BIOS_GRUB, ESP].contains(guid),
            Self::Other(text) => text.eq_ignore_ascii_case(MBR_ESP),
        }
    }

    /// As it was given; else in upper case, as the specifications have it.
    pub fn text(&self) -> String {
        match self {
            Self::Gpt {
                spelling: Some(text),
                ..
            }
            | Self::Other(text) => text.clone(),
            Self::Gpt { guid, .. } => canonical(*guid),
        }
    }
}

fn canonical(guid: Uuid) -> String {
    format!("{:X}", guid.hyphenated())
}

impl From<Uuid> for PartitionType {
    fn from(guid: Uuid) -> Self {
        Self::Gpt {
            guid,
            spelling: None,
        }
    }
}

impl From<&str> for PartitionType {
    /// A GUID in the form in which GPT tools print it, with hyphens and without braces, in either case; else
    /// [`Other`](Self::Other).
    fn from(text: &str) -> Self {
        let has_hyphens_alone = text.len() == uuid::fmt::Hyphenated::LENGTH;
        let parsed = Uuid::try_parse(text).ok().filter(|_| has_hyphens_alone);
        match parsed {
            Some(guid) => Self::Gpt {
                guid,
                spelling: (text != canonical(guid)).then(|| text.to_owned()),
            },
            None => Self::Other(text.to_owned()),
        }
    }
}

impl Serialize for PartitionType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for PartitionType {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(text.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_in_either_case_and_printed_as_it_was_given() {
        for text in [
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "C12a7328-F81f-11D2-BA4B-00a0c93ec93b",
        ] {
            let read = PartitionType::from(text);
            assert_eq!(read.guid(), Some(ESP), "{text}");
            assert_eq!(read.text(), text);
            let json = serde_json::to_string(&read).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<PartitionType>(&json).unwrap(), read);
        }
        assert_eq!(
            PartitionType::from(LVM).text(),
            "E6D6D379-F507-44C2-A23C-238F2A3DF928"
        );
    }

    #[test]
    fn all_else_is_kept_as_it_is() {
        for text in [
            "",
            "linux",
            "0x83",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
            "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}",
            "urn:uuid:c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
        ] {
            let read = PartitionType::from(text);
            assert_eq!(read, PartitionType::Other(text.to_owned()));
            assert_eq!(read.text(), text);
        }
    }

    #[test]
    fn what_boots_is_known_by_either_table() {
        for (text, boots) in [
            ("21686148-6449-6e6f-744e-656564454649", true),
            ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", true),
            ("0xef", true),
            ("0xEF", true),
            ("0x83", false),
            ("0FC63DAF-8483-4772-8E79-3D69D8477DE4", false),
        ] {
            assert_eq!(PartitionType::from(text).boots(), boots, "{text}");
        }
    }
}
