//! Amounts of disk space. Plans count in [`Bytes`]; the other units exist only to be converted.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes: a size or an offset on a disk.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
#[must_use]
pub struct Bytes(pub u64);

impl Bytes {
    /// Zero bytes; also the start of a disk.
    pub const ZERO: Self = Self(0);
    /// 2^20 bytes.
    pub const MIB: Self = Self(1 << 20);
    /// 2^30 bytes.
    pub const GIB: Self = Self(1 << 30);

    /// `n` MiB, or `None` where that is more than 2^64 bytes.
    pub const fn mib(n: u64) -> Option<Self> {
        match n.checked_mul(1 << 20) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The number of MiB where there is no rest, else `None`.
    pub const fn as_whole_mib(self) -> Option<u64> {
        if self.0.is_multiple_of(1 << 20) {
            Some(self.0 >> 20)
        } else {
            None
        }
    }

    /// Sum, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Difference, or `None` where it would be negative.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// Difference, at least zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Sum, at most 2^64 - 1.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The next multiple of `step` at or above, or `None` where there is none below 2^64.
    pub const fn align_up(self, step: Self) -> Option<Self> {
        match self.0.checked_next_multiple_of(step.0) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The multiple of `step` at or below; a `step` of zero changes nothing.
    pub const fn align_down(self, step: Self) -> Self {
        match self.0.checked_rem(step.0) {
            Some(rest) => Self(self.0.saturating_sub(rest)),
            None => self,
        }
    }

    /// Whether this is a multiple of `step`.
    pub const fn is_aligned(self, step: Self) -> bool {
        self.0.is_multiple_of(step.0)
    }
}

/// The units that a size may be written in, largest first.
const UNITS: [(&str, u32); 6] = [
    ("EiB", 60),
    ("PiB", 50),
    ("TiB", 40),
    ("GiB", 30),
    ("MiB", 20),
    ("KiB", 10),
];

impl fmt::Display for Bytes {
    /// Prints the exact amount in the largest unit that leaves no rest: `1025 MiB`, never `1.0 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {name}", self.0 >> shift);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// The text, which is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write it like `512 MiB` or `20 GiB`")]
pub struct ParseBytesError(String);

impl FromStr for Bytes {
    type Err = ParseBytesError;

    /// Reads `512 MiB`, `20GiB`, `4096 B`: IEC units only, so that `20G` is never guessed at.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseBytesError(text.to_owned());
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, unit) = text.split_at(split);
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        let unit = unit.trim();
        if unit == "B" {
            return Ok(Self(count));
        }
        let (_, shift) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        count.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

/// A count of 512-byte sectors: the unit of `/sys/block/*/size`, independent of the disk's sector size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSectors(pub u64);

impl KernelSectors {
    /// The same amount in bytes; `None` where that is 2^64 or more.
    pub const fn to_bytes(self) -> Option<Bytes> {
        match self.0.checked_mul(512) {
            Some(bytes) => Some(Bytes(bytes)),
            None => None,
        }
    }
}

/// A range of bytes on one disk: from `start` up to, not including, `end()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// Offset from the beginning of the disk.
    #[serde(rename = "start_bytes")]
    pub start: Bytes,
    /// An extent of length zero contains no byte and overlaps nothing.
    #[serde(rename = "length_bytes")]
    pub length: Bytes,
}

impl Extent {
    /// The extent of `length` bytes at `start`, or `None` where its end is beyond 2^64.
    pub const fn new(start: Bytes, length: Bytes) -> Option<Self> {
        match start.checked_add(length) {
            Some(_) => Some(Self { start, length }),
            None => None,
        }
    }

    /// The first byte after it.
    pub const fn end(self) -> Bytes {
        self.start.saturating_add(self.length)
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.length.0 != 0
            && other.length.0 != 0
            && self.start.0 < other.end().0
            && other.start.0 < self.end().0
    }

    /// Whether every byte of `other` is in this one.
    pub const fn contains(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.end().0 <= self.end().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_print_exactly() {
        for (bytes, text) in [
            (0, "0 B"),
            (1, "1 B"),
            (1024, "1 KiB"),
            (1025 << 20, "1025 MiB"),
            (20 << 30, "20 GiB"),
            (u64::MAX, "18446744073709551615 B"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "20",
            "20G",
            "20 GB",
            "-1 GiB",
            "1.5 GiB",
            "GiB",
            "20000000 EiB",
            "99999999999999999999 B",
        ] {
            assert_eq!(
                text.parse::<Bytes>(),
                Err(ParseBytesError(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn kernel_sectors_are_always_512_bytes() {
        assert_eq!(
            KernelSectors(976_773_168).to_bytes(),
            Some(Bytes(500_107_862_016))
        );
        assert_eq!(KernelSectors(u64::MAX).to_bytes(), None);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(n: u64) {
            prop_assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
        }

        #[test]
        fn align_up_is_the_next_multiple(n in 0u64..1 << 60, shift in 0u32..30) {
            let step = Bytes(1 << shift);
            let up = Bytes(n).align_up(step).unwrap();
            prop_assert!(up.is_aligned(step) && up >= Bytes(n) && up.0 - n < step.0);
        }

        #[test]
        fn overlap_is_symmetric_and_means_a_shared_byte(a in 0u64..50, b in 0u64..50, n in 0u64..20, m in 0u64..20) {
            let (x, y) = (Extent { start: Bytes(a), length: Bytes(n) }, Extent { start: Bytes(b), length: Bytes(m) });
            let shared = (a..a + n).any(|byte| (b..b + m).contains(&byte));
            prop_assert_eq!(x.overlaps(y), shared);
            prop_assert_eq!(y.overlaps(x), shared);
        }
    }
}
