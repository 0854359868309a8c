//! The synchronous side: requests go to the network thread, responses come back as they arrive.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use host::cancel::Cancel;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use url::Url;

use super::error::{Cause, HttpError};
use super::head::Head;
use super::pace::Pace;
use super::proxy::Proxies;
use super::{HttpSettings, exchange, trust};
use crate::model::url::redacted;
use crate::pool::{Buffer, Pool};

/// Length of a network buffer in bytes.
pub(crate) const PART_LENGTH: usize = 256 * 1024;

/// Network buffers that may be queued for the decoder.
pub(crate) const PART_COUNT: usize = 8;

/// Synchronous HTTP client. Clones share one thread and one set of connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    commands: mpsc::UnboundedSender<Command>,
    settings: HttpSettings,
    cancel: Cancel,
}

/// Command for the network thread.
pub(super) enum Command {
    /// Send a request; reply with the response.
    Send {
        request: Box<Request>,
        reply: SyncSender<Result<Response, HttpError>>,
    },
    /// Wait, unless cancelled.
    Pause {
        duration: Duration,
        stop: Cancel,
        reply: SyncSender<Result<(), HttpError>>,
    },
}

/// State of the network thread.
pub(super) struct HttpContext {
    pub(super) http: reqwest::Client,
    pub(super) settings: HttpSettings,
    /// Proxies by the environment.
    pub(super) proxies: Proxies,
    pub(super) cancel: Cancel,
}

impl Client {
    /// Reads the certificate authorities and starts the thread, which ends with the last clone.
    pub fn new(settings: &HttpSettings, cancel: Cancel) -> Result<Self, HttpError> {
        let setup = |error: &(dyn std::error::Error + 'static)| HttpError::Setup {
            source: Cause::of(error),
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("provision/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            // `exchange` follows redirects, since it decides which headers and credentials may be carried
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tls_certs_only(trust::roots(settings)?);
        let mut proxies = Proxies::default();
        if settings.environment_proxy {
            proxies = Proxies::of(|name| std::env::var(name).ok());
        }
        if !settings.environment_proxy || proxies.is_off() {
            builder = builder.no_proxy();
        }
        let context = HttpContext {
            http: builder.build().map_err(|error| setup(&error))?,
            settings: settings.clone(),
            proxies,
            cancel: cancel.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| setup(&error))?;
        let (commands, receiver) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                runtime.block_on(exchange::serve(receiver, Arc::new(context)));
                // do not wait for a name lookup in progress
                runtime.shutdown_background();
            })
            .map_err(|error| setup(&error))?;
        Ok(Self(Arc::new(Inner {
            commands,
            settings: settings.clone(),
            cancel,
        })))
    }

    /// Limits that the client was created with.
    pub fn settings(&self) -> &HttpSettings {
        &self.0.settings
    }

    /// Whether the run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    /// Sends `request` once and waits for the response's head, whatever its status.
    pub fn send(&self, request: Request) -> Result<Response, HttpError> {
        let (reply, answer) = sync_channel(1);
        let request = Box::new(request);
        self.ask(Command::Send { request, reply }, &answer)
    }

    /// Waits for `duration`; a cancellation of the run or `stop` is an error.
    pub fn pause(&self, duration: Duration, stop: &Cancel) -> Result<(), HttpError> {
        let (reply, answer) = sync_channel(1);
        let stop = stop.clone();
        let command = Command::Pause {
            duration,
            stop,
            reply,
        };
        self.ask(command, &answer)
    }

    fn ask<T>(
        &self,
        command: Command,
        answer: &Receiver<Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        self.0.commands.send(command).map_err(|_| HttpError::Gone)?;
        answer.recv().map_err(|_| HttpError::Gone)?
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// A request.
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether its headers or body must not be sent to another origin.
    pub(super) private: bool,
    pub(super) deadline: Option<Instant>,
    /// Duration that ends at `deadline`, for the error; `None`: `HttpSettings::total_timeout`.
    pub(super) limit: Option<Duration>,
    /// Time limit of the body, counted from the head.
    pub(super) body_limit: Option<Duration>,
    /// What the transfer has delivered so far, if its average rate matters.
    pub(super) pace: Option<Pace>,
    pub(super) stop: Cancel,
    pub(super) pool: Pool,
    /// Lengths of the body's buffers; `None`: full buffers.
    pub(super) buffer_lengths: Option<Vec<u32>>,
}

impl Request {
    /// A GET request.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Vec::new(),
            private: false,
            deadline: None,
            limit: None,
            body_limit: None,
            pace: None,
            stop: Cancel::new(),
            pool: Pool::new(PART_COUNT, PART_LENGTH),
            buffer_lengths: None,
        }
    }

    /// A GET request for a document of at most `longest` bytes: it has a time limit of its own.
    pub fn document(client: &Client, url: Url, longest: u64) -> Self {
        let limit = client.settings().document_limit(longest);
        Self::get(url)
            .within(host::wait::deadline(limit), limit)
            .pool(&Pool::new(2, 64 * 1024))
    }

    /// Sets method and body. Redirects are then followed within the same origin only: scheme, host and port.
    #[must_use]
    pub fn with_body(mut self, method: Method, body: Vec<u8>) -> Self {
        self.method = method;
        self.body = body;
        self.private = true;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the time at which the request fails.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the time at which the request fails; the error names `limit`.
    #[must_use]
    pub fn within(mut self, deadline: Instant, limit: Duration) -> Self {
        self.deadline = Some(deadline);
        self.limit = Some(limit);
        self
    }

    /// Limits the time of the body, counted from the head.
    #[must_use]
    pub fn body_limit(mut self, limit: Option<Duration>) -> Self {
        self.body_limit = limit;
        self
    }

    /// Counts the bytes of the body in `pace`: an average below the least rate of the settings is an error.
    #[must_use]
    pub(crate) fn pace(mut self, pace: &Pace) -> Self {
        self.pace = Some(pace.clone());
        self
    }

    /// Sets a flag that cancels the request.
    #[must_use]
    pub fn stop(mut self, stop: &Cancel) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Sets the pool for the body's buffers.
    #[must_use]
    pub fn pool(mut self, pool: &Pool) -> Self {
        self.pool = pool.clone();
        self
    }

    /// Sets the lengths of the body's buffers, none longer than those of the pool. A body that is longer than all of
    /// them is an error, a shorter one ends early.
    #[must_use]
    pub fn buffer_lengths(mut self, lengths: Vec<u32>) -> Self {
        self.buffer_lengths = Some(lengths);
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &redacted(self.url.as_str()))
            .finish_non_exhaustive()
    }
}

/// A response; its body is still arriving.
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// Body, in buffers.
    pub body: Body,
}

impl Response {
    /// Reads the whole body, up to `limit` bytes.
    pub fn bytes(mut self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let too_long = || HttpError::TooLong {
            url: url.to_owned(),
            limit,
        };
        if self.head.length.is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        while let Some(part) = self.body.advance()? {
            if part.len() > most.saturating_sub(bytes.len()) {
                return Err(too_long());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

/// Message of the network thread about a body.
#[derive(Debug)]
pub enum Part {
    /// The next bytes.
    Bytes(Buffer),
    /// The body is complete.
    End,
    /// The body failed or was cancelled.
    Failed(HttpError),
}

/// A body in buffers. A slow reader slows the connection down.
pub struct Body {
    pub(super) parts: mpsc::Receiver<Part>,
    pub(super) ended: bool,
}

impl Body {
    /// The next bytes; `None` at the end. An error follows the bytes received before it.
    pub fn advance(&mut self) -> Result<Option<Buffer>, HttpError> {
        if self.ended {
            return Ok(None);
        }
        match self.parts.blocking_recv() {
            Some(Part::Bytes(buffer)) => Ok(Some(buffer)),
            Some(Part::End) => {
                self.ended = true;
                Ok(None)
            }
            Some(Part::Failed(error)) => Err(error),
            // the channel was closed without an end: the thread is gone
            None => Err(HttpError::Gone),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
