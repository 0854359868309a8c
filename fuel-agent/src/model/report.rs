//! What happened, as data: the report of a run and its parts.

use std::time::Duration;

use host::units::Bytes;
use serde::{Deserialize, Serialize};

use super::digest::{Algorithm, StatedDigest};
use super::error::{Error, Kind};
use super::stage::Stage;
use super::trust::Trust;

/// The report of a run. Its JSON form is contract (docs/commands.md): keys are added, never changed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Outcome of the run.
    pub result: Outcome,
    /// The exit status of `provision`.
    pub exit_status: u8,
    /// Whether a disk has been written to.
    pub touched: bool,
    /// Whether running the same request again makes sense.
    pub retryable: bool,
    /// The error, where there was one.
    pub error: Option<ReportedError>,
    /// Errors after the first: of clean-up and the like.
    pub unclean: Vec<ReportedError>,
    /// What is pending (exit status 10).
    pub incomplete: Vec<String>,
    /// Warnings of the plan, the steps and the transfers, each once.
    pub warnings: Vec<String>,
    /// Dialect of the request, once it was read.
    pub dialect: Option<String>,
    /// Identity of the request.
    pub request_digest: Option<String>,
    /// Generation of the request, if it has one.
    pub generation: Option<String>,
    /// The node's name, as in the request.
    pub hostname: Option<String>,
    /// Identifier of this installation, as cloud-init sees it.
    pub instance_id: Option<String>,
    /// Whether the node already was what the request asks for, so that only the completion was repeated.
    pub already_installed: bool,
    /// What `reverify` found of each image of a node that is installed by its stamp.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reverified: Vec<ReverifiedImage>,
    /// Version of the agent.
    pub agent_version: &'static str,
    /// Start, UTC in RFC 3339.
    pub started: String,
    /// End, UTC in RFC 3339.
    pub ended: String,
    /// Duration by the monotonic clock.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
    /// Stages that ran, in order.
    pub stages: Vec<StageRecord>,
    /// Steps that were performed, in order.
    pub steps: Vec<ReportedStep>,
    /// The chosen disks, in the order of the request.
    pub devices: Vec<ReportedDevice>,
    /// The images that were written, in the order of the plan.
    pub images: Vec<ImageOutcome>,
    /// Bytes that came from the images' sources.
    pub fetched_bytes: Bytes,
    /// Bytes of the images, unpacked.
    pub written_bytes: Bytes,
    /// Peak memory of the agent: `VmHWM` of /proc/self/status.
    pub peak_memory_bytes: Option<Bytes>,
}

fn millis<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// Outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The node is what the request asks for.
    Installed,
    /// By its stamp the node was what the request asks for: nothing was written. What the disks hold was compared only
    /// as far as [`Report::reverified`] says.
    AlreadyInstalled,
    /// The node is installed, but the orchestrator has not accepted the callback.
    InstalledNotAccepted,
    /// Something is pending, which [`Report::incomplete`] lists.
    Incomplete,
    /// The node is not installed.
    Failed,
    /// The run was cancelled.
    Interrupted,
}

impl Outcome {
    /// What a run came to that ended with this error, or none; `already_installed`: by the stamp there was nothing to
    /// do.
    pub fn of(error: Option<&Error>, already_installed: bool) -> Self {
        match error.map(|error| error.kind) {
            None if already_installed => Self::AlreadyInstalled,
            None => Self::Installed,
            Some(Kind::Notify) => Self::InstalledNotAccepted,
            Some(Kind::Incomplete) => Self::Incomplete,
            Some(Kind::Interrupted) => Self::Interrupted,
            Some(_) => Self::Failed,
        }
    }

    /// Its name in reports and callbacks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::AlreadyInstalled => "already-installed",
            Self::InstalledNotAccepted => "installed-not-accepted",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An error in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedError {
    /// Stage that failed.
    pub stage: Stage,
    /// Kind of the error; decides the exit status.
    pub kind: Kind,
    /// Message of the error.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// Hint of the error.
    pub hint: Option<String>,
    /// The disk or partition concerned.
    pub device: Option<String>,
    /// Whether the same request may well succeed next time.
    pub retryable: bool,
}

impl ReportedError {
    /// An error of a stage.
    pub fn new(stage: Stage, error: &Error) -> Self {
        Self {
            stage,
            kind: error.kind,
            message: error.what.clone(),
            causes: error.causes(),
            hint: error.hint.clone(),
            device: error.device.clone(),
            retryable: error.retryable,
        }
    }

    /// The message with its causes, on one line.
    pub fn line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line = line + ": " + cause.trim_end();
        }
        line
    }
}

/// A step in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedStep {
    /// Number of the step in the plan, from 1.
    pub number: usize,
    /// Stage that the step belongs to.
    pub stage: Stage,
    /// The step in words, as in the plan.
    pub what: String,
    /// `changed`, `unchanged`, `skipped` or `failed`.
    pub outcome: &'static str,
    /// Why it was skipped, or stopped for another's failure.
    pub why: Option<String>,
    /// Duration by the monotonic clock.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
}

/// A chosen disk in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedDevice {
    /// Device node in this run; another boot may name it otherwise.
    pub device: String,
    /// A name that it has after a reboot too: a by-id link, else its serial number or wwn.
    pub stable_name: String,
    /// Size of the whole disk.
    pub size_bytes: Bytes,
}

/// One stage that ran.
#[derive(Clone, Debug, Serialize)]
pub struct StageRecord {
    /// The stage.
    pub stage: Stage,
    /// Whether it ended without an error.
    pub ok: bool,
    /// Duration by the monotonic clock.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
}

/// Result of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageOutcome {
    /// Where it came from, without secrets.
    pub url: String,
    /// Bytes that came over the network or from the file.
    pub fetched_bytes: Bytes,
    /// Bytes that the image is long when unpacked.
    pub raw_bytes: Bytes,
    /// Lower-case hexadecimal sha256 of the unpacked bytes: computed, or from the manifest.
    pub raw_sha256: String,
    /// Whether `raw_sha256` was computed. Where it was not, it is a claim of the manifest, whose chunks were checked.
    pub raw_sha256_computed: bool,
    /// Lower-case hexadecimal md5 of the unpacked bytes: computed, or from the manifest.
    pub raw_md5: Option<String>,
    /// Lower-case hexadecimal BLAKE3 of the unpacked bytes, where that was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_blake3: Option<String>,
    /// Whether everything in `digests_checked` was computed and equal, and there is something in it: the image arrived
    /// as stated. What that is worth is in `trust`.
    pub verified: bool,
    /// The best evidence that it is the image that was meant.
    pub trust: Trust,
    /// What was computed, and with what it was compared.
    pub digests_checked: Vec<CheckedDigest>,
    /// How often the transfer was resumed or started over.
    pub retries: u32,
    /// Milliseconds from the first request to the last flush.
    pub took_ms: u64,
    /// More, where it is a packed image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed: Option<PackedOutcome>,
}

/// An image of a node that is installed by its stamp, compared with its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReverifiedImage {
    /// Address of the image, without secrets.
    pub url: String,
    /// Mount point of its filesystem, else its device.
    pub place: String,
    /// Whether an installation leaves it as it was written: it is neither grown nor configured. One that is not left so
    /// differs from the first boot on, or earlier.
    pub left_as_written: bool,
    /// Its chunks; absent where they were not compared.
    #[serde(flatten)]
    pub compared: Option<ComparedChunks>,
    /// Why they were not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
}

/// Chunks of a packed image that were compared with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedChunks {
    /// Number of chunks of the image.
    pub chunks: usize,
    /// Number of those that the disk does not hold, or that cannot be read.
    pub differing_chunks: usize,
    /// Length of the image.
    pub bytes: Bytes,
    /// Length of the differing chunks.
    pub differing_bytes: Bytes,
}

impl ReverifiedImage {
    /// Whether the disk is known to hold something else.
    pub fn differs(&self) -> bool {
        (self.compared).is_some_and(|compared| compared.differing_chunks > 0)
    }
}

impl std::fmt::Display for ReverifiedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (url, place) = (&self.url, &self.place);
        match (&self.compared, &self.not_compared) {
            (Some(compared), _) if self.differs() => write!(
                f,
                "{place} differs from {url} in {} of {} chunks ({} of {})",
                compared.differing_chunks,
                compared.chunks,
                compared.differing_bytes,
                compared.bytes
            ),
            (Some(compared), _) => write!(f, "{place} holds {url}, all {} chunks", compared.chunks),
            (None, why) => {
                let why = why.as_deref().unwrap_or("unknown");
                write!(f, "{place} was not compared with {url}: {why}")
            }
        }
    }
}

/// A digest that was computed and is equal to the one that was stated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedDigest {
    /// Part of the image that was digested.
    pub of: DigestedPart,
    /// Hash algorithm.
    pub algorithm: Algorithm,
    /// It itself, in lower-case hexadecimal; null where each chunk has one.
    pub digest: Option<String>,
    /// Source that stated it: a document, or an option of the command line.
    pub stated_by: String,
}

/// Part of an image that a digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestedPart {
    /// The whole unpacked image.
    Image,
    /// Each chunk of a packed image, packed and unpacked.
    Chunks,
}

impl From<&StatedDigest> for CheckedDigest {
    fn from(stated: &StatedDigest) -> Self {
        Self {
            of: DigestedPart::Image,
            algorithm: stated.algorithm,
            digest: Some(stated.digest.to_lowercase()),
            stated_by: stated.stated_by.clone(),
        }
    }
}

/// What became of a packed image beside what becomes of any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackedOutcome {
    /// sha256 of the manifest.
    pub manifest_sha256: String,
    /// The image's release.
    pub release: u64,
    /// The key that signed the manifest, where keys are trusted.
    pub signed_by: Option<String>,
    /// Write mode at the start of the transfer.
    pub way: WriteMode,
    /// Why, and whether that was changed on the way.
    pub why: String,
    /// Bytes that were read from the disk to see whether they are right.
    pub read_bytes: Bytes,
    /// Unpacked bytes that the disk held already.
    pub kept_bytes: Bytes,
    /// Bytes that were written to the disk.
    pub written_bytes: Bytes,
    /// Bytes that were made zero on the disk.
    pub zeroed_bytes: Bytes,
    /// Transfers by server.
    pub mirrors: Vec<MirrorOutcome>,
}

/// How an image is brought onto its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// All of it is fetched and written.
    Full,
    /// What the disk holds is read first, and only what differs is fetched and written.
    Delta,
}

/// What a mirror did, for the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorOutcome {
    /// Its address of the data file, without secrets.
    pub url: String,
    /// Bytes that came from it.
    pub fetched_bytes: Bytes,
    /// Why it was not asked any more, where that is so.
    pub dropped: Option<String>,
}
