//! What can go wrong between a source and a disk.

use std::io;

use host::units::Bytes;
use os_image::archive::ArchiveError;
use os_image::members::Trailing;

use super::packed::PackedError;
use crate::http::HttpError;
use crate::model::error::{Error, Kind};
use crate::model::mismatch::{Mismatch, NARROWER};

/// Source of a digest given on the command line, for [`StreamError::Digest::stated_by`].
pub const DIGEST_OPTION: &str = "`--digest`";

/// Why an image is not on its device.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The transfer failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The image is packed and cannot be used.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// No digest is known, and unverified images are not allowed.
    #[error("no digest is known for {url}")]
    Unverified {
        /// URL of the image, redacted.
        url: String,
    },
    /// A stated digest is malformed.
    #[error("`{given}`, stated for {url}, is not a valid {algorithm} digest")]
    NoDigest {
        /// URL of the image, redacted.
        url: String,
        /// The text stated.
        given: String,
        /// The algorithm it is stated for.
        algorithm: &'static str,
    },
    /// The image is larger than the device.
    #[error("{url} does not fit on {device}, which holds {size}{}", needs(*.needed))]
    TooLarge {
        /// URL of the image, redacted.
        url: String,
        /// Path of the device.
        device: String,
        /// Size of the device.
        size: Bytes,
        /// Unpacked size of the image, if known.
        needed: Option<Bytes>,
    },
    /// The first bytes contradict the request.
    #[error("{url} {why}")]
    Mismatch {
        /// URL of the image, redacted.
        url: String,
        /// The contradiction.
        why: Mismatch,
    },
    /// A later part needs a larger window than the decoder may use; the first part is checked as a [`Mismatch`].
    #[error("{url} needs more than {limit} of memory to be unpacked")]
    Window {
        /// URL of the image, redacted.
        url: String,
        /// Memory that the decoder may use.
        limit: Bytes,
    },
    /// The file ends before its container does.
    #[error("{url} ends in the middle, after {raw} of unpacked data")]
    Truncated {
        /// URL of the image, redacted.
        url: String,
        /// Bytes unpacked before that.
        raw: Bytes,
    },
    /// The decoder refuses the data.
    #[error("{url} cannot be unpacked after {raw}: {why}")]
    Corrupt {
        /// URL of the image, redacted.
        url: String,
        /// Bytes unpacked before that.
        raw: Bytes,
        /// The decoder's message.
        why: String,
    },
    /// Bytes follow after the end of the container.
    #[error("{url} goes on after {raw} of unpacked data: {what}")]
    Trailing {
        /// URL of the image, redacted.
        url: String,
        /// Bytes unpacked before that.
        raw: Bytes,
        /// Kind of the bytes that follow.
        what: Trailing,
    },
    /// Much is read and almost nothing unpacked, without end.
    #[error("{url} unpacks to almost nothing: {packed} of it hold {raw} of data")]
    NoOutput {
        /// URL of the image, redacted.
        url: String,
        /// Bytes read.
        packed: Bytes,
        /// Bytes unpacked.
        raw: Bytes,
    },
    /// The disk image is malformed or uses an unsupported feature.
    #[error("{url} cannot be read after {raw}: {source}")]
    DiskImage {
        /// URL of the image, redacted.
        url: String,
        /// Bytes of its disk read before that.
        raw: Bytes,
        /// The parser's error.
        source: os_image::disk::DiskImageError,
    },
    /// The archive is malformed.
    #[error("{url} cannot be unpacked: {source}")]
    Archive {
        /// URL of the archive, redacted.
        url: String,
        /// The parser's error; names the entry.
        source: ArchiveError,
    },
    /// An entry of the archive cannot be created.
    #[error("cannot unpack `{entry}` of {url} to {device}")]
    Entry {
        /// URL of the archive, redacted.
        url: String,
        /// Path of the entry in the archive.
        entry: String,
        /// Path of the filesystem's device.
        device: String,
        /// Error of the system call.
        source: io::Error,
    },
    /// An operation on the target filesystem as a whole failed.
    #[error("cannot {doing} the filesystem on {device}")]
    Files {
        /// Verb of the operation: `open`, `write`, `flush`, …
        doing: &'static str,
        /// Path of the filesystem's device.
        device: String,
        /// Error of the system call.
        source: io::Error,
    },
    /// The unpacked length contradicts the metadata.
    #[error("{url} holds {}{found}, its metadata says {expected}", if *.more { "more than " } else { "" })]
    Length {
        /// URL of the image, redacted.
        url: String,
        /// Bytes unpacked; with `more`, not all of them.
        found: Bytes,
        /// Whether the image is longer than `found`.
        more: bool,
        /// Bytes by the metadata.
        expected: Bytes,
    },
    /// A digest differs from the stated one.
    #[error("the {algorithm} digest of {url} is {found}, {stated_by} says {expected}")]
    Digest {
        /// URL of the image, redacted.
        url: String,
        /// Name of the algorithm.
        algorithm: &'static str,
        /// Digest computed.
        found: String,
        /// Digest stated.
        expected: String,
        /// Source of the stated digest, for the message.
        stated_by: String,
    },
    /// An operation on the device failed.
    #[error("cannot {doing} {device} at byte {offset}")]
    Disk {
        /// Verb of the operation: `open`, `write`, `flush`, …
        doing: &'static str,
        /// Path of the device.
        device: String,
        /// Offset on the device, in bytes.
        offset: u64,
        /// Error of the system call.
        source: io::Error,
    },
    /// The run was cancelled.
    #[error("interrupted while writing an image")]
    Cancelled,
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread {
        /// Error of the system call.
        source: io::Error,
    },
    /// A stage panicked: a defect of the agent.
    #[error("a stage of the data path panicked")]
    Panicked,
    /// The stage before or after has ended; its own error is the cause and is reported instead.
    #[error("a stage of the data path ended without a reason")]
    HungUp,
}

impl StreamError {
    /// The kind of error, which decides the exit code.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Http(error) => error.kind(),
            Self::Packed(error) => error.kind(),
            Self::Unverified { .. } => Kind::Refused,
            Self::Disk { .. } | Self::Files { .. } => Kind::Disk,
            Self::Entry { source, .. } if is_of_disk(source) => Kind::Disk,
            Self::Cancelled => Kind::Interrupted,
            Self::Thread { .. } | Self::Panicked | Self::HungUp => Kind::Internal,
            Self::NoDigest { .. }
            | Self::TooLarge { .. }
            | Self::Mismatch { .. }
            | Self::Window { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::Trailing { .. }
            | Self::NoOutput { .. }
            | Self::DiskImage { .. }
            | Self::Archive { .. }
            | Self::Entry { .. }
            | Self::Length { .. }
            | Self::Digest { .. } => Kind::Image,
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Http(error) => return error.hint().map(str::to_owned),
            Self::Packed(error) => return error.hint(),
            Self::Unverified { .. } => {
                "publish its metadata (NAME.yaml) beside it, or allow unverified images".to_owned()
            }
            Self::NoDigest { .. } => "correct the metadata beside the image".to_owned(),
            Self::TooLarge { .. } => "make the volume larger, or use a smaller image".to_owned(),
            Self::Mismatch { why, .. } => why.hint(),
            Self::Window { .. } => NARROWER.to_owned(),
            Self::Truncated { .. } => {
                "check that the file on the server is complete, then run again".to_owned()
            }
            Self::Trailing { .. } => {
                "remove the bytes behind its end, or publish it again".to_owned()
            }
            Self::Corrupt { .. } | Self::NoOutput { .. } => {
                "check the file on the server (`gzip -t`, `zstd -t`, `xz -t`, `bzip2 -t`)"
                    .to_owned()
            }
            Self::DiskImage { source, .. } => source.hint().to_owned(),
            Self::Digest { stated_by, .. } if stated_by == DIGEST_OPTION => {
                "check that the digest is that of the unpacked image, and that the server has this image".to_owned()
            }
            Self::Length { .. } | Self::Digest { .. } => {
                "publish image and metadata together; one of them is of another build".to_owned()
            }
            Self::Archive {
                source: ArchiveError::Truncated { .. },
                ..
            } => "check that the file on the server is complete, then run again".to_owned(),
            Self::Archive { .. } => {
                "make it with `tar --create --numeric-owner --xattrs --sparse`, and check it with `tar \
                      --list`".to_owned()
            }
            Self::Entry { source, .. } if is_full(source) => {
                "make the volume larger, or use an archive with less in it".to_owned()
            }
            Self::Entry { source, .. } if !is_of_disk(source) => {
                "make the archive anew, from the root of a system as it is on its disk".to_owned()
            }
            Self::Disk { source, .. } if is_full(source) => {
                "make room where it is kept: `df` shows the filesystem of a file, `lvs` the pool of a thin \
                      volume".to_owned()
            }
            Self::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "do not change the file while it is written, and run again".to_owned()
            }
            Self::Disk { .. } | Self::Files { .. } | Self::Entry { .. } => {
                "look for errors of this disk in the kernel log (`dmesg`)".to_owned()
            }
            Self::Cancelled | Self::Thread { .. } | Self::Panicked | Self::HungUp => return None,
        })
    }
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        let mut outer = Self::new(error.kind(), error.to_string());
        if let Some(hint) = error.hint() {
            outer = outer.hint(hint);
        }
        outer.retryable = match &error {
            StreamError::Archive {
                source: ArchiveError::Truncated { .. },
                ..
            }
            | StreamError::Truncated { .. }
            | StreamError::Cancelled
            | StreamError::Thread { .. } => true,
            StreamError::Packed(error) => error.is_retryable(),
            _ => false,
        };
        match error {
            StreamError::Http(error) => error.into(),
            StreamError::Disk { device, source, .. }
            | StreamError::Files { device, source, .. }
            | StreamError::Entry { device, source, .. } => outer.device(device).because(source),
            StreamError::Thread { source } => outer.because(source),
            _ => outer,
        }
    }
}

fn needs(needed: Option<Bytes>) -> String {
    needed.map_or_else(String::new, |needed| format!("; it needs {needed}"))
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether creating an entry failed because of the disk: the errors that an archive can cause are listed.
fn is_of_disk(error: &io::Error) -> bool {
    let is_of_archive = is_full(error)
        || matches!(
            error.kind(),
            io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::FileTooLarge
                | io::ErrorKind::TooManyLinks
                | io::ErrorKind::ArgumentListTooLong
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::Unsupported
        );
    !is_of_archive
}
