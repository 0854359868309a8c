//! What may be wrong with a manifest: the place, and what is not so there.

use std::io;

use crate::signature::SignatureError;

/// Why a manifest was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes did not arrive.
    #[error("cannot read the manifest")]
    Io(#[source] io::Error),
    /// It is no JSON, or a value is of the wrong type.
    #[error("the manifest is malformed at {at}: {problem}")]
    Malformed {
        /// Where, like `images[0].chunks[7]`.
        at: String,
        /// What the JSON reader says, with line and column.
        problem: String,
    },
    /// A value that cannot be.
    #[error("the manifest is wrong at {at}: {fault}")]
    Wrong {
        /// Where, like `images[0].chunks[7]`.
        at: String,
        /// What is not so.
        #[source]
        fault: InvalidManifest,
    },
    /// Its signature is not one that is trusted.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl ManifestError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) => "try again",
            Self::Signature(error) => error.hint(),
            Self::Wrong {
                fault: InvalidManifest::Version(_),
                ..
            } => "use a newer agent, or pack the image with an older image-builder",
            Self::Wrong {
                fault: InvalidManifest::IndexTooLarge { .. },
                ..
            } => "pack the image with a larger --chunk-size",
            Self::Malformed { .. } | Self::Wrong { .. } => {
                "pack the image again with `image-builder pack`, and publish both files together"
            }
        }
    }
}

/// One thing that is not so in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// A format that we do not know.
    #[error("`version` is {0}, and only 1 is known")]
    Version(u64),
    /// A key is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A key is missing, or comes only after it was needed.
    #[error("`{key}` is missing, or comes after `{last}`, which has to be the last key")]
    Late {
        /// The key.
        key: &'static str,
        /// The key that needed it.
        last: &'static str,
    },
    /// A key stands there twice.
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    /// A key that has to be the last one is not.
    #[error("`{0}` has to be the last key")]
    NotLast(&'static str),
    /// Text that cannot be a name.
    #[error(
        "`{text}` cannot be `{key}`: letters, digits, `.`, `-` and `_` only, not beginning with `.` or `-`"
    )]
    Name {
        /// The key.
        key: &'static str,
        /// What it is given as.
        text: String,
    },
    /// Text that cannot be shown.
    #[error("text of more than 128 bytes, or with control characters")]
    Text,
    /// Something like `./etc`, or with a control character.
    #[error("`{0}` is not an absolute path without `.`, `..` and empty parts")]
    Mount(String),
    /// An image is either a whole disk or belongs to a mount point.
    #[error("`whole_disk` and `mount` contradict each other")]
    Target,
    /// The same file, or the same mount point, is listed twice.
    #[error("`{0}` is listed twice")]
    Repeated(String),
    /// There are no images.
    #[error("there is no image in it")]
    Empty,
    /// A list is longer than it may be.
    #[error("more than {limit} entries")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// A sector size that no disk has.
    #[error("`sector_size` is {0}, and only 512 and 4096 are known")]
    SectorSize(u64),
    /// A chunk size that is not in use.
    #[error("`chunk_size` is {0}, and only 1, 2, 4, 8 and 16 MiB are known")]
    ChunkSize(u64),
    /// A raw size that no disk or filesystem has.
    #[error(
        "`raw_size` is {raw_size}, which is not a positive number of {sector_size}-byte sectors"
    )]
    RawSize {
        /// The size.
        raw_size: u64,
        /// Bytes in a sector.
        sector_size: u32,
    },
    /// The chunk index would need more memory than it may.
    #[error("the index of {chunks} chunks needs {needed} bytes, and {limit} are allowed")]
    IndexTooLarge {
        /// How many chunks there are.
        chunks: u64,
        /// What they need in memory.
        needed: u64,
        /// What they may need.
        limit: u64,
    },
    /// A chunk does not begin where the one before it ends.
    #[error("`{form}_offset` is {found}, but the chunk before it ends at {expected}")]
    Offset {
        /// `raw` or `packed`.
        form: &'static str,
        /// Where it has to begin.
        expected: u64,
        /// Where it says it begins.
        found: u64,
    },
    /// A chunk is shorter or longer than chunks of this image are.
    #[error("`raw_length` is {found}, but this chunk has {expected} bytes")]
    RawLength {
        /// What it has to be.
        expected: u32,
        /// What it says.
        found: u64,
    },
    /// No zstd frame of such a chunk has this length.
    #[error("`packed_length` is {found}, but a frame of this chunk has {least} to {most} bytes")]
    PackedLength {
        /// The shortest frame that there is.
        least: u32,
        /// The longest that such a chunk can become.
        most: u32,
        /// What it says.
        found: u64,
    },
    /// There are more or fewer chunks than the image has.
    #[error("there are {found} chunks, but the image has {expected}")]
    Count {
        /// What the sizes say.
        expected: u64,
        /// What was found; at the first one too many, the reading stops.
        found: u64,
    },
    /// The chunks do not add up to the file.
    #[error("the chunks add up to {found} packed bytes, but `packed_size` is {expected}")]
    PackedSize {
        /// What the size says.
        expected: u64,
        /// What the chunks add up to.
        found: u64,
    },
    /// A chunk is said to be zero and its digest is not that of zeros, or the other way round.
    #[error("`zero` is {0}, but `raw_blake3` says otherwise")]
    Zero(bool),
    /// A piece of text or a number is longer than anything in a manifest.
    #[error("a single value of more than {limit} bytes")]
    TokenTooLong {
        /// How long one may be.
        limit: usize,
    },
    /// Objects and lists inside each other, deeper than anything in a manifest.
    #[error("values nested more than {limit} deep")]
    TooDeep {
        /// How deep they may be.
        limit: usize,
    },
    /// The whole text is longer than any manifest.
    #[error("the manifest has more than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: u64,
    },
}
