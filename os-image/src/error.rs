//! Errors of manifests: the place, and what is wrong there.

use std::io;

use crate::signature::SignatureError;

/// Why a manifest was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The input failed before the end of the manifest.
    #[error("cannot read the manifest")]
    Io(#[source] io::Error),
    /// It is not JSON, or a value has the wrong type.
    #[error("the manifest is malformed at {at}: {problem}")]
    Malformed {
        /// The place, like `images[0].chunks[7]`.
        at: String,
        /// The JSON parser's message, with line and column.
        problem: String,
    },
    /// A value is invalid.
    #[error("the manifest is wrong at {at}: {fault}")]
    Wrong {
        /// The place, like `images[0].chunks[7]`.
        at: String,
        /// The mistake in the value.
        #[source]
        fault: InvalidManifest,
    },
    /// Its signature is not one that is trusted.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl ManifestError {
    /// The hint: an instruction to the user.
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

/// A single mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// The format version is not supported.
    #[error("`version` is {0}, but only 1 is supported")]
    Version(u64),
    /// A key is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A key is missing, or comes after the key that needs it.
    #[error("`{key}` is missing, or comes after `{last}`, which must be the last key")]
    Late {
        /// Name of the key.
        key: &'static str,
        /// The key that has to come after it.
        last: &'static str,
    },
    /// A key is given twice.
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    /// A key that has to be the last one is not.
    #[error("`{0}` must be the last key")]
    NotLast(&'static str),
    /// Text that cannot be a name.
    #[error(
        "`{text}` cannot be `{key}`: letters, digits, `.`, `-` and `_` only, not beginning with `.` or `-`"
    )]
    Name {
        /// Name of the key.
        key: &'static str,
        /// The value as given, escaped and shortened.
        text: String,
    },
    /// Text that cannot be shown.
    #[error("text of more than 128 bytes, or with control characters")]
    Text,
    /// A path like `./etc`, or with a control character.
    #[error("`{0}` is not an absolute path without `.`, `..` and empty parts")]
    Mount(String),
    /// An image is either a whole disk or belongs to a mount point.
    #[error("`whole_disk` and `mount` contradict each other")]
    Target,
    /// The same file, or the same mount point, is listed twice.
    #[error("`{0}` is listed twice")]
    Repeated(String),
    /// There are no images.
    #[error("the list is empty")]
    Empty,
    /// A list is longer than it may be.
    #[error("more than {limit} entries")]
    TooMany {
        /// The allowed number of entries.
        limit: usize,
    },
    /// A sector size that no disk has.
    #[error("`sector_size` is {0}, but only 512 and 4096 are supported")]
    SectorSize(u64),
    /// The chunk size is not supported.
    #[error("`chunk_size` is {0}, but only 1, 2, 4, 8 and 16 MiB are supported")]
    ChunkSize(u64),
    /// A raw size that no disk or filesystem has.
    #[error(
        "`raw_size` is {raw_size}, which is not a positive number of {sector_size}-byte sectors"
    )]
    RawSize {
        /// The given size in bytes.
        raw_size: u64,
        /// The image's sector size in bytes.
        sector_size: u32,
    },
    /// The chunk index would need more memory than it may.
    #[error("the index of {chunks} chunks needs {needed} bytes, but only {limit} are allowed")]
    IndexTooLarge {
        /// The number of chunks that the sizes give.
        chunks: u64,
        /// Bytes of memory that they need.
        needed: u64,
        /// Bytes of memory that they may need.
        limit: u64,
    },
    /// A chunk does not begin where the one before it ends.
    #[error("`{form}_offset` is {found}, but the chunk before it ends at {expected}")]
    Offset {
        /// `raw` or `packed`.
        form: &'static str,
        /// The required offset in bytes.
        expected: u64,
        /// The given offset in bytes.
        found: u64,
    },
    /// A chunk is shorter or longer than chunks of this image are.
    #[error("`raw_length` is {found}, but this chunk has {expected} bytes")]
    RawLength {
        /// The required length in bytes.
        expected: u32,
        /// The given length in bytes.
        found: u64,
    },
    /// No zstd frame of such a chunk has this length.
    #[error("`packed_length` is {found}, but a frame of this chunk has {least} to {most} bytes")]
    PackedLength {
        /// Length of the shortest possible frame, in bytes.
        least: u32,
        /// Length of the longest frame of such a chunk, in bytes.
        most: u32,
        /// The given length in bytes.
        found: u64,
    },
    /// There are more or fewer chunks than the image has.
    #[error("there are {found} chunks, but the image has {expected}")]
    Count {
        /// The number of chunks that `raw_size` and `chunk_size` give.
        expected: u64,
        /// The number of entries in the list, counted up to the first one too many.
        found: u64,
    },
    /// The chunks do not add up to the file.
    #[error("the chunks add up to {found} packed bytes, but `packed_size` is {expected}")]
    PackedSize {
        /// The given `packed_size` in bytes.
        expected: u64,
        /// The sum of all `packed_length`, in bytes.
        found: u64,
    },
    /// A chunk is marked as zero but its digest is not that of zeros, or the other way round.
    #[error("`zero` is {0}, which contradicts `raw_blake3`")]
    Zero(bool),
    /// A piece of text or a number is longer than anything in a manifest.
    #[error("a single value of more than {limit} bytes")]
    TokenTooLong {
        /// The allowed length in bytes.
        limit: usize,
    },
    /// Objects and lists inside each other, deeper than anything in a manifest.
    #[error("values nested more than {limit} deep")]
    TooDeep {
        /// The most levels that are allowed.
        limit: usize,
    },
    /// The whole text is longer than any manifest.
    #[error("the manifest has more than {limit} bytes")]
    TooLong {
        /// The allowed length in bytes.
        limit: u64,
    },
}
