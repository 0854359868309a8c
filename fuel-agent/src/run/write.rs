//! `provision write`: one image onto one disk, partition or file, by the same engine as in a run and with the same
//! checks.
//!
//! What is not done here: no request, no layout, no boot code, no completion. Nothing but the named target is touched.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use host::Host;
use host::cancel::Cancel;
use host::units::Bytes;
use serde::Serialize;

use super::context::{Places, listener, printer, start_log};
use super::install::{apply_options, on_signals, open_folder};
use super::stated;
use super::target::{self, NullDevice};
use crate::cli::{Dialect, Format, LogOptions, WriteOptions};
use crate::events::log::Log;
use crate::events::{Event, Events, FanOut, Silence, clock};
use crate::http::Client;
use crate::model::digest::DocumentedDigests;
use crate::model::error::{Error, Kind};
use crate::model::filesystem::ImageFormat;
use crate::model::index::{DiskIndex, FilesystemIndex};
use crate::model::mismatch::check_identified;
use crate::model::plan::{ImageTarget, PlannedImage};
use crate::model::report::{DigestedPart, ImageOutcome};
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::SourceFacts;
use crate::model::storage::Mount;
use crate::plan;
use crate::plan::write::TargetKind;
use crate::report::peak_memory;
use crate::sequence::host_executor::HostExecutor;
use crate::sequence::write::{self, StepContext};
use crate::settings::{Entry, Place, Settings};
use crate::source;
use crate::stream::packed::Packed;
use crate::stream::{self, Expected, Job, StreamError};

/// What is printed at the end: keys are added, never changed.
#[derive(Debug, Serialize)]
struct Written {
    /// Where the image is now; null where it was only checked.
    device: Option<PathBuf>,
    #[serde(flatten)]
    image: ImageOutcome,
    /// Warnings, as in the report of a run: each once, in the order in which they came.
    warnings: Vec<String>,
    /// The most memory that this process had.
    peak_memory_bytes: Option<Bytes>,
}

/// Writes, or checks, one image.
pub(super) fn write(options: &WriteOptions) -> Result<u8, Error> {
    let cancel = Cancel::new();
    on_signals(&cancel)?;
    let places = Places::of_this_machine();
    start_log(&LogOptions::default(), options.log_file.clone())?;
    let (settings, warnings) = places.settings(entries(options))?;
    let digest = options.digest.as_deref().map(stated::parse).transpose()?;
    let warned = Arc::new(Warnings::default());
    let events = events(options.format, Arc::<Warnings>::clone(&warned))?;
    for message in warnings {
        events.emit(&Event::Warning {
            stage: None,
            message,
        });
    }
    let client = Client::new(&settings.http, cancel.clone())?;
    let mut image = probe_image(&client, &options.image, &settings)?;
    if let Some(digest) = digest {
        stated::join(&digest, &mut image.facts)?;
    }
    check_trust(&image, &settings)?;
    for doubt in image.facts.doubts(&image.url) {
        let message = format!("{} {doubt}: {}", image.url, doubt.hint());
        events.emit(&Event::Warning {
            stage: None,
            message,
        });
    }
    let (device, outcome) = match &options.target {
        None => (None, check(&image, &client, &settings, &events)?),
        Some(path) => {
            let node = target::find(path)?;
            let outcome = onto(&node, image, &settings, &places, &events, &cancel)?;
            (Some(node), outcome)
        }
    };
    events.flush();
    let written = Written {
        device,
        image: outcome,
        warnings: warned.all(),
        peak_memory_bytes: peak_memory(),
    };
    print_outcome(options.format, &written)?;
    Ok(0)
}

/// Remembers warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    fn all(&self) -> Vec<String> {
        let all = self.0.lock();
        all.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Events for Warnings {
    fn emit(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            let all = self.0.lock();
            let mut all = all.unwrap_or_else(PoisonError::into_inner);
            if !all.contains(message) {
                all.push(message.clone());
            }
        }
    }
}

fn entries(options: &WriteOptions) -> Vec<Entry> {
    let entry = |text: &String| Entry::parse(text, Place::CommandLine);
    let mut entries: Vec<Entry> = options.set.iter().map(entry).collect();
    if options.allow_unverified {
        entries.push(Entry::parse("allow_unverified", Place::CommandLine));
    }
    entries
}

/// Everything goes to the log, and to standard output unless that is read by a program; warnings go to `warned` too.
fn events(format: Format, warned: Arc<Warnings>) -> Result<FanOut, Error> {
    let shown: Arc<dyn Events> = match format {
        Format::Text => listener(Dialect::Auto)?,
        Format::Json => Arc::new(Silence),
    };
    Ok(FanOut::new(vec![shown, Arc::new(Log), warned]))
}

/// Facts about the image, from its own first bytes and the files beside it.
fn probe_image(client: &Client, url: &str, settings: &Settings) -> Result<PlannedImage, Error> {
    let mut spec = ImageSpec {
        mount: Mount::Path("/".to_owned()),
        filesystem: FilesystemIndex(0),
        url: url.into(),
        format: ImageFormat::Unspecified,
        container: Container::Raw,
        digests: DocumentedDigests::default(),
    };
    let mut facts = look(client, &spec, settings)?;
    if let Some(found) = facts.container
        && found != spec.container
    {
        spec.container = found;
        facts = look(client, &spec, settings)?;
    }
    if let Some(problem) = &facts.problem {
        return Err(Error::new(Kind::Image, problem.clone()).hint(facts.problem_hint()));
    }
    if let Some(content) = &facts.content
        && let Err(why) = check_identified(content, spec.format.as_str())
    {
        let url = &spec.url;
        return Err(Error::new(Kind::Image, format!("{url} {why}")).hint(why.hint()));
    }
    Ok(PlannedImage {
        url: spec.url,
        onto: ImageTarget::Disk(DiskIndex(0)),
        format: spec.format,
        container: spec.container,
        facts,
    })
}

fn look(client: &Client, image: &ImageSpec, settings: &Settings) -> Result<SourceFacts, Error> {
    let options = source::ProbeOptions {
        signers: settings.packed.signers(),
        mirrors: &settings.packed.mirrors,
    };
    let mut sources = source::probe_images(client, std::slice::from_ref(image), options)?;
    Ok(sources.images.remove(&image.url).unwrap_or_default())
}

/// Whether it may be written at all, wherever it goes.
fn check_trust(image: &PlannedImage, settings: &Settings) -> Result<(), Error> {
    settings.packed.check(&image.url, &image.facts)?;
    if !image.facts.has_digest() && !settings.allow_unverified {
        let url = image.url.to_string();
        return Err(StreamError::Unverified { url }.into());
    }
    Ok(())
}

/// Fetches, unpacks and checks the image, and keeps nothing of it.
fn check(
    image: &PlannedImage,
    client: &Client,
    settings: &Settings,
    events: &dyn Events,
) -> Result<ImageOutcome, Error> {
    Ok(stream::write_image(Job {
        url: image.url.reveal(),
        container: image.container,
        format: image.format.as_str(),
        expected: Expected::from(&image.facts),
        allow_unverified: settings.allow_unverified,
        packed: image.facts.packed.as_ref().map(|facts| Packed {
            facts,
            ranges: image.facts.ranges,
            rules: &settings.packed,
            at_once: 1,
            discards: true,
        }),
        target: &mut NullDevice,
        device: "nowhere",
        client,
        events,
    })?)
}

/// Plans, and carries that out.
fn onto(
    node: &Path,
    image: PlannedImage,
    settings: &Settings,
    places: &Places,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<ImageOutcome, Error> {
    let target = target::probe(node, cancel)?;
    let options = plan::Options {
        protect: settings.protect.clone(),
        protect_strict: settings.protect_strict,
        allow_removable: settings.allow_removable,
        ..plan::Options::default()
    };
    let folder = open_folder(places)?;
    let (kind, path, stop) = (target.kind, node.to_owned(), cancel.clone());
    let mut executor = HostExecutor::new(
        move || host(kind, &path, &stop),
        events,
        apply_options(settings, &folder),
        &folder,
        cancel.clone(),
    );
    let mut context = StepContext {
        executor: &mut executor,
        events,
        cancel,
    };
    let probe = || target::probe(node, cancel);
    write::write(image, &target, probe, &options, &mut context)
}

/// What may be changed: this machine's devices, or one file that stands for itself.
fn host(kind: TargetKind, node: &Path, cancel: &Cancel) -> Result<Host, Error> {
    match kind {
        TargetKind::Device | TargetKind::Partition => Ok(Host::real(cancel.clone())),
        TargetKind::File => {
            let name = node.display().to_string();
            let files = vec![(name.clone(), node.to_owned(), None)];
            Host::on_files(files, cancel.clone()).map_err(|error| {
                let what = format!("cannot open {name}");
                Error::new(Kind::Disk, what).device(name).because(error)
            })
        }
    }
}

fn print_outcome(format: Format, written: &Written) -> Result<(), Error> {
    let out = printer()?;
    match format {
        Format::Json => {
            let json = serde_json::to_string(written).map_err(|error| {
                Error::new(Kind::Internal, "cannot write the outcome").because(error)
            })?;
            out.line(&json);
        }
        Format::Text => out.line(&summary(written)),
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
        "{} {did}: {} fetched, {} unpacked, {} s; {how}; trusted by: {}",
        image.url,
        clock::amount(image.fetched_bytes.0),
        clock::amount(image.raw_bytes.0),
        image.took_ms / 1000,
        image.trust.name()
    )
}
