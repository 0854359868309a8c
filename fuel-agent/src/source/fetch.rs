//! One image from one server: resumed after an interruption, started over if it has changed.
//!
//! A transfer is resumed only if the server proves that the rest belongs to the same file: `206` with the requested
//! range, the same length, and the entity tag or date of the first answer. Otherwise it starts over or fails.

use std::time::Instant;

use crate::http::header::{HeaderValue, IF_RANGE, RANGE};
use url::Url;

use super::{Source, SourceEvent, TransferContext};
use crate::events::Event;
use crate::http::client::{Body, Client, Request, Response};
use crate::http::error::HttpError;
use crate::http::head::{Head, Identity};
use crate::http::pace::Pace;
use crate::http::retry::{Retry, chain};
use crate::model::stage::Stage;

/// How many times a transfer may start over.
const START_OVERS_MAX: u32 = 5;

/// New bytes that refill the retry budget; fewer do not, so that a server that delivers a few bytes per attempt cannot
/// delay a run for ever.
const BUDGET_REFILL: u64 = 64 * 1024;

/// A transfer in progress.
pub(super) struct Fetch<'a> {
    client: Client,
    url: Url,
    /// Redacted URL, for messages.
    name: String,
    context: TransferContext<'a>,
    retry: Retry,
    deadline: Option<Instant>,
    pace: Pace,
    body: Option<Body>,
    /// Offset of the next byte.
    offset: u64,
    /// Bytes received since the retry budget was refilled.
    since_refill: u64,
    /// Length of the file, once known.
    total: Option<u64>,
    /// Entity tag or date of the first answer.
    identity: Identity,
    /// Whether [`SourceEvent::StartOver`] has still to be returned.
    must_start_over: bool,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        client: Client,
        url: Url,
        name: String,
        context: TransferContext<'a>,
    ) -> Self {
        let budget = client.settings().retry_budget;
        let deadline = client.settings().total_timeout.map(host::wait::deadline);
        Self {
            retry: Retry::new(&client, &name, budget),
            client,
            url,
            name,
            context,
            deadline,
            pace: Pace::new(1),
            body: None,
            offset: 0,
            since_refill: 0,
            total: None,
            identity: Identity::default(),
            must_start_over: false,
        }
    }

    /// Requests the missing part.
    fn connect(&mut self) -> Result<Body, HttpError> {
        if self.offset > 0 && self.identity.validator().is_none() {
            self.start_over("the server names neither an ETag nor a date to resume by")?;
        }
        let mut request = Request::get(self.url.clone())
            .deadline(self.deadline)
            .pace(&self.pace)
            .stop(&self.context.stop)
            .pool(&self.context.pool);
        if self.offset > 0
            && let Some(value) = self.identity.validator().and_then(header_value)
            && let Some(range) = header_value(&format!("bytes={}-", self.offset))
        {
            request = request.header(RANGE, range).header(IF_RANGE, value);
        }
        let Response { head, body } = self.client.send(request)?;
        self.accept(&head)?;
        Ok(body)
    }

    /// Decides whether an answer continues at `offset`, starts over, or is an error.
    fn accept(&mut self, head: &Head) -> Result<(), HttpError> {
        if matches!(head.status, 200 | 206) {
            head.check_encoding(&self.name, self.context.container)?;
        }
        match head.status {
            200 if self.offset > 0 => {
                self.start_over("the server sends the whole file, not the rest")?;
                self.begin(head);
                Ok(())
            }
            200 => {
                self.begin(head);
                Ok(())
            }
            206 if self.offset > 0 => match self.mismatch(head) {
                None => {
                    self.total = self.total.or(head.range.and_then(|range| range.total));
                    Ok(())
                }
                Some(why) => {
                    self.start_over(&why)?;
                    Err(self.wrong(&why))
                }
            },
            416 if self.offset > 0 => {
                let why = "the server no longer has this range";
                self.start_over(why)?;
                Err(self.wrong(why))
            }
            206 => Err(self.wrong("it sends a range although the whole file was requested")),
            _ => Err(head.refusal(&self.name)),
        }
    }

    fn begin(&mut self, head: &Head) {
        self.total = head.length;
        self.identity = head.identity();
        self.context.meter.set_total(head.length);
    }

    /// Why a `206` does not continue what was received.
    fn mismatch(&self, head: &Head) -> Option<String> {
        let range = match head.check_part(self.offset) {
            Ok(range) => range,
            Err(why) => return Some(why),
        };
        match (self.total, range.total) {
            (Some(before), Some(now)) if before != now => {
                return Some(format!("its length changed from {before} to {now} bytes"));
            }
            // without a length the end of the file could not be told from the end of this range
            (None, None) => return Some("it does not say how long the whole is".to_owned()),
            _ => {}
        }
        self.identity.mismatch(head).map(str::to_owned)
    }

    fn wrong(&self, why: &str) -> HttpError {
        HttpError::Answer {
            url: self.name.clone(),
            why: why.to_owned(),
        }
    }

    fn start_over(&mut self, why: &str) -> Result<(), HttpError> {
        let times = self.context.meter.add_start_over();
        self.warn(&format!(
            "the transfer of {} starts over after {} bytes: {why}",
            self.name, self.offset
        ));
        (self.offset, self.must_start_over, self.total) = (0, true, None);
        self.identity = Identity::default();
        if times > START_OVERS_MAX {
            return Err(HttpError::Unstable {
                url: self.name.clone(),
                times,
            });
        }
        Ok(())
    }

    fn warn(&self, message: &str) {
        self.context.events.emit(&Event::Warning {
            stage: Some(Stage::Image),
            message: message.to_owned(),
        });
    }

    /// Counts received bytes.
    fn count_received(&mut self, count: usize) {
        self.context.meter.add_fetched(count);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(count);
        self.since_refill = self.since_refill.saturating_add(count);
        if self.since_refill >= BUDGET_REFILL {
            self.since_refill = 0;
            self.retry.progressed(&self.client);
        }
    }

    fn is_complete(&self) -> bool {
        self.total == Some(self.offset)
    }

    fn step(&mut self) -> Result<SourceEvent, HttpError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.connect()?,
        };
        if self.must_start_over {
            self.must_start_over = false;
            self.body = Some(body);
            return Ok(SourceEvent::StartOver);
        }
        if let Some(buffer) = body.advance()? {
            self.count_received(buffer.len());
            self.body = Some(body);
            return Ok(SourceEvent::Bytes(buffer));
        }
        if self.total.is_some() && !self.is_complete() {
            return Err(self.wrong(&format!(
                "its body ends after {} of {} bytes",
                self.offset,
                self.total.unwrap_or_default()
            )));
        }
        Ok(SourceEvent::End)
    }
}

impl Source for Fetch<'_> {
    fn next(&mut self) -> Result<SourceEvent, HttpError> {
        loop {
            let error = match self.step() {
                Ok(piece) => return Ok(piece),
                Err(error) => error,
            };
            self.body = None;
            if self.offset > 0 && self.is_complete() && error.is_transient() {
                // the connection broke after the last byte
                return Ok(SourceEvent::End);
            }
            let why = chain(&error);
            let pause = self.retry.pause_after(&self.client, error)?;
            self.context.meter.add_retry();
            self.warn(&format!(
                "retrying from byte {} in {} ms: {why}",
                self.offset,
                pause.as_millis()
            ));
            self.client.pause(pause, &self.context.stop)?;
        }
    }
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}
