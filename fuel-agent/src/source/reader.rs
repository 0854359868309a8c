//! An image that is read at arbitrary offsets, by ranges. One answer is used as long as the offsets lie a little ahead.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::http::header::{HeaderValue, IF_RANGE, RANGE};
use crate::model::url::redacted;
use os_image::disk::ReadAt;
use url::Url;

use super::TransferContext;
use super::file;
use crate::events::Event;
use crate::http::LocalFiles;
use crate::http::address::Address;
use crate::http::client::{Body, Client, PART_COUNT, PART_LENGTH, Request, Response};
use crate::http::error::HttpError;
use crate::http::head::{Head, Identity};
use crate::http::pace::Pace;
use crate::http::retry::{Retry, chain};
use crate::model::stage::Stage;
use crate::pool::{Buffer, Pool};

/// Bytes fetched and cached together: the length of the HTTP client's buffers.
const PAGE: u64 = 256 * 1024;

const _: () = assert!(PART_LENGTH == 256 * 1024, "a part is a page");

/// Number of cached pages.
const PAGES_MAX: usize = 16;

/// Cached pages that may be kept because tables are on them: these are read again and again, a few bytes at a time.
const TABLE_PAGES_MAX: usize = 4;

/// A read of up to this many bytes is taken for one in a table.
const TABLE_READ_MAX: usize = 512;

/// Up to this many pages are read and discarded rather than requesting another range.
const SKIP_PAGES_MAX: u64 = 8;

/// A file on a server or on this machine. No request is made before the first read.
pub(crate) struct Reader<'a>(RefCell<State<'a>>);

enum State<'a> {
    Local {
        path: PathBuf,
        files: LocalFiles,
        file: Option<File>,
    },
    Web(Box<Remote<'a>>),
    Broken(Option<HttpError>),
}

struct Remote<'a> {
    client: Client,
    url: Url,
    /// Redacted URL, for messages.
    name: String,
    context: TransferContext<'a>,
    pool: Pool,
    retry: Retry,
    deadline: Option<Instant>,
    pace: Pace,
    /// Facts of the first answer.
    known: Option<Known>,
    /// The answer being read, and the number of its next page.
    body: Option<(Body, u64)>,
    /// Cached pages, least recently used first.
    pages: VecDeque<Page>,
}

/// Facts that later answers have to match.
struct Known {
    length: u64,
    identity: Identity,
    ranges: bool,
}

struct Page {
    number: u64,
    bytes: Buffer,
    table: bool,
}

impl<'a> Reader<'a> {
    /// `context.pool` is not used: pages stay cached, so the reader has a pool of its own.
    pub(crate) fn new(
        client: &Client,
        url: &str,
        context: TransferContext<'a>,
    ) -> Result<Self, HttpError> {
        let state = match Address::parse(url)? {
            Address::File(path) => State::Local {
                path,
                files: client.settings().files.clone(),
                file: None,
            },
            Address::Web(url) => {
                let name = redacted(url.as_str());
                let settings = client.settings();
                State::Web(Box::new(Remote {
                    retry: Retry::new(client, &name, settings.retry_budget),
                    deadline: settings.total_timeout.map(host::wait::deadline),
                    pace: Pace::new(1),
                    client: client.clone(),
                    url,
                    name,
                    context,
                    pool: Pool::new(PAGES_MAX + PART_COUNT, PART_LENGTH),
                    known: None,
                    body: None,
                    pages: VecDeque::new(),
                }))
            }
        };
        Ok(Self(RefCell::new(state)))
    }

    /// Why reading failed, if the source was the reason and not the caller.
    pub(crate) fn broken(&self) -> Option<HttpError> {
        match &mut *self.0.borrow_mut() {
            State::Broken(error) => error.take(),
            _ => None,
        }
    }

    /// Reads from `at` until `buffer` or the file ends; returns the number of bytes.
    pub(crate) fn read_start(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let left = self.size()?.saturating_sub(at);
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let (wanted, _) = buffer.split_at_mut(count);
        if !wanted.is_empty() {
            self.read_at(wanted, at)?;
        }
        Ok(count)
    }

    fn attempt<T>(
        &self,
        work: impl FnOnce(&mut State<'a>) -> Result<T, HttpError>,
    ) -> io::Result<T> {
        let mut state: RefMut<'_, _> = self.0.borrow_mut();
        work(&mut state).map_err(|error| {
            *state = State::Broken(Some(error));
            io::Error::other("the source broke off")
        })
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl ReadAt for &Reader<'_> {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let size = self.size()?;
        if at.checked_add(length).is_none_or(|end| end > size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.attempt(|state| match state {
            State::Local { path, files, file } => {
                let file = open(files, path, file)?;
                file.read_at(buffer, at).map_err(|source| HttpError::File {
                    path: path.clone(),
                    source,
                })
            }
            State::Web(remote) => remote.read(buffer, at),
            State::Broken(error) => Err(error.take().unwrap_or(HttpError::Gone)),
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.attempt(|state| match state {
            State::Local { path, files, file } => {
                let file = open(files, path, file)?;
                file.size().map_err(|source| HttpError::File {
                    path: path.clone(),
                    source,
                })
            }
            State::Web(remote) => remote.length(),
            State::Broken(error) => Err(error.take().unwrap_or(HttpError::Gone)),
        })
    }
}

fn open<'f>(
    files: &LocalFiles,
    path: &Path,
    file: &'f mut Option<File>,
) -> Result<&'f File, HttpError> {
    match file {
        Some(file) => Ok(file),
        none => Ok(none.insert(file::open(files, path)?.0)),
    }
}

impl Remote<'_> {
    fn length(&mut self) -> Result<u64, HttpError> {
        if self.known.is_none() {
            let body = self.until_done(0, |remote| remote.connect(0))?;
            self.body = Some(body);
        }
        Ok(self.known.as_ref().map_or(0, |known| known.length))
    }

    fn read(&mut self, buffer: &mut [u8], at: u64) -> Result<(), HttpError> {
        let table = buffer.len() <= TABLE_READ_MAX;
        let (mut at, mut rest) = (at, buffer);
        while !rest.is_empty() {
            let within = usize::try_from(at % PAGE).unwrap_or_default();
            let page = self.page(at / PAGE, table)?;
            let bytes = page.get(within..).unwrap_or_default();
            let bytes = bytes.get(..rest.len()).unwrap_or(bytes);
            if bytes.is_empty() {
                return Err(HttpError::Gone);
            }
            let (target, after) = rest.split_at_mut(bytes.len());
            target.copy_from_slice(bytes);
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            rest = after;
        }
        Ok(())
    }

    /// Page `number`, fetched if it is not cached.
    fn page(&mut self, number: u64, table: bool) -> Result<&[u8], HttpError> {
        let kept = self.pages.iter().position(|page| page.number == number);
        if let Some(mut page) = kept.and_then(|index| self.pages.remove(index)) {
            page.table |= table;
            self.pages.push_back(page);
        } else {
            while self.pages.back().is_none_or(|page| page.number != number) {
                self.until_done(number, |remote| remote.step(number))?;
            }
            if let Some(page) = self.pages.back_mut() {
                page.table = table;
            }
        }
        self.pages
            .back()
            .map(|page| &*page.bytes)
            .ok_or(HttpError::Gone)
    }

    /// Runs `attempt`, which concerns page `number`, until it succeeds or the retry budget is used up.
    fn until_done<T>(
        &mut self,
        number: u64,
        attempt: impl Fn(&mut Self) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        loop {
            let error = match attempt(self) {
                Ok(done) => {
                    self.retry.progressed(&self.client);
                    return Ok(done);
                }
                Err(error) => error,
            };
            self.body = None;
            let why = chain(&error);
            let pause = self.retry.pause_after(&self.client, error)?;
            self.context.meter.add_retry();
            self.context.events.emit(&Event::Warning {
                stage: Some(Stage::Image),
                message: format!(
                    "retrying from byte {} in {} ms: {why}",
                    number.saturating_mul(PAGE),
                    pause.as_millis()
                ),
            });
            self.client.pause(pause, &self.context.stop)?;
        }
    }

    /// Fetches one page: `number`, or one before it in the same answer.
    fn step(&mut self, number: u64) -> Result<(), HttpError> {
        let on_the_way =
            |next| u64::checked_sub(number, next).is_some_and(|it| it <= SKIP_PAGES_MAX);
        let (mut body, next) = match self.body.take() {
            Some((body, next)) if on_the_way(next) || self.must_read_on(next, number)? => {
                (body, next)
            }
            _ => self.connect(number)?,
        };
        let length = self.known.as_ref().map_or(0, |known| known.length);
        let wanted = length.saturating_sub(next.saturating_mul(PAGE)).min(PAGE);
        let part = body.advance()?;
        let bytes = part.filter(|part| u64::try_from(part.len()) == Ok(wanted) && wanted > 0);
        let Some(bytes) = bytes else {
            return Err(self.wrong(&format!(
                "its body does not have {wanted} bytes from byte {} on",
                next.saturating_mul(PAGE)
            )));
        };
        self.context.meter.add_fetched(bytes.len());
        self.body = Some((body, next.saturating_add(1)));
        self.keep(Page {
            number: next,
            bytes,
            table: false,
        });
        Ok(())
    }

    /// Whether the page has to be reached by reading on: the server does not support ranges.
    fn must_read_on(&self, next: u64, number: u64) -> Result<bool, HttpError> {
        match &self.known {
            Some(known) if !known.ranges => {
                if number < next {
                    return Err(HttpError::NoRanges {
                        url: self.name.clone(),
                    });
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn keep(&mut self, page: Page) {
        if self.pages.len() == PAGES_MAX {
            let tables = self.pages.iter().filter(|page| page.table).count();
            let oldest = |page: &Page| !page.table || tables > TABLE_PAGES_MAX;
            if let Some(index) = self.pages.iter().position(oldest) {
                self.pages.remove(index);
            }
        }
        self.pages.push_back(page);
    }

    /// Requests everything from page `number` on; returns the body and the number of its first page.
    fn connect(&mut self, number: u64) -> Result<(Body, u64), HttpError> {
        let start = number.saturating_mul(PAGE);
        let mut request = Request::get(self.url.clone())
            .deadline(self.deadline)
            .pace(&self.pace)
            .stop(&self.context.stop)
            .pool(&self.pool);
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={start}-")) {
            request = request.header(RANGE, range);
        }
        let validator = self
            .known
            .as_ref()
            .and_then(|known| known.identity.validator());
        if let Some(value) = validator.and_then(|text| HeaderValue::from_str(text).ok()) {
            request = request.header(IF_RANGE, value);
        }
        let Response { head, body } = self.client.send(request)?;
        if matches!(head.status, 200 | 206) {
            head.check_encoding(&self.name, self.context.container)?;
        }
        let (length, from) = match (head.status, head.check_part(start)) {
            (200, _) => (head.length, 0),
            (206, Ok(range)) => (range.total, number),
            (206, Err(why)) => return Err(self.wrong(&why)),
            // there is no first byte: the file is empty
            (416, _) if start == 0 => (Some(0), 0),
            (416, _) => return Err(self.wrong("it sends another range than was requested")),
            _ => return Err(head.refusal(&self.name)),
        };
        let length = length.ok_or_else(|| self.wrong("it does not say how long the file is"))?;
        self.check_same_file(&head, length)?;
        Ok((body, from))
    }

    /// Checks that an answer is of the same file as the first one.
    fn check_same_file(&mut self, head: &Head, length: u64) -> Result<(), HttpError> {
        let Some(known) = &self.known else {
            self.context.meter.set_total(Some(length));
            self.known = Some(Known {
                length,
                identity: head.identity(),
                ranges: head.status == 206,
            });
            return Ok(());
        };
        let is_same = known.identity.mismatch(head).is_none();
        if known.length == length && is_same && (head.status == 206 || !known.ranges) {
            return Ok(());
        }
        Err(HttpError::Changed {
            url: self.name.clone(),
        })
    }

    fn wrong(&self, why: &str) -> HttpError {
        HttpError::Answer {
            url: self.name.clone(),
            why: why.to_owned(),
        }
    }
}
