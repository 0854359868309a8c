//! One header block of 512 bytes: fields at fixed offsets, in one of four layouts.

/// Length of a block, the unit of an archive, in bytes.
pub(super) const BLOCK: usize = 512;

/// The layout of a block by its magic, which decides what the fields after it mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// From before POSIX: no fields after the link name.
    Old,
    /// POSIX: with a prefix of the name.
    Ustar,
    /// The same with a shorter prefix, and times behind it (star).
    Star,
    /// GNU: with times and the map of a sparse file.
    Gnu,
}

/// A block whose checksum shows that it is a header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    block: [u8; BLOCK],
    layout: Layout,
}

/// The part of a sparse file's map in its header (four segments) or in a block after it (GNU's old format).
pub(super) struct SparseFields<'a> {
    /// Pairs of fields of 12 bytes: offset and length.
    pub(super) pieces: &'a [u8],
    /// Whether another block of segments follows.
    pub(super) is_extended: bool,
}

impl Header {
    /// Reads the block as a header; its checksum has to match.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        let stored = number(&block[148..156]).and_then(|stored| i64::try_from(stored).ok());
        let stored = stored.ok_or("has no checksum")?;
        // some old tars add up the bytes as signed numbers
        let (plain, signed) = sums(block);
        if stored != plain && stored != signed {
            return Err("has a wrong checksum");
        }
        let layout = match (&block[257..263], &block[508..512]) {
            (b"ustar\0", b"tar\0") => Layout::Star,
            (b"ustar\0", _) => Layout::Ustar,
            (b"ustar ", _) => Layout::Gnu,
            _ => Layout::Old,
        };
        Ok(Self {
            block: *block,
            layout,
        })
    }

    /// Whether it has the magic of POSIX, star or GNU.
    pub(super) fn is_known(&self) -> bool {
        self.layout != Layout::Old
    }

    /// The type flag of the entry.
    pub(super) const fn kind(&self) -> u8 {
        self.block[156]
    }

    /// The name in the block itself.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = match self.layout {
            Layout::Ustar => text(&self.block[345..500]),
            Layout::Star => text(&self.block[345..476]),
            Layout::Old | Layout::Gnu => &[],
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// The target of a link, as far as the block itself holds it.
    pub(super) fn link(&self) -> &[u8] {
        text(&self.block[157..257])
    }

    pub(super) fn mode(&self) -> Result<u32, &'static str> {
        // some writers add the file type, which the type flag has already
        let mode = unsigned(&self.block[100..108]).ok_or("has a mode that is not a number")?;
        Ok(u32::try_from(mode & 0o7777).unwrap_or_default())
    }

    pub(super) fn user(&self) -> Result<u64, &'static str> {
        unsigned(&self.block[108..116]).ok_or("has an owner that is not a number")
    }

    pub(super) fn group(&self) -> Result<u64, &'static str> {
        unsigned(&self.block[116..124]).ok_or("has a group that is not a number")
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        unsigned(&self.block[124..136]).ok_or("has a size that is not a number")
    }

    /// Seconds since 1970.
    pub(super) fn modified(&self) -> Result<i64, &'static str> {
        let seconds = number(&self.block[136..148]).ok_or("has a time that is not a number")?;
        i64::try_from(seconds).map_err(|_| "has a time that is out of range")
    }

    /// Major and minor number of a device.
    pub(super) fn device(&self) -> Result<(u32, u32), &'static str> {
        let part = |field: &[u8]| unsigned(field).and_then(|number| u32::try_from(number).ok());
        let (major, minor) = (part(&self.block[329..337]), part(&self.block[337..345]));
        match (self.layout, major, minor) {
            (Layout::Old, ..) => Err("is a device without device numbers"),
            (_, Some(major), Some(minor)) => Ok((major, minor)),
            _ => Err("has malformed device numbers"),
        }
    }

    /// The map of a sparse file (type flag `S`), and the file's size in bytes.
    pub(super) fn sparse(&self) -> Result<(SparseFields<'_>, u64), &'static str> {
        if self.layout != Layout::Gnu {
            return Err("is sparse in star's format, which is not supported");
        }
        let fields = SparseFields {
            pieces: &self.block[386..482],
            is_extended: self.block[482] != 0,
        };
        let size = unsigned(&self.block[483..495]).ok_or("has a size that is not a number")?;
        Ok((fields, size))
    }
}

/// Reads a block with more segments of a sparse file.
pub(super) fn more_sparse(block: &[u8; BLOCK]) -> SparseFields<'_> {
    SparseFields {
        pieces: &block[..504],
        is_extended: block[504] != 0,
    }
}

/// A field up to its first zero byte.
fn text(field: &[u8]) -> &[u8] {
    let mut parts = field.split(|byte| *byte == 0);
    parts.next().unwrap_or_default()
}

/// The sums of all bytes, those of the checksum taken as blanks: of unsigned and of signed bytes.
fn sums(block: &[u8; BLOCK]) -> (i64, i64) {
    let blank = |at: usize| (148..156).contains(&at);
    let bytes = block.iter().enumerate();
    bytes.fold((0_i64, 0_i64), |(plain, signed), (at, byte)| {
        let byte = if blank(at) { b' ' } else { *byte };
        let with_sign = i64::from(i8::from_ne_bytes([byte]));
        (
            plain.saturating_add(byte.into()),
            signed.saturating_add(with_sign),
        )
    })
}

/// Reads a number that must not be negative.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    number(field).and_then(|number| u64::try_from(number).ok())
}

/// Reads a number in a field: octal digits between blanks, or, with the highest bit set, binary. An empty field is 0.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let (start, is_negative) = (first & 0x3f, first & 0x40 != 0);
        let start = if is_negative {
            i128::from(start).checked_sub(0x40)?
        } else {
            i128::from(start)
        };
        return rest.iter().try_fold(start, |value, byte| {
            value.checked_mul(256)?.checked_add(i128::from(*byte))
        });
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_i128, |value, byte| {
        let digit = char::from(*byte).to_digit(8)?;
        value.checked_mul(8)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"0000648\0", None),
            (b"-000064\0", None),
            (b"12 34\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
        assert_eq!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), None);
        assert_eq!(number(&[0xbf; 40]), None, "too large");
    }

    #[test]
    fn a_block_without_the_right_checksum_is_no_header() {
        assert!(Header::parse(&[0; BLOCK]).is_err());
        assert!(Header::parse(&[b'x'; BLOCK]).is_err());
    }
}
