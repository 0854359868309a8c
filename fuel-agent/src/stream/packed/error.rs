//! Errors of packed images only; see [`StreamError`](super::super::StreamError) for the others.

use host::units::Bytes;
use os_image::codec::ChunkError;

use crate::model::error::Kind;
use crate::source::ManifestProblem;

/// Why a packed image is not on its device.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// The manifest cannot be fetched or used.
    #[error(transparent)]
    Manifest(#[from] ManifestProblem),
    /// The manifest does not list the image.
    #[error("{url} does not name `{file}`")]
    NotListed {
        /// URL of the manifest, redacted.
        url: String,
        /// File name of the image.
        file: String,
    },
    /// The manifest's digest of the whole differs from one that others state.
    #[error("the manifest of {url} says {algorithm} {claim}, {stated_by} says {stated}")]
    Claim {
        /// URL of the image, redacted.
        url: String,
        /// Name of the algorithm.
        algorithm: &'static str,
        /// Digest by the manifest.
        claim: String,
        /// Digest stated elsewhere.
        stated: String,
        /// Where it is stated, for the message.
        stated_by: String,
    },
    /// Signatures are required and no key is trusted.
    #[error("{url} has to be signed by a key that is trusted here, and no key is trusted")]
    Untrusted {
        /// URL of the image, redacted.
        url: String,
    },
    /// What was signed is another image.
    #[error("the manifest of {url} is that of `{name}`")]
    OtherName {
        /// URL of the image, redacted.
        url: String,
        /// Name in the manifest.
        name: String,
    },
    /// The release is below `min_release`.
    #[error("{url} is release {release}, and {least} is the oldest that is written here")]
    TooOld {
        /// URL of the image, redacted.
        url: String,
        /// Release by the manifest.
        release: u64,
        /// `min_release` of this node.
        least: u64,
    },
    /// The manifest has changed since the plan was made.
    #[error("{url} has changed since the plan was made")]
    Changed {
        /// URL of the manifest, redacted.
        url: String,
    },
    /// The frame of a chunk does not match its digest in the manifest.
    #[error("chunk {chunk} of {url}, at {offset}, does not match the manifest")]
    WrongChunk {
        /// URL of the data file, redacted.
        url: String,
        /// Number of the chunk, from 0.
        chunk: usize,
        /// Offset of its frame in the data file.
        offset: Bytes,
    },
    /// The length of the data file contradicts the manifest.
    #[error("{url} is {}, its manifest says {expected}", long(*.found))]
    OtherLength {
        /// URL of the data file, redacted.
        url: String,
        /// Length by the server; `None` if the file ended early.
        found: Option<Bytes>,
        /// Length by the manifest.
        expected: Bytes,
    },
    /// The manifest contradicts itself: the frame that it lists does not unpack to the chunk that it lists.
    #[error("chunk {chunk} of {url} contradicts its manifest: {why}")]
    Contradiction {
        /// URL of the data file, redacted.
        url: String,
        /// Number of the chunk, from 0.
        chunk: usize,
        /// The codec's error.
        why: ChunkError,
    },
    /// A server without range support broke off too many times.
    #[error("{url} broke off {times} times, and its server does not support ranges")]
    Unstable {
        /// URL of the data file, redacted.
        url: String,
        /// Number of interruptions.
        times: u32,
    },
    /// All servers were dropped.
    #[error("no server is left that has the image: {}", .reasons.join("; "))]
    NoMirror {
        /// Error of each server.
        reasons: Vec<String>,
        /// Whether any of these errors is transient.
        retryable: bool,
    },
}

impl PackedError {
    /// The kind of error, which decides the exit code.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Manifest(problem) => problem.kind(),
            _ => Kind::Image,
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Manifest(problem) => return problem.hint().map(str::to_owned),
            Self::NotListed { .. } | Self::Claim { .. } | Self::OtherName { .. } => {
                "publish image and manifest of the same build together".to_owned()
            }
            Self::Untrusted { .. } => {
                "name the key with `trusted_key` in the ramdisk's /etc/provision.conf".to_owned()
            }
            Self::TooOld { .. } => {
                "use a newer release, or lower `min_release` in the ramdisk".to_owned()
            }
            Self::Changed { .. } => "run again: a new plan is made then".to_owned(),
            Self::WrongChunk { .. } | Self::OtherLength { .. } => {
                "check the file on the server with `image-builder inspect --check`".to_owned()
            }
            Self::Contradiction { .. } => "pack the image again".to_owned(),
            Self::Unstable { .. } => "use a server that supports ranges".to_owned(),
            Self::NoMirror { .. } => "check the servers and their files".to_owned(),
        })
    }

    /// Whether the same request may succeed when it is run again.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Manifest(problem) => problem.is_retryable(),
            Self::Changed { .. } | Self::Unstable { .. } => true,
            Self::NoMirror { retryable, .. } => *retryable,
            Self::NotListed { .. }
            | Self::Claim { .. }
            | Self::Untrusted { .. }
            | Self::OtherName { .. }
            | Self::TooOld { .. }
            | Self::WrongChunk { .. }
            | Self::OtherLength { .. }
            | Self::Contradiction { .. } => false,
        }
    }
}

fn long(length: Option<Bytes>) -> String {
    length.map_or_else(
        || "shorter than it should be".to_owned(),
        |length| format!("{length} long"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::{Error, render};
    use crate::stream::StreamError;

    #[test]
    fn errors_name_place_and_remedy() {
        let url = || "http://h/x.img.zst".to_owned();
        let errors = [
            PackedError::WrongChunk {
                url: url(),
                chunk: 3,
                offset: Bytes(4096),
            },
            PackedError::OtherLength {
                url: url(),
                found: None,
                expected: Bytes(1 << 20),
            },
            PackedError::NoMirror {
                reasons: vec!["a is gone".to_owned(), "b sends other bytes".to_owned()],
                retryable: true,
            },
        ];
        let texts = errors.map(|error| render(&Error::from(StreamError::from(error))));
        insta::assert_snapshot!(texts.concat(), @r"
        error: chunk 3 of http://h/x.img.zst, at 4 KiB, does not match the manifest
          hint: check the file on the server with `image-builder inspect --check`
        error: http://h/x.img.zst is shorter than it should be, its manifest says 1 MiB
          hint: check the file on the server with `image-builder inspect --check`
        error: no server is left that has the image: a is gone; b sends other bytes
          hint: check the servers and their files
        ");
    }
}
