//! Where the request comes from: the command line, a file, or a server that may not have it yet.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::node_discovery::NodeDiscovery;
use super::signed_request;
use super::template::{self, Facts};
use crate::events::{Event, clock};
use crate::http::HttpError;
use crate::model::error::{Error, Kind};
use crate::model::stage::Stage;
use crate::model::url::{RedactedUrl, redacted};
use crate::request::{self, MAX_BYTES};
use crate::source;

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

impl NodeDiscovery<'_> {
    /// The document. Where `request_key` is set, it is signed by one of those keys.
    pub(super) fn text(&self) -> Result<Vec<u8>, Error> {
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

/// Reads no more than a request can be long, whatever it is that is read.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use host::cancel::Cancel;

    use super::*;
    use crate::events::Events;
    use crate::inventory::Reader;
    use crate::model::error::render;
    use crate::request::Driver;
    use crate::sequence::machine::Machine;
    use crate::settings::Settings;
    use crate::testing::fault_server::{FaultServer, Reply};

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
