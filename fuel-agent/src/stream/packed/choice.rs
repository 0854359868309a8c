//! Decides whether reading the disk is worth it: a pure function of what was measured.

use crate::model::report::WriteMode;
use crate::source::policy::DeltaPolicy;

/// Result of sampling a few chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Chunks sampled.
    pub(super) sampled: usize,
    /// Chunks of these whose beginning on the disk is zeros.
    pub(super) blank: usize,
    /// Chunks of these that the disk holds.
    pub(super) held: usize,
    /// Number of the last chunk that the disk holds.
    pub(super) last_held: Option<usize>,
}

/// The write mode to begin with, and the reason.
pub(super) fn first(
    policy: DeltaPolicy,
    ranges: bool,
    sample: impl FnOnce() -> Sample,
) -> (WriteMode, String) {
    match policy {
        DeltaPolicy::Never => return (WriteMode::Full, "`delta=never` is set".to_owned()),
        DeltaPolicy::Always => return (WriteMode::Delta, "`delta=always` is set".to_owned()),
        DeltaPolicy::Auto => {}
    }
    if !ranges {
        let why = "the server does not support ranges";
        return (WriteMode::Full, why.to_owned());
    }
    let Sample {
        sampled,
        blank,
        held,
        ..
    } = sample();
    if sampled == 0 {
        return (WriteMode::Full, "the image is small".to_owned());
    }
    if blank == sampled {
        return (WriteMode::Full, "the target is blank".to_owned());
    }
    if held == 0 {
        let why = format!("the target holds none of {sampled} chunks that were sampled");
        return (WriteMode::Full, why);
    }
    let why = format!("the target holds {held} of {sampled} chunks that were sampled");
    (WriteMode::Delta, why)
}

/// Measurements while the disk is checked. Rates are bytes per second, `None` before the first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Measured {
    /// Chunks that the disk was checked for.
    pub(super) checked: usize,
    /// Chunks of these that the disk held.
    pub(super) matched: usize,
    /// Reading and digesting the disk.
    pub(super) reading: Option<f64>,
    /// Fetching from all servers, packed bytes.
    pub(super) fetching: Option<f64>,
    /// Unpacking and writing.
    pub(super) working: Option<f64>,
    /// Packed bytes per raw byte of data.
    pub(super) packed_share: f64,
}

/// Chunks to check before a decision is made.
const CHECKED_LEAST: usize = 16;

/// Whether writing in full is faster than checking. Checking a byte costs 1/reading seconds and saves 1/writing with
/// the probability that the disk holds it. Checking gets a bonus of a tenth, since it spares the server and the disk.
pub(super) fn is_checking_too_slow(measured: &Measured) -> bool {
    let (Some(reading), Some(fetching), Some(working)) =
        (measured.reading, measured.fetching, measured.working)
    else {
        return false;
    };
    if measured.checked < CHECKED_LEAST {
        return false;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::as_conversions,
        reason = "counts of chunks are far below 2^52"
    )]
    let chance = measured.matched as f64 / measured.checked as f64;
    let writing = (fetching / measured.packed_share.max(0.001)).min(working);
    reading * chance * 1.1 < writing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sampled: usize, blank: usize, held: usize) -> Sample {
        Sample {
            sampled,
            blank,
            held,
            last_held: None,
        }
    }

    #[test]
    fn only_a_target_that_holds_something_is_read() {
        for (sampled, blank, held, way) in [
            (0, 0, 0, WriteMode::Full),
            (8, 8, 0, WriteMode::Full),
            (8, 3, 0, WriteMode::Full),
            (8, 3, 1, WriteMode::Delta),
            (8, 0, 8, WriteMode::Delta),
        ] {
            let (found, why) = first(DeltaPolicy::Auto, true, || sample(sampled, blank, held));
            assert_eq!(found, way, "{why}");
        }
    }

    #[test]
    fn an_explicit_policy_needs_no_sample() {
        let unused = || unreachable!("no probe is needed");
        assert_eq!(first(DeltaPolicy::Always, true, unused).0, WriteMode::Delta);
        assert_eq!(
            first(DeltaPolicy::Always, false, unused).0,
            WriteMode::Delta
        );
        assert_eq!(first(DeltaPolicy::Never, true, unused).0, WriteMode::Full);
        // whether the disk holds something does not matter if the server sends all of it anyway
        assert_eq!(first(DeltaPolicy::Auto, false, unused).0, WriteMode::Full);
    }

    #[test]
    fn the_disk_is_read_where_that_costs_less_than_it_saves() {
        let gigabit = Measured {
            checked: 100,
            matched: 95,
            reading: Some(1.7e9),
            fetching: Some(1.18e8),
            working: Some(1.5e9),
            packed_share: 0.33,
        };
        assert!(!is_checking_too_slow(&gigabit));
        let fast_network = Measured {
            fetching: Some(2e9),
            reading: Some(1e9),
            ..gigabit
        };
        assert!(is_checking_too_slow(&fast_network));
        let nothing_there = Measured {
            matched: 1,
            ..gigabit
        };
        assert!(is_checking_too_slow(&nothing_there));
        let slow_disk = Measured {
            working: Some(2e8),
            reading: Some(4e8),
            ..fast_network
        };
        assert!(!is_checking_too_slow(&slow_disk));
        for unknown in [
            Measured {
                reading: None,
                ..fast_network
            },
            Measured {
                fetching: None,
                ..fast_network
            },
            Measured {
                checked: 15,
                matched: 0,
                ..fast_network
            },
        ] {
            assert!(!is_checking_too_slow(&unknown), "{unknown:?}");
        }
    }
}
