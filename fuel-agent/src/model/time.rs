//! RFC 3339 times in UTC, without a calendar library.

use std::time::Duration;

/// Formats a time, which is given as what has passed since 1970, like `2026-11-22T04:05:06.789Z`.
pub fn rfc3339(since: Duration) -> String {
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
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
    let days = days(year, month, day)?;
    let is_time = hour < 24 && minute < 60 && second < 61;
    let offset = match text.get(19..)? {
        rest if rest.starts_with('.') => {
            let rest = rest.get(1..)?;
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < rest.len()).then_some(zone)?
        }
        zone => zone,
    };
    let minutes = minutes(offset)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = seconds.checked_add_signed(minutes.checked_mul(-60)?)?;
    (is_formed && is_time).then(|| Duration::from_secs(seconds))
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
    let all = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    match zone.get(..1)? {
        "+" => Some(all),
        "-" => Some(-all),
        _ => None,
    }
}

/// Days from 1970-01-01 to a day of the calendar; `None` where there is no such day, or it is before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let march_year = if month > 2 {
        year
    } else {
        year.checked_sub(1)?
    };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = 365 * march_year + march_year / 4 - march_year / 100 + march_year / 400 + of_year;
    let days = days.checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of the `days`th day after 1970-01-01.
///
/// Counted in years that begin in March, so that the leap day is a year's last day, and in eras of 400 years, after
/// which the calendar repeats.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> String {
        rfc3339(Duration::from_secs(seconds))
    }

    #[test]
    fn times_are_what_date_says() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (1_795_320_305, "2026-11-22T04:05:05.000Z"),
        ] {
            assert_eq!(at(seconds), text);
        }
    }

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
