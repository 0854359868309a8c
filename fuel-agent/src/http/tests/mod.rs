//! All of HTTP against a server that misbehaves. Stalls are bounded by limits of milliseconds; nothing is timed.

mod giving_up;
mod hostile;
mod notifying;
mod redirecting;
mod trusting;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use host::cancel::Cancel;

use super::{Client, HttpError, HttpSettings};
use crate::events::{Event, Events};
use crate::model::request::Container;
use crate::pool::Pool;
use crate::source::{self, Meter, SourceEvent, TransferContext};
use crate::testing::fault_server::{FaultServer, ReceivedRequest, Reply};

pub(crate) fn settings() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(20),
        retry_budget: Duration::from_secs(20),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        environment_proxy: false,
        ..HttpSettings::default()
    }
}

/// Limits that a test reaches at once.
pub(crate) fn impatient() -> HttpSettings {
    HttpSettings {
        stall_timeout: Duration::from_millis(100),
        retry_budget: Duration::from_millis(100),
        ..settings()
    }
}

pub(crate) fn client(settings: &HttpSettings) -> Client {
    Client::new(settings, Cancel::new()).unwrap()
}

/// Records warnings.
#[derive(Default)]
pub(crate) struct RecordedEvents(pub(crate) Mutex<Vec<String>>);

impl Events for RecordedEvents {
    fn emit(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// Bytes that differ from all others nearby, so that a wrong offset is noticed.
pub(crate) fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap())
        .collect()
}

/// Fetches `url`, with counters and warnings.
pub(crate) struct Got {
    pub(crate) result: Result<Vec<u8>, HttpError>,
    pub(crate) meter: Meter,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn fetch_in(settings: &HttpSettings, url: &str, pool: &Pool) -> Got {
    let recorded = RecordedEvents::default();
    let meter = Meter::default();
    let context = TransferContext {
        container: Container::Raw,
        pool: pool.clone(),
        meter: meter.clone(),
        stop: Cancel::new(),
        events: &recorded,
    };
    let result = source::open(&client(settings), url, context).and_then(|mut source| {
        let mut bytes = Vec::new();
        loop {
            match source.next()? {
                SourceEvent::Bytes(buffer) => bytes.extend_from_slice(&buffer),
                SourceEvent::StartOver => bytes.clear(),
                SourceEvent::End => return Ok(bytes),
            }
        }
    });
    let warnings = recorded.0.into_inner().unwrap();
    Got {
        result,
        meter,
        warnings,
    }
}

pub(crate) fn fetch(settings: &HttpSettings, url: &str) -> Got {
    fetch_in(settings, url, &Pool::new(4, 1000))
}

/// A server that gives `replies` in turn and then behaves.
pub(crate) fn scripted(bytes: &[u8], replies: Vec<Reply>) -> FaultServer {
    let bytes = bytes.to_vec();
    let mut replies = VecDeque::from(replies);
    FaultServer::start(move |request| {
        replies
            .pop_front()
            .unwrap_or_else(|| Reply::file(request, &bytes, "\"a\""))
    })
    .unwrap()
}

pub(crate) fn first(bytes: &[u8]) -> Reply {
    Reply::file(&ReceivedRequest::default(), bytes, "\"a\"")
}
