//! Times as text.

use std::time::Duration;

use host::calendar::DateTime;

/// Formats a time, which is given as what has passed since 1970, like `2026-11-22T04:05:06.789Z`.
pub fn rfc3339(since: Duration) -> String {
    let (date, millis) = (DateTime::since_1970(since.as_secs()), since.subsec_millis());
    format!("{date}.{millis:03}Z")
}

/// Reads a time like `2026-11-22T04:05:06Z`, with a fraction or an offset too; `None` where it is none, or is before
/// 1970. Fractions are cut.
pub fn parse_rfc3339(text: &str) -> Option<Duration> {
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    let is = |at: usize, wanted: &str| {
        text.get(at..=at)
            .is_some_and(|found| wanted.contains(found))
    };
    let is_formed = is(4, "-") && is(7, "-") && is(10, "Tt ") && is(13, ":") && is(16, ":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let date = DateTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    };
    let offset = match text.get(19..)? {
        rest if rest.starts_with('.') => {
            let rest = rest.get(1..)?;
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < rest.len()).then_some(zone)?
        }
        zone => zone,
    };
    let minutes = minutes(offset)?;
    let seconds = date.seconds_since_1970()?;
    let seconds = seconds.checked_add_signed(minutes.checked_mul(-60)?)?;
    is_formed.then(|| Duration::from_secs(seconds))
}

/// Minutes of an offset from UTC: `Z`, or like `+02:00`.
fn minutes(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |digits: &str| -> Option<i64> {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours.checked_mul(60)?.checked_add(minutes)?;
    let all = (hours < 24 && minutes < 60).then_some(all)?;
    match zone.get(..1)? {
        "+" => Some(all),
        "-" => all.checked_neg(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for seconds in [
            0,
            951_782_400,
            951_868_800,
            1_709_251_199,
            1_735_689_600,
            4_107_542_400,
        ] {
            let time = Duration::from_secs(seconds);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        }
        let time = Some(Duration::from_secs(1_795_320_305));
        for text in [
            "2026-11-22T04:05:05Z",
            "2026-11-22t04:05:05z",
            "2026-11-22 04:05:05Z",
            "2026-11-22T04:05:05.999Z",
            "2026-11-22T06:05:05+02:00",
            "2026-11-21T23:35:05-04:30",
        ] {
            assert_eq!(parse_rfc3339(text), time, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T04:05:05",
            "2026-11-22T04:05:05.Z",
            "2026-11-22T04:05:05 Z",
            "2026-11-22T04:05:05+0200",
            "2026-11-22T04:05:05+02:60",
            "2026-11-22T24:05:05Z",
            "2026-02-29T04:05:05Z",
            "2026-13-01T04:05:05Z",
            "2026-00-01T04:05:05Z",
            "2026-01-00T04:05:05Z",
            "2026/11/22T04:05:05Z",
            "+026-11-22T04:05:05Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "1970-01-01T00:00:00+00:01",
            "2026-11-22T04:05:0\u{e9}Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn milliseconds_are_kept() {
        let time = Duration::from_millis(1_042);
        assert_eq!(rfc3339(time), "1970-01-01T00:00:01.042Z");
    }
}
