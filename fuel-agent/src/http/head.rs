//! Status and headers of a response, as far as they are used.

use std::time::{Duration, SystemTime};

use host::calendar::DateTime;
use reqwest::header::{self, HeaderMap};

use super::error::HttpError;
use crate::model::request::Container;

/// Status and headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Length of this body, if stated.
    pub length: Option<u64>,
    /// Range of the file that the body is.
    pub range: Option<ContentRange>,
    /// A strong entity tag, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified`, as the server wrote it.
    pub last_modified: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `Content-Encoding` in lower case; `None` for the file as it is.
    pub encoding: Option<String>,
    /// `Date`, in seconds since 1970 by the server's clock.
    pub date: Option<u64>,
    /// The proxy that was used, without credentials.
    pub via: Option<String>,
}

/// Identifies a version of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// A strong entity tag, with its quotes.
    etag: Option<String>,
    /// `Last-Modified`, as the server wrote it; only if it is a strong validator.
    last_modified: Option<String>,
}

impl Identity {
    /// Value for `If-Range`: the tag, or else the date.
    pub(crate) fn validator(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// Why `head` does not prove that it is of the same file. An answer to `If-Range` repeats the tag (RFC 9110,
    /// 15.3.7); it may omit the date.
    pub(crate) fn mismatch(&self, head: &Head) -> Option<&'static str> {
        match (&self.etag, &head.etag) {
            (Some(before), Some(now)) if before != now => Some("its entity tag changed"),
            (Some(_), Some(_)) => None,
            (Some(_), None) => Some("it does not name the entity tag that it had"),
            (None, _) => match (&self.last_modified, &head.last_modified) {
                (Some(before), Some(now)) if before != now => Some("its date changed"),
                _ => None,
            },
        }
    }
}

/// `Content-Range`: bytes `start` to `end` (not included) of `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// Length of the file; `None` if the server does not state it.
    pub total: Option<u64>,
}

impl Head {
    pub(crate) fn read(response: &reqwest::Response) -> Self {
        let status = response.status().as_u16();
        Self::of(status, response.content_length(), response.headers())
    }

    /// `length`: that of the body, as the connection knows it.
    pub(super) fn of(status: u16, length: Option<u64>, headers: &HeaderMap) -> Self {
        let text = |name| text(headers, name);
        Self {
            status,
            length,
            range: text(header::CONTENT_RANGE).and_then(|text| content_range(&text)),
            encoding: encoding(headers),
            date: text(header::DATE).and_then(|date| seconds_of(&date)),
            via: None,
            etag: text(header::ETAG).filter(|tag| tag.starts_with('"')),
            last_modified: text(header::LAST_MODIFIED),
            retry_after: text(header::RETRY_AFTER)
                .and_then(|when| retry_after(&when, text(header::DATE).as_deref())),
        }
    }

    /// The identity of the file. A modification date within the second of the response is not a strong validator: the
    /// file may change again in that second (RFC 9110, 8.8.2.2).
    pub(crate) fn identity(&self) -> Identity {
        let changed = self.last_modified.as_deref().and_then(seconds_of);
        let is_fresh = match (changed, self.date) {
            (Some(changed), Some(now)) => changed >= now,
            _ => false,
        };
        Identity {
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone().filter(|_| !is_fresh),
        }
    }

    /// The status as an error of the file `name` (redacted URL).
    pub(crate) fn refusal(&self, name: &str) -> HttpError {
        HttpError::Status {
            url: name.to_owned(),
            status: self.status,
            retry_after: self.retry_after,
            via: self.via.clone(),
        }
    }

    /// Refuses a content encoding that the server has added. One that names the file's own container is accepted
    /// (`AddEncoding x-gzip .gz`): the file is unpacked once.
    pub(crate) fn check_encoding(&self, name: &str, container: Container) -> Result<(), HttpError> {
        let Some(encoding) = &self.encoding else {
            return Ok(());
        };
        let own: &[&str] = match container {
            Container::Gzip => &["gzip", "x-gzip"],
            Container::Zstd => &["zstd"],
            Container::Xz => &["xz", "x-xz"],
            Container::Bzip2 => &["bzip2", "x-bzip2"],
            Container::Raw | Container::Qcow2 => &[],
        };
        if own.contains(&encoding.as_str()) {
            return Ok(());
        }
        Err(HttpError::Encoded {
            url: name.to_owned(),
            encoding: encoding.clone(),
        })
    }

    /// The range, if it begins at `start` and its length matches the body's; otherwise what is wrong with it.
    pub(crate) fn check_part(&self, start: u64) -> Result<ContentRange, String> {
        let Some(range) = self.range else {
            return Err("its answer to a range does not say which part it is".to_owned());
        };
        if range.start != start {
            return Err(format!(
                "it sends from byte {}, not from {start}",
                range.start
            ));
        }
        match self.length {
            Some(length) if range.end.checked_sub(range.start) != Some(length) => Err(format!(
                "it announces {length} bytes as those from {} to {}",
                range.start, range.end
            )),
            _ => Ok(range),
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.trim().to_owned())
}

/// All encodings except `identity`.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::CONTENT_ENCODING).iter();
    let all = all.map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    let text = all.collect::<Vec<_>>().join(",");
    let codings = text.split(',').map(str::trim);
    let codings: Vec<&str> = codings
        .filter(|coding| !coding.is_empty() && *coding != "identity")
        .collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let end = last.checked_add(1)?;
    (start < end && total.is_none_or(|total| end <= total)).then_some(ContentRange {
        start,
        end,
        total,
    })
}

/// Seconds, or a date, compared with the server's own clock since the clock of a new node may be wrong.
fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = seconds_of(text)?;
    let now = date.and_then(seconds_of).or_else(|| {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .map(|now| now.as_secs())
    })?;
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// Seconds since 1970 of a date like `Sun, 06 Nov 1994 08:49:37 GMT`, the only format that servers may send.
fn seconds_of(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = date.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()?;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words
        .next()?
        .splitn(3, ':')
        .map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" || !(1970..10000).contains(&year) {
        return None;
    }
    let date = DateTime {
        year,
        month: month.checked_add(1)?,
        day,
        hour,
        minute,
        second,
    };
    date.seconds_since_1970()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_not_believed() {
        let range = |start, end, total| Some(ContentRange { start, end, total });
        for (text, expected) in [
            ("bytes 5-9/10", range(5, 10, Some(10))),
            ("bytes 0-0/*", range(0, 1, None)),
            ("bytes 5-9/9", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("items 5-9/10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_are_seconds() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Sun, 06-Nov-94 08:49:37 GMT", None),
            ("tomorrow", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1994 18446744073709551615:00:00 GMT", None),
            ("Sun, 06 Nov 1994 00:18446744073709551615:00 GMT", None),
            ("Sun, 06 Nov 1994 00:00:18446744073709551615 GMT", None),
            ("Sun, 06 Nov 18446744073709551615 00:00:00 GMT", None),
            ("Sun, 18446744073709551615 Nov 1994 00:00:00 GMT", None),
            ("Sun, 00 Nov 1994 00:00:00 GMT", None),
            ("Sun, 06 Nov 1969 00:00:00 GMT", None),
        ] {
            assert_eq!(seconds_of(date), seconds, "{date}");
        }
    }

    #[test]
    fn retry_after_counts_by_the_clock_of_the_server() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = "Sun, 06 Nov 1994 08:50:07 GMT";
        for (text, after) in [
            ("120", Some(120)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(252_618_189_022)),
            (later, Some(30)),
            (date, Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(text, Some(date)),
                after.map(Duration::from_secs),
                "{text}"
            );
        }
        // compared with the local clock if the server states no time: long ago
        assert_eq!(retry_after(later, None), Some(Duration::ZERO));
    }
}
