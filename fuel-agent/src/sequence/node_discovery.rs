//! The real [`Discovery`]: request from file, command line or URL; inventory and sources from the node and the network,
//! or from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::cancel::Cancel;
use host::exec::Program;
use host::units::Bytes;
use host::wait;
use uuid::Uuid;

use super::discovery::{Discovery, combine, request_error};
use super::machine::Machine;
use super::signed_request;
use super::template::{self, Facts};
use crate::events::{Event, Events, clock};
use crate::http::{self, HttpError};
use crate::inventory::{self, Reader};
use crate::model::error::{Error, Kind};
use crate::model::inventory::Inventory;
use crate::model::plan::Plan;
use crate::model::request::Request;
use crate::model::sources::Sources;
use crate::model::stage::Stage;
use crate::model::url::{RedactedUrl, redacted};
use crate::plan::{self, Ids};
use crate::request::{self, Driver, MAX_BYTES};
use crate::settings::{End, Settings};
use crate::source;
use crate::tools::Tool;

/// What only devices of the kernel can be given: on files these steps are skipped.
const UNUSED_ON_FILES: [Tool; 6] = [
    Tool::Dmsetup,
    Tool::GrubMkimage,
    Tool::Lvm,
    Tool::Mdadm,
    Tool::Udevadm,
    Tool::XfsGrowfs,
];

/// Source of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Text on the command line.
    Text(String),
    /// Path of a file.
    File(PathBuf),
    /// A server; the run is pulled.
    Url(RedactedUrl),
}

/// A file that stands for a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The disk's name: `sda`.
    pub name: String,
    /// Path of the file.
    pub file: PathBuf,
    /// The size that it is brought to.
    pub size: Option<Bytes>,
}

impl StandIn {
    /// Reads `NAME=FILE[:SIZE]`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(Kind::Usage, format!("`--disk {text}` is not understood"))
                .hint("write it like `--disk sda=/tmp/a.img:20GiB`")
        };
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.strip_prefix("/dev/").unwrap_or(name);
        let plain = |c: char| c.is_ascii_alphanumeric() || "!_-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(wrong());
        }
        let (file, size) = match rest.rsplit_once(':') {
            // A colon may be part of the file's name; what begins with a digit after the last one is a size.
            Some((file, size)) if size.starts_with(|c: char| c.is_ascii_digit()) => {
                let size: Bytes = size.parse().map_err(|error| wrong().because(error))?;
                (file, Some(size))
            }
            _ => (rest, None),
        };
        if file.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            file: file.into(),
            size,
        })
    }
}

/// Discovery on the real node.
pub struct NodeDiscovery<'a> {
    /// Source of the request.
    pub input: Input,
    /// Dialect of the request.
    pub driver: Driver,
    /// Where the inventory comes from, if not from the node.
    pub inventory: Option<PathBuf>,
    /// Where the sources come from, if not from their servers.
    pub sources: Option<PathBuf>,
    /// Whether servers are not asked.
    pub offline: bool,
    /// Files that stand for disks.
    pub disks: &'a [StandIn],
    /// Settings of the run.
    pub settings: &'a Settings,
    /// How long to wait for a request that its server does not have yet; zero for commands that only read.
    pub url_wait: Duration,
    /// Receives a note while it waits.
    pub events: &'a dyn Events,
    /// Identity of the machine.
    pub machine: Machine,
    /// Set by SIGTERM.
    pub cancel: Cancel,
    /// Reads the machine.
    pub reader: Reader,
}

/// Random identifiers: a run's.
struct RandomIds;

impl Ids for RandomIds {
    fn uuid(&mut self) -> Uuid {
        Uuid::new_v4()
    }
}

impl NodeDiscovery<'_> {
    /// Options for planning.
    fn options(&self) -> plan::Options {
        plan::Options {
            protect: self.settings.protect.clone(),
            protect_strict: self.settings.protect_strict,
            allow_removable: self.settings.allow_removable,
            allow_other_seeds: self.settings.allow_other_seeds,
            // A file has no ids; a disk named on the command line is chosen by that.
            match_by_name: self.settings.match_by_name || !self.disks.is_empty(),
            allow_unverified: self.settings.allow_unverified,
            require_signature: self.settings.packed.require_signature,
            min_release: self.settings.packed.min_release,
            phone_home: self.settings.phone_home.clone(),
            first_boot: self.settings.first_boot,
            kexec: self.settings.end == Some(End::Kexec),
            gpt_active: self.settings.gpt_active,
        }
    }

    /// The document. Where `request_key` is set, it is signed by one of those keys.
    fn text(&self) -> Result<Vec<u8>, Error> {
        let url = match &self.input {
            Input::Url(url) => self.filled_in(url)?,
            Input::Text(_) | Input::File(_) => String::new(),
        };
        let bytes = self.unverified(&url)?;
        let keys = &self.settings.request_keys;
        if !keys.is_empty() {
            let document = signed_request::Unverified {
                bytes: &bytes,
                input: &self.input,
                url: &url,
            };
            document.verify(keys, || self.client())?;
        }
        Ok(bytes)
    }

    fn unverified(&self, url: &str) -> Result<Vec<u8>, Error> {
        match &self.input {
            Input::Text(text) => Ok(text.clone().into_bytes()),
            Input::File(path) => read_bounded(path).map_err(|error| {
                let what = format!("cannot read the request in {}", path.display());
                Error::new(Kind::Request, what)
                    .because(error)
                    .hint("upload it, or name it with `--input_data_file`")
            }),
            Input::Url(_) => self.fetch(url),
        }
    }

    /// The URL of the request for this node.
    fn filled_in(&self, url: &RedactedUrl) -> Result<String, Error> {
        let facts = Facts::from([
            ("mac", self.machine.mac.clone()),
            ("uuid", self.machine.uuid.clone()),
            ("serial", self.machine.serial.clone()),
            ("host_key", self.machine.host_key.clone()),
        ]);
        template::render(url.reveal(), &facts, template::Place::Url).map_err(|error| {
            Error::new(Kind::Usage, "cannot fill in `provision.url`")
                .because(error)
                .hint("`{mac}`, `{uuid}`, `{serial}` and `{host_key}` can be used")
        })
    }

    fn fetch(&self, url: &str) -> Result<Vec<u8>, Error> {
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        let client = self.client()?;
        let deadline = Instant::now() + self.url_wait;
        let mut pause = self.settings.http.first_pause;
        let mut is_told = false;
        loop {
            let answer = source::document(&client, url, limit);
            let missing = match &answer {
                Ok(bytes) => request::is_missing(bytes),
                Err(error) => is_absent(error).then(|| error.to_string()),
            };
            let Some(why) = missing.filter(|_| Instant::now() + pause < deadline) else {
                return answer.map_err(|error| of_fetch(url, error));
            };
            if !is_told {
                is_told = true;
                let wait = clock::short(self.url_wait);
                self.events.emit(&Event::Note {
                    stage: Stage::Setup,
                    message: format!("waiting for the request, {wait} at most: {why}"),
                });
            }
            tracing::info!(why, pause_ms = pause.as_millis(), "no request yet");
            client.pause(pause, &self.cancel)?;
            pause = (pause * 2).min(self.settings.http.longest_pause);
        }
    }

    fn client(&self) -> Result<http::Client, Error> {
        Ok(http::Client::new(&self.settings.http, self.cancel.clone())?)
    }
}

/// Whether a server that makes requests may answer so before it has this one.
fn is_absent(error: &HttpError) -> bool {
    error.is_absent() || error.status() == Some(204)
}

/// Why a request did not come.
fn of_fetch(url: &str, error: HttpError) -> Error {
    let is_absent = is_absent(&error);
    let source = Error::from(error);
    let what = format!("cannot fetch the request from {}", redacted(url));
    let hint = if is_absent {
        let hint = "check the address, and that its server has a request for this node";
        Some(hint.to_owned())
    } else {
        source.hint.clone()
    };
    Error {
        hint,
        retryable: source.retryable || is_absent,
        ..Error::new(source.kind, what)
    }
    .because(source)
}

impl std::fmt::Debug for NodeDiscovery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("disks", &self.disks)
            .finish_non_exhaustive()
    }
}

/// Whether every disk that the request names is there, and only once.
fn complete(request: &Request, inventory: &Inventory) -> bool {
    plan::select::select_all(&request.storage.disks, inventory).is_ok()
}

/// Reads no more than a request can be long, whatever it is that is read.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A JSON file in a format of the agent: an inventory, image facts.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path, name: &str) -> Result<T, Error> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let what = format!("cannot read the {name} in {}", path.display());
        Error::new(Kind::Usage, what).because(error)
    };
    let bytes = read_bounded(path).map_err(|error| failed(error.into()))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
}

impl Discovery for NodeDiscovery<'_> {
    fn request(&mut self) -> Result<Request, Error> {
        let bytes = self.text()?;
        let text = request::utf8(&bytes).map_err(|problem| request_error(&[problem]))?;
        let mut context = request::Context {
            driver: self.driver,
            ..request::Context::default()
        };
        let configdrive = Path::new(crate::model::request::READY_CONFIGDRIVE);
        if let Some(file) = std::fs::metadata(configdrive)
            .ok()
            .filter(std::fs::Metadata::is_file)
        {
            context.ready_configdrive = Some(Bytes(file.len()));
            if Bytes(file.len()) <= request::Context::LARGEST_WRAPPED {
                std::fs::read(configdrive)
                    .map(|bytes| context.look_into(bytes))
                    .ok();
            }
        }
        let mut request =
            request::load_with(text, context).map_err(|problems| request_error(&problems))?;
        if let (Input::Url(url), true) = (&self.input, self.settings.request_keys.is_empty()) {
            request.warnings.extend(signed_request::warning(url));
        }
        Ok(request)
    }

    fn inventory(&mut self, request: &Request) -> Result<Inventory, Error> {
        if let Some(path) = &self.inventory {
            let failed = |error| {
                let what = format!("cannot read the inventory in {}", path.display());
                Error::new(Kind::Usage, what).because(error)
            };
            let text = read_bounded(path).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
            });
            return inventory::from_json(&text.map_err(failed)?);
        }
        let reader = &mut self.reader;
        let mut last = None;
        let found = wait::until_or_cancelled(self.settings.discover_wait, &self.cancel, || {
            let inventory = inventory::probe(reader).map_err(io::Error::other)?;
            if complete(request, &inventory) {
                return Ok(Some(inventory));
            }
            last = Some(inventory);
            Ok(None)
        });
        match (found, last) {
            (Ok(inventory), _) => Ok(inventory),
            // Planning reports what is missing, and what there is.
            (Err(error), Some(inventory)) if error.kind() == io::ErrorKind::TimedOut => {
                Ok(inventory)
            }
            (Err(error), _) => Err(match error.downcast::<Error>() {
                Ok(ours) => ours,
                Err(error) => Error::new(Kind::Hardware, "cannot look at this node").because(error),
            }),
        }
    }

    fn sources(&mut self, request: &Request) -> Result<Sources, Error> {
        if let Some(path) = &self.sources {
            let sources: Sources = read_json(path, "sources")?;
            return Ok(sources.stated_by(&path.display().to_string()));
        }
        if self.offline {
            return Ok(Sources::default());
        }
        let probe_options = source::ProbeOptions {
            keys: &self.settings.packed.keys,
            mirrors: &self.settings.packed.mirrors,
        };
        Ok(source::probe_images(
            &self.client()?,
            &request.images,
            probe_options,
        )?)
    }

    fn plan(
        &mut self,
        request: &Request,
        inventory: &Inventory,
        sources: &Sources,
    ) -> Result<Plan, Error> {
        let planned = plan::plan(request, inventory, sources, &self.options(), &mut RandomIds);
        match planned {
            Ok(plan) => Ok(plan),
            Err(errors) => {
                let errors = errors.into_iter().map(Error::from).collect();
                combine("this cannot be planned", errors)?;
                Err(Error::new(
                    Kind::Internal,
                    "planning failed without a reason",
                ))
            }
        }
    }

    fn missing(&self, plan: &Plan) -> Vec<Program> {
        let mut tools = plan.tools();
        if !self.disks.is_empty() {
            tools.retain(|tool| !UNUSED_ON_FILES.contains(tool));
        }
        self.reader.missing(&tools)
    }

    fn reality(&mut self) -> Result<Option<Inventory>, Error> {
        if self.inventory.is_none() || !self.disks.is_empty() {
            return Ok(None);
        }
        inventory::probe(&mut self.reader).map(Some)
    }

    fn bootable(&self, plan: &Plan) -> Result<(), Error> {
        if self.disks.is_empty() {
            return super::boot_code::check(plan, &self.settings.grub);
        }
        Ok(())
    }

    fn answers(&mut self, url: &str) -> Result<(), Error> {
        if self.offline {
            return Ok(());
        }
        Ok(http::answers(&self.client()?, url)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::render;
    use crate::testing::fault_server::{FaultServer, Reply};

    #[test]
    fn a_file_for_a_disk_is_read_with_and_without_a_size() {
        for (text, name, file, size) in [
            ("sda=/tmp/a.img", "sda", "/tmp/a.img", None),
            (
                "/dev/sda=/tmp/a.img:20GiB",
                "sda",
                "/tmp/a.img",
                Some(20 << 30),
            ),
            ("nvme0n1=a b:512 MiB", "nvme0n1", "a b", Some(512 << 20)),
            ("vda=/tmp/a:b:1GiB", "vda", "/tmp/a:b", Some(1 << 30)),
            ("vda=/tmp/a:b", "vda", "/tmp/a:b", None),
        ] {
            let parsed = StandIn::parse(text).unwrap();
            let expected = StandIn {
                name: name.to_owned(),
                file: file.into(),
                size: size.map(Bytes),
            };
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_file_for_a_disk_is_a_usage_error() {
        for text in [
            "sda",
            "=/tmp/a",
            "sda=",
            "sda=:1GiB",
            "a/b=/c",
            "sda=/a:20G",
        ] {
            let error = StandIn::parse(text).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{text}");
        }
    }

    /// A node that fetches its request from `url`, with the notes it makes.
    fn fetched(url: &str, wait: Duration) -> (Result<Vec<u8>, Error>, usize) {
        let recorded = Notes::default();
        let mut settings = Settings::default();
        settings.http.first_pause = Duration::from_millis(1);
        settings.http.longest_pause = Duration::from_millis(1);
        settings.http.environment_proxy = false;
        let cancel = Cancel::new();
        let node = NodeDiscovery {
            input: Input::Url(RedactedUrl::from(url.to_owned())),
            driver: Driver::Auto,
            inventory: None,
            sources: None,
            offline: false,
            disks: &[],
            settings: &settings,
            url_wait: wait,
            events: &recorded,
            machine: Machine::default(),
            reader: Reader::real(&cancel),
            cancel,
        };
        let text = node.text();
        (text, recorded.0.into_inner().unwrap())
    }

    /// Counts notes.
    #[derive(Default)]
    struct Notes(std::sync::Mutex<usize>);

    impl Events for Notes {
        fn emit(&self, event: &Event) {
            assert!(matches!(event, Event::Note { .. }), "{event:?}");
            *self.0.lock().unwrap() += 1;
        }
    }

    /// What Cobbler and others answer before there is a request, and then one.
    fn not_yet() -> FaultServer {
        FaultServer::start(|request| match request.number {
            0 => Reply::status(404),
            1 => Reply::status(204),
            2 => Reply::whole(b""),
            3 => Reply::whole(b"# this file intentionally left blank\n"),
            4 => Reply::status(410),
            _ => Reply::whole(b"{}"),
        })
        .unwrap()
    }

    #[test]
    fn a_request_that_is_not_there_yet_is_asked_for_again_and_told_of_once() {
        let server = not_yet();
        let (text, notes) = fetched(&server.url("/request"), Duration::from_hours(1));
        assert_eq!(text.unwrap(), b"{}");
        assert_eq!((server.requests().len(), notes), (6, 1));
    }

    #[test]
    fn who_only_looks_does_not_wait_for_a_request() {
        let server = not_yet();
        let url = server.url("/request?token=s3cret");
        let (text, notes) = fetched(&url, Duration::ZERO);
        let text = render(&text.unwrap_err()).replace(&server.address().to_string(), "HOST");
        insta::assert_snapshot!(text, @r"
        error: cannot fetch the request from http://HOST/request?...
          cause: http://HOST/request?... answers 404 Not Found
          hint: check the address, and that its server has a request for this node
        ");
        assert_eq!((server.requests().len(), notes), (1, 0));
    }

    #[test]
    fn a_clear_no_is_not_waited_for() {
        let server = FaultServer::start(|_| Reply::status(403)).unwrap();
        let (text, notes) = fetched(&server.url("/"), Duration::from_hours(1));
        assert_eq!(text.unwrap_err().kind, Kind::Image);
        assert_eq!((server.requests().len(), notes), (1, 0));
    }

    #[test]
    fn a_request_without_end_is_read_no_further_than_one_can_be_long() {
        let bytes = read_bounded(Path::new("/dev/zero")).unwrap();
        assert_eq!(bytes.len(), MAX_BYTES + 1);
    }
}
