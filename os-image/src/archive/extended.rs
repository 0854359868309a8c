//! Extended headers (PAX): records of a keyword and a value, for fields that do not fit into a header block.

use super::acl;
use super::sparse::Records;

/// The attribute that holds an access control list.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds a folder's default access control list.
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// The attribute that holds SELinux's label.
const SELINUX: &[u8] = b"security.selinux";

/// Limit in bytes of the names of one entry's attributes, each with a byte that ends it: Linux lists no more of a file
/// (`XATTR_LIST_MAX`), and looking for a name among millions would take for ever.
const NAMES_MOST: usize = 64 << 10;

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that second, below 10^9.
    pub nanoseconds: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name with its class, like `user.note`.
    pub name: Vec<u8>,
    /// Its value: any bytes.
    pub value: Vec<u8>,
}

/// The fields that extended headers set for the next entry, or for all that follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) user: Option<u64>,
    pub(super) group: Option<u64>,
    pub(super) modified: Option<Time>,
    pub(super) attributes: Vec<Attribute>,
    /// Access control lists in their text form.
    access: Option<Vec<u8>>,
    default: Option<Vec<u8>>,
    /// SELinux's label.
    label: Option<Vec<u8>>,
    pub(super) sparse: Records,
}

/// The entries that the records of a header apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The next entry only.
    Next,
    /// All entries that follow.
    All,
}

impl Extended {
    /// Adds the records of a header. Keywords that do not affect unpacking are ignored.
    pub(super) fn read(&mut self, mut text: &[u8], scope: Scope) -> Result<(), String> {
        while !text.is_empty() {
            let (keyword, value);
            (keyword, value, text) = record(text)?;
            let keyword_shown = || super::name::shown(keyword);
            let of_one = matches!(keyword, b"path" | b"linkpath" | b"size")
                || keyword.starts_with(b"GNU.sparse.")
                || keyword.starts_with(b"SCHILY.");
            if scope == Scope::All && of_one {
                let keyword = keyword_shown();
                return Err(format!("sets `{keyword}` for all entries that follow"));
            }
            self.take(keyword, value)
                .map_err(|why| format!("{why} (`{}`)", keyword_shown()))?;
        }
        Ok(())
    }

    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), String> {
        // an empty value cancels an earlier record
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match keyword {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = decimal(value)?,
            b"uid" => self.user = decimal(value)?,
            b"gid" => self.group = decimal(value)?,
            b"mtime" => self.modified = time(value)?,
            b"SCHILY.acl.access" => self.access = text(),
            b"SCHILY.acl.default" => self.default = text(),
            b"RHT.security.selinux" => self.label = text(),
            b"SCHILY.realsize" => return Err("is sparse in an unsupported format".to_owned()),
            _ => {
                if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    set(&mut self.attributes, unescaped(name), value)?;
                } else if let Some(what) = keyword.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take(what, value)?;
                }
            }
        }
        Ok(())
    }

    /// All attributes of the entry, each once: of an attribute in two forms, the one under its own name counts. GNU tar
    /// archives have access control lists in both, and the text form may contain names that cannot be resolved here.
    pub(super) fn all_attributes(&mut self) -> Result<Vec<Attribute>, String> {
        let mut all = std::mem::take(&mut self.attributes);
        let is_there = |name: &[u8]| all.iter().any(|known| known.name == name);
        let mut derived = Vec::new();
        for (name, text) in [(ACL_ACCESS, &self.access), (ACL_DEFAULT, &self.default)] {
            if let Some(text) = text.as_ref().filter(|_| !is_there(name)) {
                let value = acl::value(text)
                    .map_err(|why| format!("has an access control list that {why}"))?;
                derived.push((name, value));
            }
        }
        if let Some(label) = self.label.as_ref().filter(|_| !is_there(SELINUX)) {
            derived.push((SELINUX, [label, &b"\0"[..]].concat()));
        }
        all.extend(derived.into_iter().map(|(name, value)| Attribute {
            name: name.to_vec(),
            value,
        }));
        Ok(all)
    }
}

fn set(attributes: &mut Vec<Attribute>, name: Vec<u8>, value: &[u8]) -> Result<(), String> {
    attributes.retain(|known| known.name != name);
    // the kernel's list of names has a zero byte after each
    let names = attributes.iter().map(|known| known.name.len());
    let names = names.chain([name.len()]);
    if names.fold(0_usize, |sum, name| {
        sum.saturating_add(name).saturating_add(1)
    }) > NAMES_MOST
    {
        return Err(format!(
            "has more than {NAMES_MOST} bytes of names of attributes"
        ));
    }
    attributes.push(Attribute {
        name,
        value: value.to_vec(),
    });
    Ok(())
}

/// Keyword, value, and the remaining bytes.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The first record, `LENGTH KEYWORD=VALUE` and a line end.
fn record(text: &[u8]) -> Result<Record<'_>, String> {
    let found = || {
        let blank = text.iter().position(|byte| *byte == b' ')?;
        let length = digits(text.get(..blank)?)?;
        let length = usize::try_from(length).ok()?;
        let (record, rest) = text.split_at_checked(length.checked_sub(1)?)?;
        let record = record.get(blank.checked_add(1)?..)?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (keyword, value) = record.split_at_checked(equals)?;
        let value = value.strip_prefix(b"=")?;
        let rest = rest.strip_prefix(b"\n")?;
        (!keyword.is_empty()).then_some((keyword, value, rest))
    };
    found().ok_or_else(|| "has a malformed record".to_owned())
}

/// GNU tar writes `%3D` for `=` in the name of an attribute, and `%25` for `%`.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    loop {
        let (byte, after) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            [byte, after @ ..] => (*byte, after),
            [] => return plain,
        };
        plain.push(byte);
        rest = after;
    }
}

/// An unsigned decimal number; `None` for empty text.
fn decimal(text: &[u8]) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = digits(text).map(Some);
    number.ok_or_else(|| "has a malformed number".to_owned())
}

/// Parses text that consists of decimal digits only.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `-12.5`, `1700000000.123456789`; digits beyond nanoseconds are dropped, rounding towards the past.
fn time(text: &[u8]) -> Result<Option<Time>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_time(text)
        .map(Some)
        .ok_or_else(|| "has a malformed time".to_owned())
}

fn parse_time(text: &[u8]) -> Option<Time> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = text.split_at(point.unwrap_or(text.len()));
    let fraction = fraction.get(1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(digits(whole)?).ok()?;
    let places = fraction.iter().map(|digit| digit.wrapping_sub(b'0'));
    let nanoseconds = places
        .chain(std::iter::repeat(0))
        .take(9)
        .try_fold(0_u32, |sum, digit| {
            sum.checked_mul(10)?.checked_add(digit.into())
        })?;
    let is_finer = fraction.iter().skip(9).any(|digit| *digit != b'0');
    if !is_negative {
        return Some(Time {
            seconds,
            nanoseconds,
        });
    }
    // truncated digits round towards the past
    let back = nanoseconds.checked_add(is_finer.into())?;
    Some(if back == 0 {
        Time {
            seconds: seconds.checked_neg()?,
            nanoseconds: 0,
        }
    } else {
        Time {
            seconds: seconds.checked_neg()?.checked_sub(1)?,
            nanoseconds: 1_000_000_000_u32.checked_sub(back)?,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::tests::record;

    fn of(text: &[u8]) -> Extended {
        let mut extended = Extended::default();
        extended.read(text, Scope::Next).unwrap();
        extended
    }

    #[test]
    fn records_are_cut_by_their_length_and_not_by_what_is_in_them() {
        let extended = of(b"18 path=a\nb=c d/e\n12 uid=1000\n30 mtime=1700000000.123456789\n");
        assert_eq!(extended.path.as_deref(), Some(&b"a\nb=c d/e"[..]));
        assert_eq!(extended.user, Some(1000));
        let time = extended.modified.unwrap();
        assert_eq!(
            (time.seconds, time.nanoseconds),
            (1_700_000_000, 123_456_789)
        );
    }

    #[test]
    fn an_empty_value_cancels_an_earlier_record() {
        let extended = of(b"10 path=a\n8 path=\n10 size=7\n8 size=\n");
        assert_eq!((extended.path, extended.size), (None, None));
    }

    #[test]
    fn a_record_that_is_malformed_is_refused() {
        for text in [
            &b"10 path=a"[..],
            b"99 path=a\n",
            b"8 path=a\n",
            b"path=a\n",
            b"0 path=a\n",
            b"-1 path=a\n",
            b"8 pathab\n",
            b"5 =a\n",
            b" 5 a=\n",
            b"99999999999999999999999 path=a\n",
            b"\0\0\0",
        ] {
            let read = Extended::default().read(text, Scope::Next);
            assert!(read.is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn times_before_1970_and_finer_than_a_nanosecond_are_cut_towards_the_past() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1.", 1, 0),
            ("1.1234567899", 1, 123_456_789),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.0000000001", -1, 999_999_999),
        ] {
            let time = parse_time(text.as_bytes()).unwrap();
            assert_eq!(
                (time.seconds, time.nanoseconds),
                (seconds, nanoseconds),
                "{text}"
            );
        }
        for text in ["", "-", "1.x", "1e3", "99999999999999999999", "+1"] {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn attributes_keep_their_bytes_and_those_under_their_own_name_win() {
        let all = |records: &[(&str, &[u8])]| {
            let text = records
                .iter()
                .flat_map(|(keyword, value)| record(keyword, value));
            let text: Vec<u8> = text.collect();
            let all = of(&text).all_attributes().unwrap().into_iter();
            all.map(|attribute| (attribute.name, attribute.value))
                .collect::<Vec<_>>()
        };
        let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(
            all(&[
                ("SCHILY.xattr.user.a%3Db%25", b"\0\n="),
                ("SCHILY.xattr.user.none", b"")
            ]),
            [pair(b"user.a=b%", b"\0\n="), pair(b"user.none", b"")]
        );
        assert_eq!(
            all(&[
                ("SCHILY.xattr.security.selinux", b"first"),
                ("RHT.security.selinux", b"second")
            ]),
            [pair(b"security.selinux", b"first")]
        );
        assert_eq!(
            all(&[("RHT.security.selinux", b"label")]),
            [pair(b"security.selinux", b"label\0")]
        );
        let text: (&str, &[u8]) = ("SCHILY.acl.access", b"user::rwx,user:lisa:r-x");
        let binary: (&str, &[u8]) = ("SCHILY.xattr.system.posix_acl_access", b"binary");
        assert_eq!(all(&[text, binary]), [pair(ACL_ACCESS, b"binary")]);
        let alone = of(&record(text.0, text.1)).all_attributes().unwrap_err();
        assert!(
            alone.starts_with("has an access control list that names `lisa`"),
            "{alone}"
        );
    }

    #[test]
    fn a_global_header_must_not_set_what_belongs_to_one_entry() {
        for text in [
            &b"10 path=a\n"[..],
            b"10 size=1\n",
            b"25 SCHILY.xattr.user.a=1\n",
            b"23 GNU.sparse.size=100\n",
        ] {
            let why = Extended::default().read(text, Scope::All).unwrap_err();
            assert!(why.ends_with("for all entries that follow"), "{why}");
        }
        Extended::default()
            .read(b"20 comment=anything\n9 uid=10\n", Scope::All)
            .unwrap();
    }
}
