//! What the headers of an answer say, as far as we use it.

use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap};

/// The first lines of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Length of this body, where the server says it.
    pub length: Option<u64>,
    /// Which part of the whole this body is.
    pub range: Option<ContentRange>,
    /// A strong entity tag, with its quotes.
    pub etag: Option<String>,
    /// When it was changed last, as the server wrote it.
    pub last_modified: Option<String>,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// `Content-Range`: bytes `start` to `end` (not included) of `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// Length of the whole; `None` where the server does not know.
    pub total: Option<u64>,
}

impl Head {
    pub(crate) fn read(response: &reqwest::Response) -> Self {
        let headers = response.headers();
        let text = |name| text(headers, name);
        Self {
            status: response.status().as_u16(),
            length: response.content_length(),
            range: text(header::CONTENT_RANGE).and_then(|text| content_range(&text)),
            etag: text(header::ETAG).filter(|tag| tag.starts_with('"')),
            last_modified: text(header::LAST_MODIFIED),
            retry_after: text(header::RETRY_AFTER)
                .and_then(|when| retry_after(&when, text(header::DATE).as_deref())),
        }
    }

    /// What a later request can ask to be still the same: the tag, or else the date.
    pub(crate) fn validator(&self) -> Option<String> {
        self.etag.clone().or_else(|| self.last_modified.clone())
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.trim().to_owned())
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

/// Seconds, or a date: that is compared with the server's own, since the clock of a new node may be anywhere.
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

/// Seconds since 1970 of a date like `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may send.
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
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" || !(1970..10000).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    // years counted from March: the leap day is then the last day of a year
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 719468 days lie between 0000-03-01 and 1970-01-01
    Some((days.checked_sub(719_468)? * 24 + hours) * 3600 + minutes * 60 + seconds)
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
        // by our own clock where the server tells no time: long ago
        assert_eq!(retry_after(later, None), Some(Duration::ZERO));
    }
}
