//! Why there is no plan at all: what is asked for contradicts itself, or names a disk that is not there.

use host::units::{Bytes, Extent};

use crate::model::error::{Error, Kind};

/// One reason; all of them are reported at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No disk is asked for.
    #[error("the request names no disk")]
    NoDisks,
    /// A disk is not there, or more than one is meant.
    #[error("{what}")]
    Disk {
        /// Message: what is wrong.
        what: String,
        /// Hint: what to do.
        hint: String,
    },
    /// A partition number cannot be.
    #[error("partition number {number} of {disk} {why}")]
    Number {
        /// Device node of the disk.
        disk: String,
        /// The number that the request gives.
        number: u32,
        /// The reason, as the end of the message.
        why: &'static str,
    },
    /// A partition holds nothing, or ends beyond 2^64.
    #[error("partition {number} of {disk} cannot have {size} at {start}")]
    Size {
        /// Device node of the disk.
        disk: String,
        /// Number of the partition.
        number: u32,
        /// Offset on the disk.
        start: Bytes,
        /// Length in bytes.
        size: Bytes,
    },
    /// A partition does not begin or end at a sector.
    #[error("partition {number} of {disk} is not aligned to sectors of {sector}")]
    Unaligned {
        /// Device node of the disk.
        disk: String,
        /// Number of the partition.
        number: u32,
        /// Size of the disk's sectors.
        sector: Bytes,
    },
    /// Two partitions share bytes.
    #[error(
        "partitions {first} and {second} of {disk} overlap: {} to {} and {} to {}",
        .extents[0].start, .extents[0].end(), .extents[1].start, .extents[1].end()
    )]
    Overlap {
        /// Device node of the disk.
        disk: String,
        /// Number of the one.
        first: u32,
        /// Number of the other.
        second: u32,
        /// Extents of the two, in the same order.
        extents: [Extent; 2],
    },
    /// Two things would be made on one.
    #[error("{device} is used twice: as {first} and as {second}")]
    UsedTwice {
        /// Device node that is used twice.
        device: String,
        /// One use, in words.
        first: String,
        /// The other use, in words.
        second: String,
    },
    /// Two things would have one name.
    #[error("the name {name} is given twice")]
    NamedTwice {
        /// Name that is given twice.
        name: String,
    },
    /// A reference leads nowhere.
    #[error("{what} refers to {target}, which is not in the request")]
    Dangling {
        /// The element that refers, in words.
        what: String,
        /// The element that it names.
        target: String,
    },
    /// A finished plan breaks a rule of `plan::check`: it is not returned.
    #[error("the plan is broken: {0}")]
    Broken(String),
}

impl PlanError {
    /// Decides the exit status.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Disk { .. } => Kind::Hardware,
            Self::NoDisks
            | Self::Number { .. }
            | Self::Size { .. }
            | Self::Unaligned { .. }
            | Self::Overlap { .. }
            | Self::UsedTwice { .. }
            | Self::NamedTwice { .. }
            | Self::Dangling { .. } => Kind::Request,
            Self::Broken(_) => Kind::Internal,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoDisks => "give at least one disk a volume with a size above zero".to_owned(),
            Self::Disk { hint, .. } => hint.clone(),
            Self::Number { .. } => {
                "number the partitions of a disk from 1 to 128, each once".to_owned()
            }
            Self::Size { .. } => "give it a size above zero that ends on the disk".to_owned(),
            Self::Unaligned { sector, .. } => {
                format!("begin and end it at multiples of {sector}, best at whole MiB")
            }
            Self::Overlap {
                second, extents, ..
            } => format!("begin partition {second} at {} or later", extents[0].end()),
            Self::UsedTwice { .. } => "drop one of the two".to_owned(),
            Self::NamedTwice { .. } => "give each its own name".to_owned(),
            Self::Dangling { target, .. } => format!("declare {target}, or do not refer to it"),
            Self::Broken(_) => {
                "nothing was touched; report this together with the request and the inventory"
                    .to_owned()
            }
        }
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::new(error.kind(), error.to_string()).hint(error.hint())
    }
}
