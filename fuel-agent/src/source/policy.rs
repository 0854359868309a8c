//! What this node requires of packed images, and how it writes them. Set by the ramdisk; a request cannot weaken it.

use os_image::signature::TrustedKey;

use crate::model::sources::SourceFacts;
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

/// Policy for packed images on this node.
#[derive(Clone, Debug, Default)]
pub struct PackedPolicy {
    /// URLs of folders on other servers with the same files.
    pub mirrors: Vec<RedactedUrl>,
    /// Keys that may sign manifests. If there are any, one of them has to have signed.
    pub keys: Vec<TrustedKey>,
    /// Whether unsigned packed images are refused.
    pub require_signature: bool,
    /// Oldest release that is accepted.
    pub min_release: u64,
    /// Whether to keep chunks that the disk holds already.
    pub delta: DeltaPolicy,
}

impl PackedPolicy {
    /// Why an image with these facts is refused, with a hint; `None` if it is accepted.
    pub fn rejects(&self, facts: &SourceFacts) -> Option<(String, &'static str)> {
        facts.rejected(self.require_signature, self.min_release)
    }
}
