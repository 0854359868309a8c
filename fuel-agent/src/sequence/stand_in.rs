//! Files that stand for disks: `--disk NAME=FILE[:SIZE]`.

use std::path::PathBuf;

use host::units::Bytes;

use crate::model::error::{Error, Kind};

/// A file that stands for a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The disk's name: `sda`.
    pub name: String,
    /// Path of the file.
    pub file: PathBuf,
    /// The size that it is brought to.
    pub size: Option<Bytes>,
}

impl StandIn {
    /// Reads `NAME=FILE[:SIZE]`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(Kind::Usage, format!("`--disk {text}` is not understood"))
                .hint("write it like `--disk sda=/tmp/a.img:20GiB`")
        };
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.strip_prefix("/dev/").unwrap_or(name);
        let plain = |c: char| c.is_ascii_alphanumeric() || "!_-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(wrong());
        }
        let (file, size) = match rest.rsplit_once(':') {
            // A colon may be part of the file's name; what begins with a digit after the last one is a size.
            Some((file, size)) if size.starts_with(|c: char| c.is_ascii_digit()) => {
                let size: Bytes = size.parse().map_err(|error| wrong().because(error))?;
                (file, Some(size))
            }
            _ => (rest, None),
        };
        if file.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            file: file.into(),
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_a_disk_is_read_with_and_without_a_size() {
        for (text, name, file, size) in [
            ("sda=/tmp/a.img", "sda", "/tmp/a.img", None),
            (
                "/dev/sda=/tmp/a.img:20GiB",
                "sda",
                "/tmp/a.img",
                Some(20 << 30),
            ),
            ("nvme0n1=a b:512 MiB", "nvme0n1", "a b", Some(512 << 20)),
            ("vda=/tmp/a:b:1GiB", "vda", "/tmp/a:b", Some(1 << 30)),
            ("vda=/tmp/a:b", "vda", "/tmp/a:b", None),
        ] {
            let parsed = StandIn::parse(text).unwrap();
            let expected = StandIn {
                name: name.to_owned(),
                file: file.into(),
                size: size.map(Bytes),
            };
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_file_for_a_disk_is_a_usage_error() {
        for text in [
            "sda",
            "=/tmp/a",
            "sda=",
            "sda=:1GiB",
            "a/b=/c",
            "sda=/a:20G",
        ] {
            let error = StandIn::parse(text).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{text}");
        }
    }
}
