//! A file on a server, or on this machine, of which parts are asked for: each in pieces of known lengths.
//!
//! Nothing is retried here, and nothing is believed: an answer has to be the part that was asked for, of a file that is
//! as long as it should be. What its bytes are worth is for whoever has their digests.

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
use crate::model::request::Container;
use crate::pool::{Buffer, Pool};

/// A file that is fetched in parts.
#[derive(Debug)]
pub(crate) struct RangeFile {
    address: Address,
    /// Its address as it may be shown.
    name: String,
    /// How long it has to be.
    length: u64,
}

/// What is asked of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The first byte.
    pub(crate) start: u64,
    /// Lengths of the pieces from there on, none of them 0.
    pub(crate) lengths: Vec<u32>,
}

impl Wanted {
    /// The first byte after it.
    pub(crate) fn end(&self) -> u64 {
        self.lengths
            .iter()
            .fold(self.start, |end, length| end + u64::from(*length))
    }
}

/// How a file is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    /// Who asks.
    pub(crate) client: &'a Client,
    /// Buffers for the pieces, none shorter than a piece.
    pub(crate) pool: &'a Pool,
    /// Ends it.
    pub(crate) stop: &'a Cancel,
    /// When it has to have come.
    pub(crate) deadline: Option<Instant>,
}

/// What a file's server says when it is asked.
pub(crate) enum Answer {
    /// The pieces are coming.
    Pieces(Pieces),
    /// It sends all of the file or nothing.
    NoRanges,
    /// The file is of another length than it should be, this one where it is known: it is another file.
    OtherLength(Option<u64>),
}

impl RangeFile {
    /// The file at `url`, which has to be `length` bytes long. Nobody is asked yet.
    pub(crate) fn new(url: &str, length: u64) -> Result<Self, HttpError> {
        Ok(Self {
            address: Address::parse(url)?,
            name: redacted(url),
            length,
        })
    }

    /// Its address, without secrets.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Asks for a part: by its range, or where `whole` is said by sending everything, of which `wanted` is then all.
    pub(crate) fn ask(
        &self,
        asking: Asking<'_>,
        wanted: &Wanted,
        whole: bool,
    ) -> Result<Answer, HttpError> {
        let url = match &self.address {
            Address::Web(url) => url.clone(),
            Address::File(path) => {
                let (file, length) = file::open(path)?;
                if length != self.length {
                    return Ok(Answer::OtherLength(Some(length)));
                }
                return Ok(self.pieces(wanted, From::File(file, asking.pool.clone())));
            }
        };
        let mut request = Request::get(url)
            .deadline(asking.deadline)
            .stop(asking.stop)
            .pool(asking.pool)
            .cuts(wanted.lengths.clone());
        let range = format!("bytes={}-{}", wanted.start, wanted.end() - 1);
        if let (false, Ok(range)) = (whole, HeaderValue::from_str(&range)) {
            request = request.header(RANGE, range);
        }
        let response = asking.client.send(request)?;
        if matches!(response.head.status, 200 | 206) {
            // chunks are frames of zstd
            let container = Container::Zstd;
            response.head.check_encoding(&self.name, container)?;
        }
        Ok(match self.judge(&response.head, wanted, whole)? {
            Verdict::AsAsked => self.pieces(wanted, From::Web(response.body)),
            Verdict::NoRanges => Answer::NoRanges,
            Verdict::OtherLength(length) => Answer::OtherLength(length),
        })
    }

    fn pieces(&self, wanted: &Wanted, from: From) -> Answer {
        Answer::Pieces(Pieces {
            name: self.name.clone(),
            lengths: wanted.lengths.clone().into_iter(),
            at: wanted.start,
            from,
        })
    }

    /// Whether an answer is the part that was asked for.
    fn judge(&self, head: &Head, wanted: &Wanted, whole: bool) -> Result<Verdict, HttpError> {
        match (head.status, head.range) {
            (200, _) => match head.length {
                Some(length) if length != self.length => Ok(Verdict::OtherLength(Some(length))),
                _ if whole => Ok(Verdict::AsAsked),
                _ => Ok(Verdict::NoRanges),
            },
            (206, Some(range)) if !whole => match range.total {
                Some(total) if total != self.length => Ok(Verdict::OtherLength(Some(total))),
                _ if (range.start, range.end) == (wanted.start, wanted.end()) => {
                    Ok(Verdict::AsAsked)
                }
                _ => Err(self.wrong(format!(
                    "it sends bytes {} to {}, not {} to {}",
                    range.start,
                    range.end,
                    wanted.start,
                    wanted.end()
                ))),
            },
            (206, _) => Err(self.wrong("it sends a part and does not say which one".to_owned())),
            // the file ends before the part begins
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
    AsAsked,
    NoRanges,
    OtherLength(Option<u64>),
}

/// Where pieces come from.
enum From {
    Web(Body),
    File(File, Pool),
}

/// The pieces of a part, as they come.
pub(crate) struct Pieces {
    name: String,
    lengths: std::vec::IntoIter<u32>,
    at: u64,
    from: From,
}

impl Pieces {
    /// The next piece, whole; `None` after the last one.
    pub(crate) fn advance(&mut self) -> Result<Option<Buffer>, HttpError> {
        let Some(length) = self.lengths.next() else {
            if let From::Web(body) = &mut self.from {
                // its end, so that the connection can be used again; whatever else it says is of no interest
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
                self.at += u64::from(length);
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
