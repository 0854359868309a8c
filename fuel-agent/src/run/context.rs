//! What the sub-commands share: where things are, settings, the discovery, listeners, the log. Reads only.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host::cancel::Cancel;

use crate::cli::{DataDriver, Dialect, InputOptions, LogOptions, UPLOADED};
use crate::events::Events;
use crate::events::bars::Bars;
use crate::events::json::Json;
use crate::events::lines::Lines;
use crate::events::log;
use crate::events::outbox::Background;
use crate::events::sink::{Printer, Sink};
use crate::http::LocalFiles;
use crate::inventory::Reader;
use crate::model::error::{Error, Kind};
use crate::request::Driver;
use crate::sequence::RunOutcome;
use crate::sequence::machine::Machine;
use crate::sequence::node_discovery::NodeDiscovery;
use crate::sequence::request_source::Input;
use crate::sequence::stand_in::StandIn;
use crate::settings::{self, Entry, Place, Settings};

/// Files that tests put elsewhere, by environment variables; a node has them where they belong.
pub(crate) struct Places {
    /// `PROVISION_RUN_DIR`.
    pub(crate) run: PathBuf,
    /// `PROVISION_KERNEL_COMMAND_LINE`.
    pub(crate) kernel: PathBuf,
    /// `PROVISION_CONF`.
    pub(crate) config: PathBuf,
    /// `PROVISION_RAMDISK_DIR`: what the ramdisk's scripts have noted.
    pub(crate) ramdisk: PathBuf,
}

impl Places {
    pub(crate) fn of_this_machine() -> Self {
        let place = |name: &str, default: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        Self {
            run: place("PROVISION_RUN_DIR", "/run/provision"),
            kernel: place("PROVISION_KERNEL_COMMAND_LINE", "/proc/cmdline"),
            config: place("PROVISION_CONF", "/etc/provision.conf"),
            ramdisk: place("PROVISION_RAMDISK_DIR", "/run/ramdisk"),
        }
    }

    pub(crate) fn machine(&self) -> Machine {
        let kernel = std::fs::read_to_string(&self.kernel).unwrap_or_default();
        Machine::read(Path::new("/sys"), &kernel, &self.ramdisk)
    }

    /// The settings of all layers, with warnings about them and about this node.
    pub(crate) fn settings(&self, entries: Vec<Entry>) -> Result<(Settings, Vec<String>), Error> {
        let (settings, mut warnings) = settings::read(entries, &self.kernel, &self.config)?;
        warnings.extend(notes(&self.ramdisk.join("notes")));
        Ok((settings, warnings))
    }
}

/// What the ramdisk's scripts found odd before the agent was started, like a clock that no server could set: a note a
/// line, as `note` of its `functions` writes them.
fn notes(file: &Path) -> Vec<String> {
    /// More are left out: they are in the file.
    const MOST: usize = 32;
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut notes: Vec<String> = Vec::new();
    for line in lines.take(MOST) {
        let note = format!("ramdisk: {line}");
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// The settings of the command line.
pub(super) fn request_entries(input: &InputOptions) -> Vec<Entry> {
    let mut entries: Vec<Entry> = input
        .set
        .iter()
        .map(|text| Entry::parse(text, Place::CommandLine))
        .collect();
    if input.allow_unverified {
        entries.push(Entry::parse("allow_unverified", Place::CommandLine));
    }
    if let Some(url) = &input.url {
        entries.push(Entry::parse(&format!("url={url}"), Place::CommandLine));
    }
    entries
}

pub(super) fn driver(name: DataDriver) -> Driver {
    match name {
        DataDriver::Auto => Driver::Auto,
        DataDriver::Nailgun => Driver::Nailgun,
        DataDriver::NailgunSimple => Driver::NailgunSimple,
        DataDriver::Ironic => Driver::Ironic,
    }
}

/// The command line's own text or file, or what an orchestrator has uploaded, goes before the URL of a weaker layer:
/// what is pushed is not pulled.
pub(super) fn input(options: &InputOptions, settings: &Settings) -> Input {
    let uploaded = Path::new(UPLOADED).exists();
    let text = options.input_data.as_ref().filter(|it| !it.is_empty());
    match (&options.url, text, &settings.url) {
        (Some(url), ..) => Input::Url(url.as_str().into()),
        (None, Some(text), _) => Input::Text(text.clone()),
        (None, None, Some(url)) if options.input_data_file.is_none() && !uploaded => {
            Input::Url(url.clone())
        }
        _ => Input::File(options.file()),
    }
}

/// The files that a request may name as images: those of the setting `images_dir`, else what lies beside the request.
/// Mirrors are the settings' own.
pub(super) fn local_files(input: &Input, settings: &Settings) -> LocalFiles {
    let file = |url: &str| url::Url::parse(url).ok()?.to_file_path().ok();
    let beside = || match input {
        Input::Text(_) => None,
        Input::File(path) => std::path::absolute(path).ok(),
        Input::Url(url) => file(url.reveal()),
    };
    let folder = match &settings.images_dir {
        Some(folder) => Some(folder.clone()).filter(|it| !it.as_os_str().is_empty()),
        None => beside().and_then(|path| Some(path.parent()?.to_owned())),
    };
    let mirrors = settings.packed.mirrors.iter();
    let mirrors = mirrors.filter_map(|mirror| file(mirror.reveal()));
    LocalFiles::Below(folder.into_iter().chain(mirrors).collect())
}

pub(super) fn stand_ins(disks: &[String]) -> Result<Vec<StandIn>, Error> {
    disks.iter().map(|text| StandIn::parse(text)).collect()
}

pub(super) fn node<'a>(
    options: &InputOptions,
    disks: &'a [StandIn],
    settings: &'a Settings,
    places: &Places,
    events: &'a dyn Events,
    cancel: &Cancel,
) -> Result<NodeDiscovery<'a>, Error> {
    Ok(NodeDiscovery {
        input: input(options, settings),
        driver: driver(options.data_driver),
        inventory: options.inventory.clone(),
        sources: options.sources.clone(),
        offline: options.offline,
        disks,
        settings,
        url_wait: Duration::ZERO,
        events,
        machine: places.machine(),
        cancel: cancel.clone(),
        reader: reader(disks, cancel)?,
    })
}

/// Reads the node, or the files that stand for its disks.
pub(super) fn reader(disks: &[StandIn], cancel: &Cancel) -> Result<Reader, Error> {
    if disks.is_empty() {
        return Ok(Reader::real(cancel));
    }
    let files: Vec<_> = disks
        .iter()
        .map(|disk| (disk.name.clone(), disk.file.clone(), disk.size))
        .collect();
    Reader::on_files(&files, cancel).map_err(|error| {
        Error::new(Kind::Hardware, "cannot let a file stand for a disk")
            .because(error)
            .hint("with a size, like `--disk sda=FILE:20GiB`, a run makes it")
    })
}

pub(super) fn start_log(options: &LogOptions, also: Option<PathBuf>) -> Result<(), Error> {
    let mut files = Vec::new();
    if let Some(path) = &options.log_file {
        files.push(log::open(path).map_err(|error| {
            let what = format!("cannot write the log to {}", path.display());
            Error::new(Kind::Usage, what).because(error)
        })?);
    }
    files.extend(also.and_then(|path| log::open(&path).ok()));
    if !files.is_empty() {
        log::start(files, options.debug);
    }
    Ok(())
}

/// The listener that prints to standard output, behind a queue: an output that is not read stops no run.
pub(super) fn listener(dialect: Dialect) -> Result<Arc<dyn Events>, Error> {
    let listener = match dialect {
        Dialect::Human => Background::new(Bars::stdout()),
        Dialect::Auto if std::io::stdout().is_terminal() => Background::new(Bars::stdout()),
        Dialect::Auto | Dialect::Plain => Background::new(Lines::new(Sink::stdout())),
        Dialect::Json => Background::new(Json::new(Sink::stdout())),
    };
    Ok(Arc::new(listener.map_err(no_thread)?))
}

/// The printer of results of a command that must end though its output is not read.
pub(super) fn printer() -> Result<Printer, Error> {
    Printer::stdout().map_err(no_thread)
}

pub(super) fn no_thread(error: std::io::Error) -> Error {
    Error::new(Kind::Internal, "cannot start a thread for the output").because(error)
}

/// The error of a walk, if it has one.
pub(super) fn failure(outcome: RunOutcome) -> Result<u8, Error> {
    match outcome.failure {
        None => Ok(0),
        Some((_, error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_name_what_lies_beside_it_unless_the_settings_say_otherwise() {
        let below = |folders: &[&str]| LocalFiles::Below(folders.iter().map(Into::into).collect());
        let settings = |folder: Option<&str>, mirrors: &[&str]| {
            let mut settings = Settings {
                images_dir: folder.map(PathBuf::from),
                ..Settings::default()
            };
            settings.packed.mirrors = mirrors.iter().map(|it| (*it).into()).collect();
            settings
        };
        let pushed = Input::File("/tmp/provision.json".into());
        let from_file = Input::Url("file:///srv/x/request.json?a".into());
        let from_web = Input::Url("http://h/srv/request.json".into());
        let text = Input::Text("{}".to_owned());
        for (input, folder, mirrors, expected) in [
            (&pushed, None, &[][..], below(&["/tmp"])),
            (&from_file, None, &[], below(&["/srv/x"])),
            (&from_web, None, &[], below(&[])),
            (&text, None, &[], below(&[])),
            (&pushed, Some("/srv"), &[], below(&["/srv"])),
            (&from_web, Some("/srv"), &[], below(&["/srv"])),
            (&pushed, Some(""), &[], below(&[])),
            (
                &from_web,
                None,
                &["file:///mnt/usb/", "http://h/m"],
                below(&["/mnt/usb/"]),
            ),
        ] {
            let found = local_files(input, &settings(folder, mirrors));
            assert_eq!(found, expected, "{input:?} {folder:?}");
        }
        let here = std::env::current_dir().unwrap();
        let found = local_files(&Input::File("r.json".into()), &settings(None, &[]));
        assert_eq!(found, LocalFiles::Below(vec![here]));
    }

    #[test]
    fn notes_of_the_ramdisk_are_warnings_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes");
        assert_eq!(notes(&file), [""; 0]);
        std::fs::write(
            &file,
            "the clock was unset\n\nodd \u{ff}\nthe clock was unset\n",
        )
        .unwrap();
        assert_eq!(
            notes(&file),
            ["ramdisk: the clock was unset", "ramdisk: odd \u{ff}"]
        );
        std::fs::write(&file, "a\n".repeat(9) + &"b\nc\n".repeat(100)).unwrap();
        assert_eq!(notes(&file).len(), 3);
    }
}
