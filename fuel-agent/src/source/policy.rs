//! What this node demands of packed images, and how it writes them. Set by the ramdisk; no request weakens it.

use os_image::signature::TrustedKey;

use crate::model::sources::SourceFacts;
use crate::model::url::RedactedUrl;

/// Whether what the disk holds already is used instead of being fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeltaPolicy {
    /// By what is faster, as measured.
    #[default]
    Auto,
    /// Read what the disk holds and fetch only what differs, however long that takes.
    Always,
    /// Fetch and write everything.
    Never,
}

/// What holds for packed images on this node.
#[derive(Clone, Debug, Default)]
pub struct PackedPolicy {
    /// Folders, as URLs, in which other servers have the same files.
    pub mirrors: Vec<RedactedUrl>,
    /// Keys that may sign manifests. Where there are any, one of them has to have signed.
    pub keys: Vec<TrustedKey>,
    /// Whether only packed images that one of the keys signed are written.
    pub require_signature: bool,
    /// The oldest release that is written.
    pub min_release: u64,
    /// Whether what the disk holds is made use of.
    pub delta: DeltaPolicy,
}

impl PackedPolicy {
    /// Why an image of which this is known is not written here, and what to do.
    pub fn rejects(&self, facts: &SourceFacts) -> Option<(String, &'static str)> {
        facts.rejected(self.require_signature, self.min_release)
    }
}
