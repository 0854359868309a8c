//! Options of mkfs that a request may give: a list of those that are let through, not of those that are not.
//!
//! mke2fs and mkfs.xfs have options that read a folder of this machine into the new filesystem (`-d`, `-p`), write an
//! undo file or a journal to another device, change where the filesystem begins, or make none at all (`-n`). The lists
//! are from mke2fs(8), mkfs.xfs(8) and mkswap(8); what is not in them is refused, and so is a word that is neither an
//! option of its own nor the value of one.

/// An option of one letter.
#[derive(Debug)]
pub struct MkfsOption {
    /// The letter after the hyphen.
    pub letter: char,
    /// What follows it: in the same word, or in the next one.
    pub value: Value,
}

/// What the value of an option may be. None of them can name a file or a device.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// The option takes no value.
    None,
    /// A number, possibly with a fraction and a letter for its unit.
    Number,
    /// Names, separated by commas.
    Names,
    /// Features, separated by commas; `^` before one turns it off.
    Features,
    /// `KEY` or `KEY=VALUE`, separated by commas, of these keys.
    Keys(&'static [&'static str]),
}

const fn flag(letter: char) -> MkfsOption {
    MkfsOption {
        letter,
        value: Value::None,
    }
}

const fn with(letter: char, value: Value) -> MkfsOption {
    MkfsOption { letter, value }
}

/// Of mke2fs. Not in it: label and UUID, which the plan gives (`-L`, `-U`).
pub const EXT: &[MkfsOption] = &[
    flag('D'),
    flag('F'),
    flag('j'),
    flag('q'),
    flag('v'),
    with('b', Value::Number),
    with('C', Value::Number),
    with('e', Value::Names),
    with('g', Value::Number),
    with('G', Value::Number),
    with('i', Value::Number),
    with('I', Value::Number),
    with('m', Value::Number),
    with('N', Value::Number),
    with('O', Value::Features),
    with('o', Value::Names),
    with('T', Value::Names),
    with('J', Value::Keys(&["size", "fast_commit_size", "location"])),
    with(
        'E',
        Value::Keys(&[
            "assume_storage_prezeroed",
            "desc-size",
            "desc_size",
            "discard",
            "encoding",
            "encoding_flags",
            "hash_seed",
            "lazy_itable_init",
            "lazy_journal_init",
            "mmp_update_interval",
            "no_copy_xattrs",
            "nodiscard",
            "num_backup_sb",
            "orphan_file_size",
            "packed_meta_blocks",
            "quotatype",
            "resize",
            "revision",
            "root_owner",
            "stride",
            "stripe-width",
            "stripe_width",
        ]),
    ),
];

/// Of mkfs.xfs. Not in it: label and UUID, protofiles, and what names a log, real-time or other device.
pub const XFS: &[MkfsOption] = &[
    flag('f'),
    flag('K'),
    flag('q'),
    with('b', Value::Keys(&["size"])),
    with(
        'd',
        Value::Keys(&[
            "agcount",
            "agsize",
            "concurrency",
            "cowextsize",
            "daxinherit",
            "extszinherit",
            "noalign",
            "projinherit",
            "rtinherit",
            "su",
            "sunit",
            "sw",
            "swidth",
        ]),
    ),
    with(
        'i',
        Value::Keys(&[
            "align",
            "attr",
            "exchange",
            "maxpct",
            "nrext64",
            "perblock",
            "projid32bit",
            "size",
            "sparse",
        ]),
    ),
    with(
        'l',
        Value::Keys(&[
            "agnum",
            "concurrency",
            "internal",
            "lazy-count",
            "size",
            "su",
            "sunit",
            "version",
        ]),
    ),
    with(
        'm',
        Value::Keys(&[
            "autofsck",
            "bigtime",
            "crc",
            "finobt",
            "inobtcount",
            "metadir",
            "reflink",
            "rmapbt",
        ]),
    ),
    with('n', Value::Keys(&["ftype", "parent", "size", "version"])),
    with('s', Value::Keys(&["size"])),
];

/// Of mkswap. Not in it: label and UUID.
pub const SWAP: &[MkfsOption] = &[
    flag('f'),
    flag('q'),
    with('e', Value::Names),
    with('p', Value::Number),
];

impl Value {
    /// Whether `text` is such a value.
    pub fn takes(self, text: &str) -> bool {
        match self {
            Self::None => false,
            Self::Number => is_number(text),
            Self::Names => text.split(',').all(is_name),
            Self::Features => text
                .split(',')
                .all(|feature| is_name(feature.strip_prefix('^').unwrap_or(feature))),
            Self::Keys(known) => text.split(',').all(|part| {
                let (key, value) = part
                    .split_once('=')
                    .map_or((part, None), |(key, value)| (key, Some(value)));
                known.contains(&key) && value.is_none_or(is_plain)
            }),
        }
    }
}

fn is_number(text: &str) -> bool {
    let number = text
        .strip_suffix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text);
    number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good)
}

/// The value of a key: a number, a name, a UUID, `UID:GID`.
fn is_plain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    !text.is_empty() && text.chars().all(good)
}
