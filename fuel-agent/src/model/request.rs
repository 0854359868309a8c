//! What the orchestrator asks, checked in itself, in one form for all dialects.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::DocumentedDigests;
use super::filesystem::ImageFormat;
use super::index::FilesystemIndex;
use super::node::NodeSpec;
use super::operating_system::OperatingSystem;
use super::storage::{BlockRef, Mount, Storage};
use super::url::RedactedUrl;

/// Where a ready-made configdrive is looked for on the node; an ironic conductor uploads it there.
pub const READY_CONFIGDRIVE: &str = "/tmp/config-drive.img";

/// Source of the digests in [`ImageSpec::digests`], as errors and the report name it.
pub const STATED_BY_REQUEST: &str = "the request";

/// Which kind of `provision.json` it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// What Fuel's orchestrator sends.
    Nailgun,
    /// The same with an explicit layout.
    NailgunSimple,
    /// Disks and images only.
    Ironic,
}

/// Something wrong with the input: where, what, and what would be right. All of them are reported at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON path, like `ks_meta.pm_data.ks_spaces[0].volumes[3].size`.
    pub path: String,
    /// What is wrong, with the path of the value.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// A request that has been checked in itself: it may still not fit this node.
#[derive(Clone, Debug)]
pub struct Request {
    /// The dialect it was written in.
    pub dialect: Dialect,
    /// Lower-case hexadecimal sha256 of the input in canonical form (keys sorted, no spaces): its identity.
    pub digest: String,
    /// `generation` of the document: another one has a node installed again that is installed by an otherwise equal
    /// request.
    pub generation: Option<String>,
    /// The orchestrator's own name for the node, `slave_name` or else `name`: Cobbler's name of the system.
    pub name: Option<String>,
    /// Layout of the disks.
    pub storage: Storage,
    /// What is written onto filesystems.
    pub images: Vec<ImageSpec>,
    /// How the system is started: loader and kernel parameters.
    pub boot: BootSpec,
    /// Identity of the node; `None` where the dialect has none (ironic).
    pub node: Option<NodeSpec>,
    /// Where the cloud-init data goes, if any goes anywhere; its content is made from `node`, or is the ready-made
    /// image that was found on the node (`Context::ready_configdrive` of the room `request`) where `node` is `None`.
    pub configdrive: Option<BlockRef>,
    /// What is unusual but accepted, as upstream accepts it.
    pub warnings: Vec<String>,
    /// What can be planned, as upstream plans it, but what `run` will not do (exit 3): upstream would fail half way,
    /// with the data already gone.
    pub refusals: Vec<Problem>,
}

/// How an image's bytes are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// No container.
    Raw,
    /// gzip, any number of members.
    Gzip,
    /// zstd, any number of frames.
    Zstd,
    /// xz, any number of streams.
    Xz,
    /// bzip2, any number of streams.
    Bzip2,
    /// QEMU's disk image, without a backing file.
    Qcow2,
}

/// An image and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// Mount point that it is for.
    pub mount: Mount,
    /// Filesystem that it replaces or is unpacked into.
    pub filesystem: FilesystemIndex,
    /// `http://`, `https://` or `file://`.
    pub url: RedactedUrl,
    /// Content that the request states.
    pub format: ImageFormat,
    /// How it is wrapped, by the request; its content has to agree.
    pub container: Container,
    /// Digests that the unpacked image has to have, whatever its server states.
    pub digests: DocumentedDigests,
}

impl ImageSpec {
    /// Whether it may be a packed image: nothing else has a manifest. An archive never is one.
    pub fn may_be_packed(&self) -> bool {
        self.container == Container::Zstd && self.format != ImageFormat::Archive
    }
}

/// How the installed system starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSpec {
    /// Kernel command line as upstream stores it: one leading space, then the request's.
    pub kernel_params: String,
    /// Version of GRUB that upstream would use, by its guess of the operating system.
    pub grub_version: u32,
    /// What upstream guesses the operating system to be.
    pub system: OperatingSystem,
    /// The profile, as given.
    pub profile: String,
}
