//! The stage that unpacks an archive: writes its entries, in their order, into a mounted and empty filesystem.

mod blocks;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::Receiver;

use host::extract::{DeviceNode, Metadata, Unpacker};
use host::units::Bytes;
use os_image::archive::{Archive, ArchiveError, Entry, Kind, Name};

use super::digest::Digests;
use super::error::StreamError;
use super::progress::ProgressReporter;
use super::{BLOCK_COUNT, BLOCK_LENGTH, Expected, Pipeline, StreamMessage};
use crate::events::Events;
use crate::http::{Client, PART_COUNT, PART_LENGTH};
use crate::model::filesystem::ARCHIVE;
use crate::model::report::ImageOutcome;
use crate::model::request::Container;
use crate::model::url::redacted;
use crate::pool::Pool;
use crate::source::Meter;
use blocks::{Blocks, Interruption, Lengths};

/// One archive to be unpacked.
pub struct Unpacking<'a> {
    /// Its URL.
    pub url: &'a str,
    /// Container by the request; the first bytes have to agree.
    pub container: Container,
    /// Length and digests that others state.
    pub expected: Expected,
    /// Whether an archive without a known digest may be unpacked.
    pub allow_unverified: bool,
    /// Mount point of a new, empty filesystem.
    pub root: &'a Path,
    /// Path of that filesystem's device, for messages.
    pub device: &'a str,
    /// Size of that device.
    pub volume: Bytes,
    /// HTTP client; also carries cancellation.
    pub client: &'a Client,
    /// Receives progress and retries.
    pub events: &'a dyn Events,
}

impl std::fmt::Debug for Unpacking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking")
            .field("url", &redacted(self.url))
            .field("container", &self.container)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Unpacks an archive, verifies it, and returns when everything is on the medium. After an error the filesystem holds
/// some of the entries.
pub fn unpack_archive(job: Unpacking<'_>) -> Result<ImageOutcome, StreamError> {
    let parts = Pool::new(PART_COUNT, PART_LENGTH);
    let blocks = Pool::new(BLOCK_COUNT, BLOCK_LENGTH);
    let pipeline = Pipeline {
        url: job.url,
        container: job.container,
        format: ARCHIVE,
        expected: job.expected.clone(),
        allow_unverified: job.allow_unverified,
        client: job.client,
        events: job.events,
    };
    pipeline.check()?;
    let fill =
        |meter: &Meter, end: &Receiver<StreamMessage>| ArchiveExtractor::new(job, meter)?.run(end);
    pipeline.into(&parts, &blocks, Box::new(fill))
}

/// Writes the entries of one archive.
struct ArchiveExtractor<'a> {
    job: Unpacking<'a>,
    url: String,
    progress: ProgressReporter<'a>,
    unpacker: Unpacker,
}

/// Why an entry was not created.
enum DecodeError {
    /// The archive is malformed.
    Archive(ArchiveError),
    /// A system call failed.
    Io(io::Error),
}

impl From<ArchiveError> for DecodeError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<'a> ArchiveExtractor<'a> {
    fn new(job: Unpacking<'a>, meter: &Meter) -> Result<Self, StreamError> {
        let unpacker = Unpacker::open(job.root);
        Ok(Self {
            url: redacted(job.url),
            progress: ProgressReporter::new(job.url, job.expected.raw_size, meter, job.events),
            unpacker: unpacker.map_err(|source| disk_error(&job, "open", source))?,
            job,
        })
    }

    /// Unpacks the archive, from the beginning again each time the source starts over, then verifies it.
    fn run(mut self, input: &Receiver<StreamMessage>) -> Result<Digests, StreamError> {
        let digests = loop {
            if let Some(digests) = self.pass(input)? {
                break digests;
            }
            let emptied = self.unpacker.start_over();
            emptied.map_err(|source| disk_error(&self.job, "empty", source))?;
        };
        self.job.expected.verify(&self.url, &digests)?;
        let flushed = self.unpacker.close();
        flushed.map_err(|source| disk_error(&self.job, "flush", source))?;
        self.progress.report_end(digests.length);
        Ok(digests)
    }

    /// One pass through the source; `None` if it starts over.
    fn pass(&mut self, input: &Receiver<StreamMessage>) -> Result<Option<Digests>, StreamError> {
        let lengths = Lengths {
            url: &self.url,
            device: self.job.device,
            expected: self.job.expected.raw_size,
            volume: self.job.volume,
        };
        let mut blocks = Blocks::new(input, self.job.client, &mut self.progress, lengths);
        let place = Place {
            url: &self.url,
            device: self.job.device,
        };
        let unpacked = unpack(&mut blocks, &mut self.unpacker, place);
        match blocks.end() {
            Err(Interruption::StartOver) => Ok(None),
            Err(Interruption::Failed(error)) => Err(error),
            Ok(digests) => unpacked.and_then(|()| digests.map(Some).ok_or(StreamError::HungUp)),
        }
    }
}

/// Source and destination, for messages.
#[derive(Clone, Copy)]
struct Place<'a> {
    url: &'a str,
    device: &'a str,
}

fn unpack(
    blocks: &mut Blocks<'_, '_>,
    unpacker: &mut Unpacker,
    place: Place<'_>,
) -> Result<(), StreamError> {
    let archive_error = |source| StreamError::Archive {
        url: place.url.to_owned(),
        source,
    };
    let mut archive = Archive::new(blocks);
    while let Some(entry) = archive.advance().map_err(archive_error)? {
        make(&entry, &mut archive, unpacker).map_err(|error| match error {
            DecodeError::Archive(source) => archive_error(source),
            DecodeError::Io(source) => StreamError::Entry {
                url: place.url.to_owned(),
                entry: entry.name.to_string(),
                device: place.device.to_owned(),
                source,
            },
        })?;
    }
    Ok(())
}

/// Creates the entry.
fn make(
    entry: &Entry,
    archive: &mut Archive<&mut Blocks<'_, '_>>,
    unpacker: &mut Unpacker,
) -> Result<(), DecodeError> {
    let path = path(&entry.name);
    let metadata = metadata(entry);
    match &entry.kind {
        Kind::File { size } => {
            let file = unpacker.file(path, *size)?;
            while let Some((at, bytes)) = archive.data()? {
                file.write_at(bytes, at)?;
            }
            unpacker.complete(&file, &metadata)?;
        }
        Kind::Folder => unpacker.folder(path, &metadata)?,
        Kind::Symlink { to } => unpacker.symlink(path, OsStr::from_bytes(to), &metadata)?,
        Kind::HardLink { to } => unpacker.hard_link(path, self::path(to))?,
        Kind::Character { major, minor } => {
            unpacker.special(path, DeviceNode::Character(*major, *minor), &metadata)?;
        }
        Kind::Block { major, minor } => {
            unpacker.special(path, DeviceNode::Block(*major, *minor), &metadata)?;
        }
        Kind::Pipe => unpacker.special(path, DeviceNode::Pipe, &metadata)?,
    }
    Ok(())
}

fn path(name: &Name) -> &Path {
    Path::new(OsStr::from_bytes(name.as_bytes()))
}

fn metadata(entry: &Entry) -> Metadata<'_> {
    let attributes = entry.attributes.iter();
    Metadata {
        mode: entry.mode,
        user: entry.user,
        group: entry.group,
        modified: (entry.modified.seconds, entry.modified.nanoseconds),
        attributes: attributes
            .map(|attribute| {
                (
                    OsStr::from_bytes(&attribute.name),
                    attribute.value.as_slice(),
                )
            })
            .collect(),
    }
}

fn disk_error(job: &Unpacking<'_>, doing: &'static str, source: io::Error) -> StreamError {
    StreamError::Files {
        doing,
        device: job.device.to_owned(),
        source,
    }
}
