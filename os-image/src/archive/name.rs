//! Names of entries: relative paths that stay below the root.

use std::fmt;

/// A displayed name has at most this many characters.
const SHOWN: usize = 200;

/// A path below the root of the archive: relative, without empty parts, `.` and `..`. The empty path is the root
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Parses the text of a header: leading, doubled and trailing slashes and `./` are removed, as tar does.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("has no name");
        }
        if text.contains(&0) {
            return Err("has a zero byte in its name");
        }
        let parts = text.split(|byte| *byte == b'/');
        let parts: Vec<&[u8]> = parts
            .filter(|part| !part.is_empty() && *part != b".")
            .collect();
        if parts.contains(&b"..".as_slice()) {
            return Err("has `..` in its name, which leads out of the archive");
        }
        Ok(Self(parts.join(&b'/')))
    }

    /// The path as bytes, parts separated by single slashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the empty path, the root itself.
    pub(crate) const fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(if self.is_root() { b"./" } else { &self.0 }))
    }
}

/// A name for messages: control characters are escaped, and long names are shortened.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|character| match character {
            character if character.is_control() => character.escape_default().collect(),
            character => vec![character],
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_a_place_below_the_root_or_nowhere() {
        for (text, name) in [
            ("etc/fstab", Ok("etc/fstab")),
            ("./etc/fstab", Ok("etc/fstab")),
            ("/etc/fstab", Ok("etc/fstab")),
            ("//.//etc/././/cron.d/", Ok("etc/cron.d")),
            ("./", Ok("")),
            ("/", Ok("")),
            ("...", Ok("...")),
            ("a/..b", Ok("a/..b")),
            ("", Err("has no name")),
            (
                "..",
                Err("has `..` in its name, which leads out of the archive"),
            ),
            (
                "a/../b",
                Err("has `..` in its name, which leads out of the archive"),
            ),
            (
                "/../etc",
                Err("has `..` in its name, which leads out of the archive"),
            ),
            ("a\0b", Err("has a zero byte in its name")),
        ] {
            let found = Name::parse(text.as_bytes());
            let found = found.as_ref().map(Name::as_bytes);
            assert_eq!(found, name.as_ref().map(|name| name.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_shown_without_what_would_harm_a_terminal() {
        assert_eq!(shown(b"a\x1b[2J\nb\xff"), "a\\u{1b}[2J\\nb\u{fffd}");
        assert_eq!(shown(&[b'x'; 300]).chars().count(), SHOWN + 1);
        assert_eq!(Name::default().to_string(), "./");
    }
}
