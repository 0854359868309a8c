//! Dates in UTC, without a calendar library.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::fmt;

/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;

/// A moment of the Gregorian calendar, in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Year, from 0.
    pub year: u64,
    /// Month, from 1.
    pub month: u64,
    /// Day of the month, from 1.
    pub day: u64,
    /// Hour, below 24.
    pub hour: u64,
    /// Minute, below 60.
    pub minute: u64,
    /// Second, below 60; 60 is a leap second.
    pub second: u64,
}

impl DateTime {
    /// The moment `seconds` after the beginning of 1970.
    ///
    /// Counted in years that begin in March, so that the leap day is a year's last day, and in eras of 400 years, after
    /// which the calendar repeats.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the days of 2^64 seconds are far from an overflow, and what is subtracted is a part of the rest"
    )]
    pub const fn since_1970(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + DAYS_BEFORE_1970;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        Self {
            year: era * 400 + year_of_era + if month <= 2 { 1 } else { 0 },
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// Seconds since the beginning of 1970; `None` for earlier moments and for those that the calendar does not
    /// have.
    pub fn seconds_since_1970(self) -> Option<u64> {
        let is_date = (1..=12).contains(&self.month) && (1..=31).contains(&self.day);
        let is_time = self.hour < 24 && self.minute < 60 && self.second <= 60;
        if !is_date || !is_time {
            return None;
        }
        let (year, month) = match self.month.checked_sub(3) {
            Some(march_month) => (self.year, march_month),
            None => (self.year.checked_sub(1)?, self.month.checked_add(9)?),
        };
        let before = month.checked_mul(153)?.checked_add(2)? / 5;
        let days = year
            .checked_mul(365)?
            .checked_add(year / 4)?
            .checked_sub(year / 100)?
            .checked_add(year / 400)?
            .checked_add(before)?
            .checked_add(self.day)?
            .checked_sub(1)?
            .checked_sub(DAYS_BEFORE_1970)?;
        let found = Self::since_1970(days.checked_mul(86_400)?);
        if (found.year, found.month, found.day) != (self.year, self.month, self.day) {
            return None;
        }
        let hours = days.checked_mul(24)?.checked_add(self.hour)?;
        let minutes = hours.checked_mul(60)?.checked_add(self.minute)?;
        minutes.checked_mul(60)?.checked_add(self.second)
    }
}

impl fmt::Display for DateTime {
    /// As in RFC 3339, without fractions and zone: `2026-11-22T04:05:06`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_what_date_says() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (1_735_689_600, "2025-01-01T00:00:00"),
            (1_795_320_305, "2026-11-22T04:05:05"),
            (u64::from(u32::MAX), "2106-02-07T06:28:15"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (u64::MAX, "584554051223-11-09T07:00:15"),
        ] {
            assert_eq!(DateTime::since_1970(seconds).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_moment_since_1970_has_no_seconds() {
        let good = DateTime::since_1970(951_782_400);
        let earlier = DateTime { year: 1969, ..good };
        let far = DateTime {
            year: u64::MAX,
            ..good
        };
        let thirteenth = DateTime { month: 13, ..good };
        let zeroth = DateTime { day: 0, ..good };
        let late = DateTime { hour: 24, ..good };
        let thirtieth = DateTime { day: 30, ..good };
        for bad in [earlier, far, thirteenth, zeroth, thirtieth, late] {
            assert_eq!(bad.seconds_since_1970(), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn moments_are_read_back(seconds: u64) {
            prop_assert_eq!(DateTime::since_1970(seconds).seconds_since_1970(), Some(seconds));
        }
    }
}
