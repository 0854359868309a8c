//! udev's own record of a device: `/run/udev/data/bMAJOR:MINOR`.

use std::collections::BTreeMap;

/// Udev's record of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Links that it claims, with their `/dev/`. Two devices may claim the same one; only one of them has it.
    pub(super) links: Vec<String>,
    properties: BTreeMap<String, String>,
}

impl Record {
    /// Reads a record: lines of a letter, a colon and a value, of which `S` (link) and `E` (property) matter here.
    pub(super) fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            match line.split_once(':') {
                Some(("S", link)) => record.links.push(format!("/dev/{link}")),
                Some(("E", property)) => {
                    if let Some((key, value)) = property.split_once('=') {
                        let (key, value) = (key.to_owned(), value.to_owned());
                        record.properties.insert(key, value);
                    }
                }
                _ => {}
            }
        }
        record
    }

    /// A property that is there and not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let value = self.properties.get(key)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// A property that udev keeps encoded (`…_ENC`), else its plain form, in which spaces became underscores.
    pub(super) fn decoded(&self, key: &str) -> Option<String> {
        match self.get(&format!("{key}_ENC")) {
            Some(encoded) => Some(words(&decode(encoded))),
            None => self.get(key).map(words),
        }
        .filter(|value| !value.is_empty())
    }
}

/// Undoes `\x20`.
fn decode(encoded: &str) -> String {
    let mut pieces = encoded.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or(("", piece));
        if let Ok(byte) = u8::from_str_radix(digits, 16) {
            bytes.push(byte);
            bytes.extend_from_slice(rest.as_bytes());
        } else {
            bytes.extend_from_slice(b"\\x");
            bytes.extend_from_slice(piece.as_bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text with one space for each run of white space, and none around it.
pub(super) fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_links_and_properties() {
        let record = Record::parse(
            "S:disk/by-id/ata-X\nS:disk/by-path/pci-1\nI:123\nE:ID_MODEL=A_B\nE:ID_MODEL_ENC=A\\x20\\x20B\\x20\nE:EMPTY=\nE:ODD\nV:1\nG:systemd\n",
        );
        assert_eq!(
            record.links,
            ["/dev/disk/by-id/ata-X", "/dev/disk/by-path/pci-1"]
        );
        assert_eq!(record.get("ID_MODEL"), Some("A_B"));
        assert_eq!(record.decoded("ID_MODEL").as_deref(), Some("A B"));
        assert_eq!(record.get("EMPTY"), None);
        assert_eq!(record.decoded("ID_VENDOR"), None);
    }

    #[test]
    fn what_is_not_an_escape_stays() {
        for (encoded, plain) in [
            ("a\\x2fb", "a/b"),
            ("\\xc3\\xa4", "ä"),
            ("a\\xzz", "a\\xzz"),
            ("a\\x2", "a\\x2"),
            ("\\xä", "\\xä"),
            ("", ""),
        ] {
            assert_eq!(decode(encoded), plain, "{encoded}");
        }
    }
}
