//! The goals: ratios of two figures of one run of the bench, each with the most that it may be.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::changed::Difference;
use crate::record::{Figures, Summary, to_f64};

/// The most memory that the agent may take, in bytes.
const MEMORY: f64 = 64.0 * 1024.0 * 1024.0;

/// A ratio and its goal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// The row or figure of the agent.
    pub(crate) ours: String,
    /// What it is compared with.
    pub(crate) against: String,
    /// The first divided by the second; `None` if one of them was not measured or failed.
    pub(crate) value: Option<f64>,
    /// The most that it may be.
    pub(crate) goal: f64,
}

impl Ratio {
    /// Whether it was measured and is at most the goal.
    pub(crate) fn is_met(&self) -> bool {
        self.value.is_some_and(|value| value <= self.goal)
    }
}

/// A row of the agent, the rows with whose largest wall time it is compared, and the goal.
const WALL: [(&str, &[&str], f64); 10] = [
    ("packed", &["coreos-zst"], 0.35),
    ("packed", &["curl-zstd"], 0.40),
    ("packed", &["ironic-raw"], 0.20),
    ("packed", &["fuel-gz"], 0.10),
    ("packed", &["bmaptool-zst"], 0.30),
    (
        "packed",
        &["limit-decode", "limit-write-data-parallel"],
        1.40,
    ),
    ("packed-1g", &["limit-fetch-packed-1g"], 1.10),
    ("zst", &["coreos-zst"], 0.75),
    ("gz", &["coreos-gz"], 0.65),
    ("delta-1g", &["newer-1g"], 0.50),
];

/// Rows whose peak memory is compared with [`MEMORY`].
const MEMORY_BOUNDED: [&str; 9] = [
    "packed",
    "zst",
    "gz",
    "raw",
    "packed-1g",
    "packed-10g",
    "delta-1g",
    "packed-half",
    "packed-quarter",
];

/// All ratios. `changed` is what an update has to transfer and write at least.
pub(crate) fn ratios(
    summaries: &BTreeMap<String, Summary>,
    changed: Option<Difference>,
) -> Vec<Ratio> {
    let figure = |row: &str, figure: fn(&Figures) -> f64| {
        let summary = summaries.get(row)?;
        // A row with a failed run has no ratio.
        summary.errors.is_empty().then(|| summary.median(figure))?
    };
    let wall = |row: &str| figure(row, |it| it.wall);
    let mut ratios = Vec::new();
    let mut add = |ours: &str, against: &str, value: Option<f64>, goal: f64| {
        ratios.push(Ratio {
            ours: ours.to_owned(),
            against: against.to_owned(),
            value,
            goal,
        });
    };
    for (ours, against, goal) in WALL {
        let theirs: Option<Vec<f64>> = against.iter().map(|row| wall(row)).collect();
        let largest = theirs.and_then(|all| all.into_iter().reduce(f64::max));
        let ratio = wall(ours).zip(largest).map(|(ours, theirs)| ours / theirs);
        let name = match against {
            [one] => (*one).to_owned(),
            many => format!("the larger of {}", many.join(" and ")),
        };
        add(ours, &name, ratio, goal);
    }
    for row in MEMORY_BOUNDED {
        let ratio = figure(row, |it| it.peak).map(|peak| peak / MEMORY);
        add(&format!("{row}: peak memory"), "64 MiB", ratio, 1.0);
    }
    let sizes = ["packed", "packed-half", "packed-quarter"].map(|row| figure(row, |it| it.peak));
    let sizes: Option<Vec<f64>> = sizes.into_iter().collect();
    let spread = sizes.and_then(|peaks| {
        let largest = peaks.iter().copied().reduce(f64::max)?;
        Some(largest / peaks.into_iter().reduce(f64::min)?)
    });
    let (ours, against) = (
        "the largest peak memory of packed, packed-half, packed-quarter",
        "the smallest of them",
    );
    add(ours, against, spread, 1.10);
    let by = |row: &str, read: fn(&Figures) -> f64, of: fn(Difference) -> u64| {
        Some(figure(row, read)? / to_f64(of(changed?)))
    };
    add(
        "delta-1g: bytes fetched",
        "changed chunks, packed",
        by("delta-1g", |it| it.fetched, |it| it.packed),
        1.10,
    );
    add(
        "delta-1g: bytes written",
        "changed chunks, unpacked",
        by("delta-1g", |it| it.device_written, |it| it.raw),
        1.10,
    );
    ratios
}

/// The content of results.json.
pub(crate) fn to_json(ratios: &[Ratio]) -> Value {
    let all = ratios.iter().map(|it| {
        let rounded = it.value.map(|value| (value * 1000.0).round() / 1000.0);
        json!({"ours": it.ours, "against": it.against, "ratio": rounded, "goal": it.goal})
    });
    Value::Array(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample::walls;
    use crate::rows::ROWS;

    fn find(ratios: &[Ratio], ours: &str, against: &str) -> Ratio {
        let mut all = ratios.iter();
        let found = all.find(|it| it.ours == ours && it.against.contains(against));
        found.unwrap().clone()
    }

    #[test]
    fn every_goal_is_about_rows_that_exist() {
        let is_row = |name: &str| ROWS.iter().any(|row| row.name == name);
        for (ours, against, _) in WALL {
            assert!(is_row(ours), "{ours}");
            assert!(against.iter().all(|row| is_row(row)), "{against:?}");
        }
        assert!(MEMORY_BOUNDED.iter().all(|row| is_row(row)));
        let compared = |name: &str| {
            WALL.iter()
                .any(|(ours, against, _)| *ours == name || against.contains(&name))
        };
        assert!(
            ROWS.iter()
                .all(|row| !(row.every_other_round && compared(row.name)))
        );
    }

    #[test]
    fn ratio_is_to_the_largest_of_several_rows() {
        let summaries = walls(&[
            ("packed", 1.5),
            ("coreos-zst", 3.0),
            ("limit-decode", 1.0),
            ("limit-write-data-parallel", 1.2),
        ]);
        let ratios = ratios(&summaries, None);
        let coreos = find(&ratios, "packed", "coreos-zst");
        assert_eq!((coreos.value, coreos.is_met()), (Some(0.5), false));
        let limit = find(&ratios, "packed", "larger of");
        assert_eq!((limit.value, limit.is_met()), (Some(1.25), true));
        let missing = find(&ratios, "packed", "fuel");
        assert_eq!((missing.value, missing.is_met()), (None, false));
    }

    #[test]
    fn a_row_with_a_failed_run_has_no_ratio() {
        let mut summaries = walls(&[("zst", 1.0), ("coreos-zst", 3.0)]);
        let all = ratios(&summaries, None);
        assert!(find(&all, "zst", "coreos-zst").is_met());
        let failed = "exit status: 1".to_owned();
        summaries.get_mut("coreos-zst").unwrap().errors.push(failed);
        let all = ratios(&summaries, None);
        assert_eq!(find(&all, "zst", "coreos-zst").value, None);
    }

    #[test]
    fn a_result_has_four_keys_and_null_for_a_missing_ratio() {
        let json = to_json(&ratios(&walls(&[("gz", 1.0), ("coreos-gz", 3.0)]), None));
        let all = json.as_array().unwrap();
        let gz = all.iter().find(|it| it["ours"] == "gz").unwrap();
        assert_eq!(
            gz,
            &json!({"ours": "gz", "against": "coreos-gz", "ratio": 0.333, "goal": 0.65})
        );
        assert!(all.iter().any(|it| it["ratio"].is_null()));
    }
}
