//! Times, durations and amounts as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::time;

/// The current time, like `2026-11-22T04:05:06.789Z`.
pub fn now() -> String {
    rfc3339(SystemTime::now())
}

/// Formats a time like `2026-11-22T04:05:06.789Z`. Times before 1970 become 1970-01-01.
pub fn rfc3339(time: SystemTime) -> String {
    time::rfc3339(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Formats a duration: `0.4 s`, `12.3 s`, `3 min 07 s`, `1 h 02 min`.
pub fn short(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..60 => format!("{}.{} s", seconds, took.subsec_millis() / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats an amount of bytes for progress, rounded down to one decimal: `3.1 GiB`. Plans print exact sizes.
pub fn amount(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    for (unit, size) in UNITS {
        if bytes >= size {
            let tenths = u128::from(bytes)
                .saturating_mul(10)
                .checked_div(size.into())
                .unwrap_or_default();
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, text) in [
            (0, "0.0 s"),
            (449, "0.4 s"),
            (59_999, "59.9 s"),
            (187_000, "3 min 07 s"),
            (3_720_000, "1 h 02 min"),
        ] {
            assert_eq!(short(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn amounts_read_well_and_never_overflow() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }
}
