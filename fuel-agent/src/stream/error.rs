//! What can go wrong between a source and a disk.

use std::io;

use host::units::Bytes;
use os_image::archive::ArchiveError;
use os_image::members::Trailing;

use super::packed::PackedError;
use crate::http::HttpError;
use crate::model::error::{Error, Kind};
use crate::model::mismatch::{Mismatch, NARROWER};

/// What the command line is called as the one that states a digest.
pub const DIGEST_OPTION: &str = "`--digest`";

/// Why an image is not on its device.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It did not come.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It is packed, and something is wrong with that.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// No digest is known, and that is not allowed.
    #[error("no digest is known of {url}")]
    Unverified {
        /// The image.
        url: String,
    },
    /// What is given as a digest is none.
    #[error("`{given}`, stated for {url}, is not a valid {algorithm} digest")]
    NoDigest {
        /// The image.
        url: String,
        /// What is given.
        given: String,
        /// What it should be.
        algorithm: &'static str,
    },
    /// It does not fit.
    #[error("{url} does not fit on {device}, which holds {size}{}", needs(*.needed))]
    TooLarge {
        /// The image.
        url: String,
        /// The device.
        device: String,
        /// What the device holds.
        size: Bytes,
        /// What the image needs, where that is known.
        needed: Option<Bytes>,
    },
    /// Its first bytes are not what the request says.
    #[error("{url} {why}")]
    Mismatch {
        /// The image.
        url: String,
        /// What is wrong with them.
        why: Mismatch,
    },
    /// Unpacking a later part of it needs more memory than we give.
    #[error("{url} needs more than {limit} of memory to be unpacked")]
    Window {
        /// The image.
        url: String,
        /// The most that it gets.
        limit: Bytes,
    },
    /// It ends too early.
    #[error("{url} ends in the middle, after {raw} of unpacked data")]
    Truncated {
        /// The image.
        url: String,
        /// How much could be unpacked.
        raw: Bytes,
    },
    /// It cannot be unpacked.
    #[error("{url} cannot be unpacked after {raw}: {why}")]
    Corrupt {
        /// The image.
        url: String,
        /// How much could be unpacked.
        raw: Bytes,
        /// What the decoder says.
        why: String,
    },
    /// It does not end where its container does.
    #[error("{url} goes on after {raw} of unpacked data: {what}")]
    Trailing {
        /// The image.
        url: String,
        /// How much was unpacked.
        raw: Bytes,
        /// What comes then.
        what: Trailing,
    },
    /// It goes on and on, and nothing comes out of it.
    #[error("{url} does not unpack to anything: {packed} of it hold {raw}")]
    Hollow {
        /// The image.
        url: String,
        /// How much of it was read.
        packed: Bytes,
        /// How much came out.
        raw: Bytes,
    },
    /// It is a disk image that cannot be read.
    #[error("{url} cannot be read after {raw}: {source}")]
    DiskImage {
        /// The image.
        url: String,
        /// How much of its disk could be read.
        raw: Bytes,
        /// What is wrong with it.
        source: os_image::disk::DiskImageError,
    },
    /// It is an archive, and cannot be read as one.
    #[error("{url} cannot be unpacked: {source}")]
    Archive {
        /// The archive.
        url: String,
        /// What is wrong with it, and in which entry.
        source: ArchiveError,
    },
    /// What an archive has cannot be made.
    #[error("cannot unpack `{entry}` of {url} to {device}")]
    Entry {
        /// The archive.
        url: String,
        /// Its entry.
        entry: String,
        /// What people call the filesystem.
        device: String,
        /// Why.
        source: io::Error,
    },
    /// The filesystem that it goes into did not take it.
    #[error("cannot {doing} the filesystem on {device}")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// What people call the filesystem.
        device: String,
        /// Why.
        source: io::Error,
    },
    /// It is not as long as its metadata says.
    #[error("{url} holds {}{found}, its metadata says {expected}", if *.more { "more than " } else { "" })]
    Length {
        /// The image.
        url: String,
        /// How much there is, or how much of it was looked at.
        found: Bytes,
        /// Whether there is more.
        more: bool,
        /// How much there should be.
        expected: Bytes,
    },
    /// It is something else than its metadata says.
    #[error("the {algorithm} digest of {url} is {found}, {stated_by} says {expected}")]
    Digest {
        /// The image.
        url: String,
        /// Which digest.
        algorithm: &'static str,
        /// What was computed.
        found: String,
        /// What was given.
        expected: String,
        /// Who gave it.
        stated_by: String,
    },
    /// The disk did not take it.
    #[error("cannot {doing} {device} at byte {offset}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The device.
        device: String,
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Somebody told us to stop.
    #[error("interrupted while writing an image")]
    Cancelled,
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread {
        /// Why.
        source: io::Error,
    },
    /// A stage panicked: a defect of ours.
    #[error("a stage of the data path panicked")]
    Panicked,
    /// The stage before or after is gone; its own error says why.
    #[error("a stage of the data path ended without a reason")]
    HungUp,
}

impl StreamError {
    /// Who can fix it.
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
            | Self::Hollow { .. }
            | Self::DiskImage { .. }
            | Self::Archive { .. }
            | Self::Entry { .. }
            | Self::Length { .. }
            | Self::Digest { .. } => Kind::Image,
        }
    }

    /// What to try.
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
                "cut off what does not belong to it, or publish it anew".to_owned()
            }
            Self::Corrupt { .. } | Self::Hollow { .. } => {
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
                "make it with `tar --create --numeric-owner --xattrs --sparse`, and check it with `tar --list`".to_owned()
            }
            Self::Entry { source, .. } if is_full(source) => {
                "make the volume larger, or use an archive with less in it".to_owned()
            }
            Self::Entry { source, .. } if !is_of_disk(source) => {
                "make the archive anew, from the root of a system as it is on its disk".to_owned()
            }
            Self::Disk { source, .. } if is_full(source) => {
                "make room where it is kept: `df` shows the filesystem of a file, `lvs` the pool of a thin volume".to_owned()
            }
            Self::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "leave the file alone while it is written, and run again".to_owned()
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

/// Whether making a file failed for a reason that is not in the archive: everything that it can be blamed for has a
/// name.
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
