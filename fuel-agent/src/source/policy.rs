//! What this node requires of images, and how it writes packed ones. Set by the ramdisk; a request cannot weaken it.

use os_image::signature::TrustedKey;

use crate::model::error::Error;
use crate::model::sources::SourceFacts;
use crate::model::trust::{ImagePolicy, Rejection};
use crate::model::url::RedactedUrl;

/// Whether chunks that the disk holds already are kept instead of being fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeltaPolicy {
    /// Whatever is faster, by measurement.
    #[default]
    Auto,
    /// Check the whole disk and fetch only what differs, however long that takes.
    Always,
    /// Fetch and write everything.
    Never,
}

/// Policy for images on this node.
#[derive(Clone, Debug, Default)]
pub struct PackedPolicy {
    /// URLs of folders on other servers with the same files.
    pub mirrors: Vec<RedactedUrl>,
    /// Keys that may sign images.
    pub keys: Vec<TrustedKey>,
    /// What is required of images, packed or not.
    pub images: ImagePolicy,
    /// Whether to keep chunks that the disk holds already.
    pub delta: DeltaPolicy,
}

/// Which signatures are believed, and whether one has to be there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signers<'a> {
    /// Keys that may sign manifests and metadata. Where there are any, a signature has to be by one of them.
    pub keys: &'a [TrustedKey],
    /// Whether a manifest or metadata without a signature is unusable.
    pub required: bool,
}

impl PackedPolicy {
    /// Refuses an image with these facts, if it may not be written here.
    pub fn check(&self, url: &RedactedUrl, facts: &SourceFacts) -> Result<(), Error> {
        match self.images.rejections(url, facts).into_iter().next() {
            None => Ok(()),
            Some(Rejection { kind, why, hint }) => {
                Err(Error::new(kind, format!("{url} {why}")).hint(hint))
            }
        }
    }

    /// Signatures that are believed here.
    pub fn signers(&self) -> Signers<'_> {
        Signers {
            keys: &self.keys,
            required: self.images.require_signature,
        }
    }
}
