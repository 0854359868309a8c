//! Converts an access control list from text to the value of the kernel's attribute.

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;

/// `ACL_UNDEFINED_ID`: for entries without a user or group.
const NO_ID: u32 = u32::MAX;

/// Tag types of entries, in the order that the kernel requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner,
    User,
    OwningGroup,
    Group,
    Mask,
    Other,
}

impl Tag {
    /// `ACL_USER_OBJ` and so on.
    const fn number(self) -> u16 {
        match self {
            Self::Owner => 0x01,
            Self::User => 0x02,
            Self::OwningGroup => 0x04,
            Self::Group => 0x08,
            Self::Mask => 0x10,
            Self::Other => 0x20,
        }
    }
}

/// The attribute's value for `user::rwx,user:1000:r-x,…`. Names of users and groups cannot be resolved here: entries
/// need a numeric id in place of the name, or after the permissions, as star writes it.
pub(super) fn value(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8 text".to_owned())?;
    let lines = text.split([',', '\n']);
    let written = lines
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty());
    let mut entries = written.map(entry).collect::<Result<Vec<_>, String>>()?;
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend(tag.number().to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(value)
}

fn entry(line: &str) -> Result<(Tag, u32, u16), String> {
    let bad = || format!("has `{}`, which is not a valid entry", line.escape_debug());
    let line = line.strip_prefix("default:").unwrap_or(line);
    let fields: Vec<&str> = line.split(':').map(str::trim).collect();
    let (kind, qualifier, permissions) = match fields[..] {
        [kind, qualifier, permissions] => (kind, qualifier, permissions),
        [kind, qualifier, permissions, number] if !qualifier.is_empty() => {
            (kind, number, permissions)
        }
        // `mask:rwx` and `other:r-x`, as Solaris has it
        [kind, permissions] => (kind, "", permissions),
        _ => return Err(bad()),
    };
    let tag = match (kind, qualifier.is_empty()) {
        ("user" | "u", true) => Tag::Owner,
        ("user" | "u", false) => Tag::User,
        ("group" | "g", true) => Tag::OwningGroup,
        ("group" | "g", false) => Tag::Group,
        ("mask" | "m", true) => Tag::Mask,
        ("other" | "o", true) => Tag::Other,
        _ => return Err(bad()),
    };
    let id = if qualifier.is_empty() {
        NO_ID
    } else {
        qualifier.parse().map_err(|_| {
            let qualifier = qualifier.escape_debug();
            format!(
                "names `{qualifier}`, but only numeric ids are supported: archive it with `--xattrs` as well"
            )
        })?
    };
    let bits = permissions
        .chars()
        .try_fold(0, |bits, letter| match letter {
            'r' => Some(bits | 4),
            'w' => Some(bits | 2),
            'x' => Some(bits | 1),
            '-' => Some(bits),
            _ => None,
        });
    Ok((tag, id, bits.ok_or_else(bad)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_what_setfacl_would_have_stored() {
        let value = value(b"user::rwx,group::r-x,mask::rwx,user:1000:r-x,other::r--").unwrap();
        let expected: [&[u8]; 6] = [
            &[2, 0, 0, 0],
            &[1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
            &[2, 0, 5, 0, 0xe8, 3, 0, 0],
            &[4, 0, 5, 0, 0xff, 0xff, 0xff, 0xff],
            &[0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
            &[0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff],
        ];
        assert_eq!(value, expected.concat());
    }

    #[test]
    fn all_notations_are_parsed() {
        let plain = value(b"user::rw-,user:7:r--,group::r--,mask::r--,other::---").unwrap();
        for text in [
            "u::rw-\nu:7:r--\t#effective:r--\ng::r--\nm::r--\no::---\n",
            "user::rw-,user:lisa:r--:7,group::r--,mask:r--,other:---",
            "default:user::rw-,default:user:7:r--,default:group::r--,default:mask::r--,default:other::---",
        ] {
            assert_eq!(value(text.as_bytes()).unwrap(), plain, "{text}");
        }
    }

    #[test]
    fn a_name_is_refused_and_so_is_nonsense() {
        for (text, why) in [
            (
                "user::rwx,user:lisa:r-x",
                "names `lisa`, but only numeric ids are supported",
            ),
            ("user", "has `user`, which is not a valid entry"),
            ("user::rwz", "has `user::rwz`"),
            ("mask:7:rwx", "has `mask:7:rwx`"),
            ("user:99999999999:rwx", "names `99999999999`"),
        ] {
            let error = value(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
