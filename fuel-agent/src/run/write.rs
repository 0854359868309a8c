//! `provision write`: one image onto one disk, partition or file, by the same engine as in a run and with the same
//! checks.
//!
//! What is not done here: no request, no layout, no boot code, no completion. Nothing but the named target is touched.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host::Host;
use host::blockdev::{Access, BlockDevice};
use host::cancel::Cancel;
use host::lock::Lock;
use host::units::{Bytes, Extent};
use host::wait;
use serde::Serialize;

use super::context::{Places, printer, start_log, told};
use super::fit::{self, Goal};
use super::stated;
use super::target::{self, NullDevice, Target};
use crate::apply::context::not_opened;
use crate::cli::{Dialect, Format, LogOptions, WriteOptions};
use crate::events::{Event, Events, Silence, clock};
use crate::http::Client;
use crate::model::error::{Error, Kind};
use crate::model::filesystem::ImageFormat;
use crate::model::index::FilesystemIndex;
use crate::model::mismatch::check_identified;
use crate::model::report::{DigestedPart, ImageOutcome};
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::SourceFacts;
use crate::model::stage::Stage;
use crate::model::storage::Mount;
use crate::plan;
use crate::report::peak_memory;
use crate::sequence::host_executor::lock_error;
use crate::sequence::rundir::RunDir;
use crate::settings::{Entry, Place, Settings};
use crate::source;
use crate::stream::packed::Packed;
use crate::stream::{self, Expected, Job, StreamError};

/// How long a program that looks at the new partitions may keep the kernel from reading their table.
const REREAD_PATIENCE: Duration = Duration::from_secs(10);

/// What is printed at the end: keys are added, never changed.
#[derive(Debug, Serialize)]
struct Written {
    /// Where the image is now; null where it was only checked.
    device: Option<PathBuf>,
    #[serde(flatten)]
    image: ImageOutcome,
    /// The most memory that this process had.
    peak_memory_bytes: Option<Bytes>,
}

/// Writes, or checks, one image.
pub(super) fn write(options: &WriteOptions) -> Result<u8, Error> {
    let cancel = Cancel::new();
    super::install::on_signals(&cancel)?;
    let places = Places::of_this_machine();
    start_log(&LogOptions::default(), options.log_file.clone())?;
    let (settings, warnings) = places.settings(said(options))?;
    let digest = options.digest.as_deref().map(stated::parse).transpose()?;
    let events = heard(options.format)?;
    for message in warnings {
        warn(&*events, message);
    }
    let client = Client::new(&settings.http, cancel.clone())?;
    let probe_options = source::ProbeOptions {
        keys: &settings.packed.keys,
        mirrors: &settings.packed.mirrors,
    };
    let (image, mut facts) = look(&client, &options.image, probe_options)?;
    if let Some(digest) = digest {
        stated::join(digest, &mut facts)?;
    }
    if let Some((why, hint)) = settings.packed.rejects(&facts) {
        let url = &image.url;
        return Err(Error::new(Kind::Image, format!("{url} {why}")).hint(hint));
    }
    if !facts.has_digest() && !settings.allow_unverified {
        let url = image.url.to_string();
        return Err(StreamError::Unverified { url }.into());
    }
    let source = Source {
        image,
        facts,
        client: &client,
        settings: &settings,
        events: &*events,
        discards: options.target.is_none(),
    };
    let (device, outcome) = match &options.target {
        None => (None, source.write(&mut NullDevice, Path::new("nowhere"))?),
        Some(path) => {
            let target = Target::find(path, &settings, &cancel)?;
            for warning in &target.warnings {
                warn(&*events, warning.clone());
            }
            let outcome = onto(&source, &target, &places, &cancel)?;
            (Some(target.node), outcome)
        }
    };
    events.flush();
    tell(options.format, device, outcome)?;
    Ok(0)
}

fn said(options: &WriteOptions) -> Vec<Entry> {
    let said = |text: &String| Entry::parse(text, Place::CommandLine);
    let mut entries: Vec<Entry> = options.set.iter().map(said).collect();
    if options.allow_unverified {
        entries.push(Entry::parse("allow_unverified", Place::CommandLine));
    }
    entries
}

/// Who hears of progress: people, or with JSON nobody.
fn heard(format: Format) -> Result<Arc<dyn Events>, Error> {
    match format {
        Format::Text => told(Dialect::Auto),
        Format::Json => Ok(Arc::new(Silence)),
    }
}

fn warn(events: &dyn Events, message: String) {
    let stage = Some(Stage::Image);
    events.emit(&Event::Warning { stage, message });
}

/// What the image is, by its own first bytes and by what lies beside it.
fn look(
    client: &Client,
    url: &str,
    probe_options: source::ProbeOptions<'_>,
) -> Result<(ImageSpec, SourceFacts), Error> {
    let mut image = ImageSpec {
        mount: Mount::Path("/".to_owned()),
        filesystem: FilesystemIndex(0),
        url: url.into(),
        format: ImageFormat::Unspecified,
        container: Container::Raw,
    };
    let mut facts = look_once(client, &image, probe_options)?;
    if let Some(found) = facts.container
        && found != image.container
    {
        image.container = found;
        facts = look_once(client, &image, probe_options)?;
    }
    if let Some(problem) = &facts.problem {
        return Err(Error::new(Kind::Image, problem.clone()).hint(facts.problem_hint()));
    }
    if let Some(content) = &facts.content
        && let Err(why) = check_identified(content, image.format.as_str())
    {
        let url = &image.url;
        return Err(Error::new(Kind::Image, format!("{url} {why}")).hint(why.hint()));
    }
    Ok((image, facts))
}

fn look_once(
    client: &Client,
    image: &ImageSpec,
    probe_options: source::ProbeOptions<'_>,
) -> Result<SourceFacts, Error> {
    let mut sources = source::look(client, std::slice::from_ref(image), probe_options)?;
    Ok(sources.images.remove(&image.url).unwrap_or_default())
}

/// The image and the way to it.
struct Source<'a> {
    image: ImageSpec,
    facts: SourceFacts,
    client: &'a Client,
    settings: &'a Settings,
    events: &'a dyn Events,
    /// Whether nothing is written: the image is only checked.
    discards: bool,
}

impl Source<'_> {
    fn write(&self, target: &mut dyn BlockDevice, device: &Path) -> Result<ImageOutcome, Error> {
        Ok(stream::write_image(Job {
            url: self.image.url.reveal(),
            container: self.image.container,
            format: self.image.format.as_str(),
            expected: Expected::from(&self.facts),
            allow_unverified: self.settings.allow_unverified,
            packed: self.facts.packed.as_ref().map(|facts| Packed {
                facts,
                ranges: self.facts.ranges,
                rules: &self.settings.packed,
                at_once: 1,
                discards: self.discards,
            }),
            target,
            device: &device.display().to_string(),
            client: self.client,
            events: self.events,
        })?)
    }
}

/// Takes the machine's lock and the device, and writes.
fn onto(
    source: &Source<'_>,
    target: &Target,
    places: &Places,
    cancel: &Cancel,
) -> Result<ImageOutcome, Error> {
    let folder = RunDir::open(&places.run).map_err(|error| {
        let what = format!("cannot make the folder {}", places.run.display());
        Error::new(Kind::Internal, what).because(error)
    })?;
    let _lock = Lock::acquire(&folder.lock()).map_err(lock_error)?;
    let host = if target.is_node {
        Host::real(cancel.clone())
    } else {
        let files = vec![(target::STAND_IN.to_owned(), target.node.clone(), None)];
        Host::on_files(files, cancel.clone()).map_err(|error| target.failed("open", error))?
    };
    let access = if target.is_node {
        Access::Exclusive
    } else {
        Access::Write
    };
    let opened = host.devices.open(&target.open_as(), access);
    let mut device = opened.map_err(|error| not_opened(&target.node, error))?;
    if device.read_only() {
        let error = io::ErrorKind::ReadOnlyFilesystem.into();
        return Err(not_opened(&target.node, error));
    }
    let old = old_partitions(target, device.as_ref())?;
    let goal = Goal {
        node: &target.node,
        kind: target.kind(),
        size: device.size(),
        sector_size: device.sector_size(),
        partitions: old.len(),
        machine: target.machine.as_ref(),
    };
    for message in fit::check(source.image.url.reveal(), &source.facts, &goal)? {
        warn(source.events, message);
    }
    if target.is_disk {
        disarm_end(device.as_mut()).map_err(|error| target.failed("write to", error))?;
    }
    if target.is_node {
        let wiped = wipe(device.as_mut(), &old, source.facts.raw_size_bytes);
        wiped.map_err(|error| target.failed("wipe old signatures from", error))?;
    }
    let outcome = source.write(device.as_mut(), &target.node)?;
    drop(device);
    if target.is_disk {
        reread(target, source.events);
    }
    Ok(outcome)
}

/// Where the partitions lie that a whole block device has now.
fn old_partitions(target: &Target, device: &dyn BlockDevice) -> Result<Vec<Extent>, Error> {
    if !target.is_disk {
        return Ok(Vec::new());
    }
    let found =
        host::partition_table::read(device).map_err(|error| target.failed("read", error))?;
    let partitions = found.map(|table| table.partitions).unwrap_or_default();
    Ok(partitions
        .iter()
        .map(|partition| partition.extent)
        .collect())
}

/// Takes away what the image does not cover and the installed system would take for a member of something.
fn wipe(device: &mut dyn BlockDevice, old: &[Extent], image: Option<Bytes>) -> io::Result<()> {
    let sector = device.sector_size();
    let image = image.and_then(|image| image.align_up(sector));
    for extent in plan::around_image(device.size().align_down(sector), old, image) {
        device.zero(extent)?;
    }
    device.flush()
}

/// Takes away the second copy of an old GPT: firmware would start the old system by it while the first one is being
/// written. What the image brings is put there with its other bytes.
fn disarm_end(disk: &mut dyn BlockDevice) -> io::Result<()> {
    let sector = disk.sector_size();
    let Some(start) = disk.size().checked_sub(sector) else {
        return Ok(());
    };
    let mut last = vec![0; usize::try_from(sector.0).unwrap_or(4096)];
    disk.read_at(&mut last, start)?;
    if !last.starts_with(b"EFI PART") {
        return Ok(());
    }
    let length = sector;
    disk.zero(Extent { start, length })?;
    disk.flush()
}

/// Lets the kernel see the partitions that the image brought.
fn reread(target: &Target, events: &dyn Events) {
    let reread = File::open(&target.node).and_then(|disk| {
        wait::while_busy(REREAD_PATIENCE, || {
            host::ioctl::block::reread_partitions(&disk)
        })
    });
    match reread {
        // EINVAL: no partitions on this kind of device at all.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        Err(error) => warn(
            events,
            format!(
                "the kernel did not read the new partition table of {}: {error}",
                target.node.display()
            ),
        ),
        Ok(()) => {}
    }
}

fn tell(format: Format, device: Option<PathBuf>, image: ImageOutcome) -> Result<(), Error> {
    let out = printer()?;
    let written = Written {
        device,
        image,
        peak_memory_bytes: peak_memory(),
    };
    match format {
        Format::Json => {
            let json = serde_json::to_string(&written).map_err(|error| {
                Error::new(Kind::Internal, "cannot write the outcome").because(error)
            })?;
            out.line(&json);
        }
        Format::Text => out.line(&summary(&written)),
    }
    Ok(())
}

fn summary(written: &Written) -> String {
    let image = &written.image;
    let did = match &written.device {
        Some(device) => format!("written to {}", device.display()),
        None => "checked, nothing written".to_owned(),
    };
    let checks = |of: DigestedPart| image.digests_checked.iter().any(|it| it.of == of);
    let how = if checks(DigestedPart::Image) {
        "its digest is right"
    } else if checks(DigestedPart::Chunks) {
        "its chunks are those of its manifest"
    } else {
        "no digest was known"
    };
    format!(
        "{} {did}: {} fetched, {} unpacked, {} s; {how}",
        image.url,
        clock::amount(image.fetched_bytes.0),
        clock::amount(image.raw_bytes.0),
        image.took_ms / 1000
    )
}
