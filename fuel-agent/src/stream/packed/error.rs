//! What can go wrong with a packed image beside what can go wrong with any.

use host::units::Bytes;
use os_image::codec::ChunkError;

use crate::model::error::Kind;
use crate::source::ManifestProblem;

/// Why a packed image is not on its device.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// Its manifest cannot be had or used.
    #[error(transparent)]
    Manifest(#[from] ManifestProblem),
    /// Its manifest does not list it.
    #[error("{url} does not name `{file}`")]
    NotListed {
        /// The manifest.
        url: String,
        /// The image's file name.
        file: String,
    },
    /// What it says of the whole is not what another document or the caller says.
    #[error("the manifest of {url} says {algorithm} {claim}, {stated_by} says {stated}")]
    Claim {
        /// The image.
        url: String,
        /// Which digest.
        algorithm: &'static str,
        /// What the manifest says.
        claim: String,
        /// What the other one says.
        stated: String,
        /// Which other one.
        stated_by: String,
    },
    /// Only signed images are written here, and no key is trusted that could have signed it.
    #[error("{url} has to be signed by a key that is trusted here, and no key is trusted")]
    Untrusted {
        /// The image.
        url: String,
    },
    /// It is of an older release than those that are written here.
    #[error("{url} is release {release}, and {least} is the oldest that is written here")]
    TooOld {
        /// The image.
        url: String,
        /// Its release.
        release: u64,
        /// The oldest that would do.
        least: u64,
    },
    /// The manifest is another one than was planned with.
    #[error("{url} is not what it was when this was planned")]
    Changed {
        /// The manifest.
        url: String,
    },
    /// A chunk is not what the manifest says.
    #[error("{url} has other bytes at {offset} than its manifest says, in chunk {chunk}")]
    WrongChunk {
        /// The data file.
        url: String,
        /// Which chunk, from 0.
        chunk: usize,
        /// Where in the data file it begins.
        offset: Bytes,
    },
    /// The data file is another one.
    #[error("{url} is {}, its manifest says {expected}", long(*.found))]
    OtherLength {
        /// The data file.
        url: String,
        /// How long it is.
        found: Option<Bytes>,
        /// How long it should be.
        expected: Bytes,
    },
    /// The manifest contradicts itself: what it says is packed there does not unpack to what it says.
    #[error("chunk {chunk} of {url} contradicts its manifest: {why}")]
    Contradiction {
        /// The data file.
        url: String,
        /// Which chunk, from 0.
        chunk: usize,
        /// What is wrong.
        why: ChunkError,
    },
    /// A server without ranges broke off again and again.
    #[error("{url} broke off {times} times, and its server cannot send the rest only")]
    Unstable {
        /// The data file.
        url: String,
        /// How often.
        times: u32,
    },
    /// All servers were given up.
    #[error("no server is left that has the image: {}", .reasons.join("; "))]
    NoMirror {
        /// Why each was given up.
        reasons: Vec<String>,
        /// Whether trying again may help.
        retryable: bool,
    },
}

impl PackedError {
    /// Who can fix it.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Manifest(problem) => problem.kind(),
            _ => Kind::Image,
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Manifest(problem) => return problem.hint().map(str::to_owned),
            Self::NotListed { .. } | Self::Claim { .. } => {
                "publish image and manifest of the same build together".to_owned()
            }
            Self::Untrusted { .. } => {
                "name the key with `trusted_key` in the ramdisk's /etc/provision.conf".to_owned()
            }
            Self::TooOld { .. } => {
                "use a newer release, or lower `min_release` in the ramdisk".to_owned()
            }
            Self::Changed { .. } => "run again: it is planned anew then".to_owned(),
            Self::WrongChunk { .. } | Self::OtherLength { .. } => {
                "check the file on the server with `image-builder inspect --check`".to_owned()
            }
            Self::Contradiction { .. } => "pack the image again".to_owned(),
            Self::Unstable { .. } => "use a server that supports ranges".to_owned(),
            Self::NoMirror { .. } => "check the servers and their files".to_owned(),
        })
    }

    /// Whether the same request may well succeed next time.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Manifest(problem) => problem.is_retryable(),
            Self::Changed { .. } | Self::Unstable { .. } => true,
            Self::NoMirror { retryable, .. } => *retryable,
            Self::NotListed { .. }
            | Self::Claim { .. }
            | Self::Untrusted { .. }
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
                reasons: vec!["a is gone".to_owned(), "b lies".to_owned()],
                retryable: true,
            },
        ];
        let told = errors.map(|error| render(&Error::from(StreamError::from(error))));
        insta::assert_snapshot!(told.concat(), @r"
        error: http://h/x.img.zst has other bytes at 4 KiB than its manifest says, in chunk 3
          hint: check the file on the server with `image-builder inspect --check`
        error: http://h/x.img.zst is shorter than it should be, its manifest says 1 MiB
          hint: check the file on the server with `image-builder inspect --check`
        error: no server is left that has the image: a is gone; b lies
          hint: check the servers and their files
        ");
    }
}
