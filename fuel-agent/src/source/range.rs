//! A file on a server or on this machine that is fetched in ranges, each in pieces of known lengths.
//!
//! Nothing is retried here. An answer has to be the range requested, of a file of the expected length; the caller
//! verifies the bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::http::header::{HeaderValue, RANGE};
use crate::model::url::redacted;
use host::cancel::Cancel;

use super::file;
use crate::http::address::Address;
use crate::http::client::{Body, Client, Request};
use crate::http::error::HttpError;
use crate::http::head::Head;
use crate::http::pace::Pace;
use crate::model::request::Container;
use crate::pool::{Buffer, Pool};

/// A file that is fetched in ranges.
#[derive(Debug)]
pub(crate) struct RangeFile {
    address: Address,
    /// Redacted address, for messages.
    name: String,
    /// Expected length in bytes.
    length: u64,
}

/// A range of the file, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// Offset of the first byte.
    pub(crate) start: u64,
    /// Lengths of the consecutive pieces, none of them 0.
    pub(crate) lengths: Vec<u32>,
}

impl ByteRange {
    /// Offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.lengths.iter().fold(self.start, |end, length| {
            end.saturating_add(u64::from(*length))
        })
    }
}

/// What a request needs besides the range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeOptions<'a> {
    pub(crate) client: &'a Client,
    /// Buffers for the pieces, none shorter than a piece.
    pub(crate) pool: &'a Pool,
    /// Cancels the request.
    pub(crate) stop: &'a Cancel,
    /// When the body has to be complete.
    pub(crate) deadline: Option<Instant>,
    /// What the connection has delivered so far.
    pub(crate) pace: &'a Pace,
}

/// Outcome of a request.
pub(crate) enum Answer {
    /// The pieces are arriving.
    Pieces(Pieces),
    /// The server does not support ranges.
    NoRanges,
    /// The file has another length than expected (given if known), so it is another file.
    OtherLength(Option<u64>),
}

impl RangeFile {
    /// `length` is the expected length in bytes. No request is made yet.
    pub(crate) fn new(url: &str, length: u64) -> Result<Self, HttpError> {
        Ok(Self {
            address: Address::parse(url)?,
            name: redacted(url),
            length,
        })
    }

    /// The redacted address.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Requests a range; with `whole`, the whole file, of which `wanted` has to cover everything.
    pub(crate) fn ask(
        &self,
        options: RangeOptions<'_>,
        wanted: &ByteRange,
        whole: bool,
    ) -> Result<Answer, HttpError> {
        let url = match &self.address {
            Address::Web(url) => url.clone(),
            Address::File(path) => {
                let (file, length) = file::open(&options.client.settings().files, path)?;
                if length != self.length {
                    return Ok(Answer::OtherLength(Some(length)));
                }
                return Ok(self.pieces(wanted, From::File(file, options.pool.clone())));
            }
        };
        let mut request = Request::get(url)
            .deadline(options.deadline)
            .pace(options.pace)
            .stop(options.stop)
            .pool(options.pool)
            .buffer_lengths(wanted.lengths.clone());
        let range = format!("bytes={}-{}", wanted.start, wanted.end().saturating_sub(1));
        if let (false, Ok(range)) = (whole, HeaderValue::from_str(&range)) {
            request = request.header(RANGE, range);
        }
        let response = options.client.send(request)?;
        if matches!(response.head.status, 200 | 206) {
            // chunks are zstd frames
            let container = Container::Zstd;
            response.head.check_encoding(&self.name, container)?;
        }
        Ok(match self.check_answer(&response.head, wanted, whole)? {
            Verdict::Accepted => self.pieces(wanted, From::Web(response.body)),
            Verdict::NoRanges => Answer::NoRanges,
            Verdict::OtherLength(length) => Answer::OtherLength(length),
        })
    }

    fn pieces(&self, wanted: &ByteRange, from: From) -> Answer {
        Answer::Pieces(Pieces {
            name: self.name.clone(),
            lengths: wanted.lengths.clone().into_iter(),
            at: wanted.start,
            from,
        })
    }

    /// Compares an answer with the request.
    fn check_answer(
        &self,
        head: &Head,
        wanted: &ByteRange,
        whole: bool,
    ) -> Result<Verdict, HttpError> {
        match (head.status, head.range) {
            (200, _) => match head.length {
                Some(length) if length != self.length => Ok(Verdict::OtherLength(Some(length))),
                _ if whole => Ok(Verdict::Accepted),
                _ => Ok(Verdict::NoRanges),
            },
            (206, Some(range)) if !whole => match range.total {
                Some(total) if total != self.length => Ok(Verdict::OtherLength(Some(total))),
                _ if (range.start, range.end) == (wanted.start, wanted.end()) => {
                    Ok(Verdict::Accepted)
                }
                _ => Err(self.wrong(format!(
                    "it sends bytes {} to {}, not {} to {}",
                    range.start,
                    range.end,
                    wanted.start,
                    wanted.end()
                ))),
            },
            (206, _) => Err(self.wrong("it sends a range and does not say which one".to_owned())),
            // the file ends before the range begins
            (416, _) => Ok(Verdict::OtherLength(None)),
            _ => Err(head.refusal(&self.name)),
        }
    }

    fn wrong(&self, why: String) -> HttpError {
        HttpError::Answer {
            url: self.name.clone(),
            why,
        }
    }
}

enum Verdict {
    Accepted,
    NoRanges,
    OtherLength(Option<u64>),
}

/// Source of the pieces.
enum From {
    Web(Body),
    File(File, Pool),
}

/// The pieces of a range, in order.
pub(crate) struct Pieces {
    name: String,
    lengths: std::vec::IntoIter<u32>,
    at: u64,
    from: From,
}

impl Pieces {
    /// Waits for the next piece; `None` after the last one.
    pub(crate) fn advance(&mut self) -> Result<Option<Buffer>, HttpError> {
        let Some(length) = self.lengths.next() else {
            if let From::Web(body) = &mut self.from {
                // read the end of the body, so that the connection can be reused; what it says does not matter
                drop(body.advance());
            }
            return Ok(None);
        };
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let piece = match &mut self.from {
            From::Web(body) => body.advance()?,
            From::File(file, pool) => {
                let mut buffer = pool.take();
                let room = buffer.spare().get_mut(..wanted);
                let read = room.map(|room| file.read_exact_at(room, self.at));
                if let Some(read) = read {
                    read.map_err(|source| HttpError::File {
                        path: self.name.clone().into(),
                        source,
                    })?;
                    buffer.grow(wanted);
                }
                Some(buffer)
            }
        };
        match piece {
            Some(buffer) if buffer.len() == wanted => {
                self.at = self.at.saturating_add(u64::from(length));
                Ok(Some(buffer))
            }
            _ => Err(HttpError::Answer {
                url: self.name.clone(),
                why: format!(
                    "its body ends in the middle of the piece at byte {}",
                    self.at
                ),
            }),
        }
    }
}
