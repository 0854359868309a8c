//! Samples, appended to a file so that an interrupted run can be resumed, and their medians.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One run of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Name of the row.
    pub(crate) row: String,
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// The figures; the error of a run that failed.
    pub(crate) outcome: Result<Figures, String>,
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of CPU.
    pub(crate) cpu: f64,
    /// Peak of resident memory, in bytes.
    pub(crate) peak: f64,
    /// Bytes read from the device, as the kernel counts them.
    pub(crate) device_read: f64,
    /// Bytes written to the device, as the kernel counts them; zeroing counts as writing.
    pub(crate) device_written: f64,
    /// Bytes that the agent has fetched, as it reports them; 0 for other tools.
    pub(crate) fetched: f64,
    /// The share of all CPUs that was busy before the run, from 0 to 1.
    pub(crate) busy: f64,
}

/// A figure: its key in the file, and how it is read and set.
type Field = (
    &'static str,
    fn(&Figures) -> f64,
    fn(&mut Figures) -> &mut f64,
);

const FIELDS: [Field; 7] = [
    ("wall_s", |it| it.wall, |it| &mut it.wall),
    ("cpu_s", |it| it.cpu, |it| &mut it.cpu),
    ("peak_bytes", |it| it.peak, |it| &mut it.peak),
    (
        "device_read_bytes",
        |it| it.device_read,
        |it| &mut it.device_read,
    ),
    (
        "device_written_bytes",
        |it| it.device_written,
        |it| &mut it.device_written,
    ),
    ("fetched_bytes", |it| it.fetched, |it| &mut it.fetched),
    ("busy_before", |it| it.busy, |it| &mut it.busy),
];

impl Sample {
    fn to_json(&self) -> Value {
        let mut object = json!({"row": self.row, "round": self.round});
        match &self.outcome {
            Ok(figures) => {
                for (name, read, _) in FIELDS {
                    object[name] = json!(read(figures));
                }
            }
            Err(error) => object["error"] = json!(error),
        }
        object
    }

    fn from_json(value: &Value) -> Option<Self> {
        let row = value["row"].as_str()?.to_owned();
        let round = value["round"].as_u64()?.try_into().ok()?;
        let outcome = if let Some(error) = value["error"].as_str() {
            Err(error.to_owned())
        } else {
            let mut figures = Figures::default();
            for (name, _, place) in FIELDS {
                *place(&mut figures) = value[name].as_f64()?;
            }
            Ok(figures)
        };
        Some(Self {
            row,
            round,
            outcome,
        })
    }
}

/// The samples of a bench and their file.
#[derive(Debug)]
pub(crate) struct Samples {
    path: PathBuf,
    all: Vec<Sample>,
}

impl Samples {
    /// Makes a new file, or with `resume` reads the samples that it has. The first line has the `conditions`: samples
    /// under other conditions are dropped.
    pub(crate) fn open(path: &Path, conditions: &str, resume: bool) -> Result<Self> {
        let mut samples = Self {
            path: path.to_owned(),
            all: Vec::new(),
        };
        if resume && let Some(kept) = samples.read(conditions)? {
            samples.all = kept;
            return Ok(samples);
        }
        let first = json!({ "conditions": conditions }).to_string() + "\n";
        fs::write(path, first).context("cannot write the samples")?;
        Ok(samples)
    }

    fn read(&self, conditions: &str) -> Result<Option<Vec<Sample>>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("cannot read the samples"),
        };
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
        let same = lines
            .next()
            .is_some_and(|it| it["conditions"] == conditions);
        // A line that an interrupt has cut off is no sample: it is measured again.
        Ok(same.then(|| lines.filter_map(|line| Sample::from_json(&line)).collect()))
    }

    /// Adds a sample, to the file too.
    pub(crate) fn add(&mut self, sample: Sample) -> Result<()> {
        let line = sample.to_json().to_string() + "\n";
        self.all.push(sample);
        let mut file = File::options()
            .append(true)
            .open(&self.path)
            .context("cannot open the samples")?;
        file.write_all(line.as_bytes())
            .context("cannot write the samples")
    }

    /// Whether there is a sample of this row and round.
    pub(crate) fn has(&self, row: &str, round: u32) -> bool {
        self.all
            .iter()
            .any(|sample| sample.row == row && sample.round == round)
    }

    /// The samples by row.
    pub(crate) fn summaries(&self) -> BTreeMap<String, Summary> {
        let mut summaries: BTreeMap<String, Summary> = BTreeMap::new();
        for sample in &self.all {
            let summary = summaries.entry(sample.row.clone()).or_default();
            match &sample.outcome {
                Ok(figures) => summary.runs.push(*figures),
                Err(error) => summary.errors.push(error.clone()),
            }
        }
        summaries
    }
}

/// The samples of one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    runs: Vec<Figures>,
    /// Errors of the runs that failed. A row with errors has no ratio.
    pub(crate) errors: Vec<String>,
}

impl Summary {
    /// Number of successful runs.
    pub(crate) fn count(&self) -> usize {
        self.runs.len()
    }

    /// The median of a figure; `None` without a successful run.
    pub(crate) fn median(&self, figure: fn(&Figures) -> f64) -> Option<f64> {
        let sorted = self.sorted(figure);
        let middle = sorted.len() / 2;
        let upper = sorted.get(middle)?;
        if sorted.len() % 2 == 1 {
            return Some(*upper);
        }
        let lower = sorted.get(middle.checked_sub(1)?)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// The smallest and the largest of a figure.
    pub(crate) fn range(&self, figure: fn(&Figures) -> f64) -> Option<(f64, f64)> {
        let sorted = self.sorted(figure);
        Some((*sorted.first()?, *sorted.last()?))
    }

    fn sorted(&self, figure: fn(&Figures) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts of bytes and ticks below 2^52"
)]
pub(crate) const fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(crate) mod sample {
    use super::*;

    /// Summaries of rows with one run of this wall time.
    pub(crate) fn walls(rows: &[(&str, f64)]) -> BTreeMap<String, Summary> {
        let summary = |wall: f64| Summary {
            runs: vec![Figures {
                wall,
                peak: 40e6,
                cpu: wall * 1.5,
                device_written: 3e9,
                ..Figures::default()
            }],
            errors: Vec::new(),
        };
        rows.iter()
            .map(|(row, wall)| ((*row).to_owned(), summary(*wall)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(row: &str, round: u32, wall: f64) -> Sample {
        let figures = Figures {
            wall,
            cpu: 1.5,
            ..Figures::default()
        };
        Sample {
            row: row.to_owned(),
            round,
            outcome: Ok(figures),
        }
    }

    #[test]
    fn samples_are_resumed_under_the_same_conditions_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples");
        let mut samples = Samples::open(&path, "one", false).unwrap();
        samples.add(sample("a", 1, 2.0)).unwrap();
        let mut failed = sample("b", 1, 0.0);
        failed.outcome = Err("exit status: 1".to_owned());
        samples.add(failed).unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"row\": \"cut o").unwrap();
        let again = Samples::open(&path, "one", true).unwrap();
        assert_eq!(again.all, samples.all);
        assert!(again.has("a", 1) && !again.has("a", 2));
        assert_eq!(Samples::open(&path, "other", true).unwrap().all, []);
        assert_eq!(Samples::open(&path, "other", false).unwrap().all, []);
    }

    #[test]
    fn a_row_has_a_median_and_a_range() {
        let folder = tempfile::tempdir().unwrap();
        let mut samples = Samples::open(&folder.path().join("s"), "c", false).unwrap();
        for (round, wall) in [(1, 5.0), (2, 1.0), (3, 2.0)] {
            samples.add(sample("odd", round, wall)).unwrap();
        }
        for (round, wall) in [(1, 4.0), (2, 1.0)] {
            samples.add(sample("even", round, wall)).unwrap();
        }
        let summaries = samples.summaries();
        let wall = |row: &str| summaries[row].median(|it| it.wall);
        assert_eq!((wall("odd"), wall("even")), (Some(2.0), Some(2.5)));
        assert_eq!(summaries["odd"].range(|it| it.wall), Some((1.0, 5.0)));
        assert_eq!(Summary::default().median(|it| it.wall), None);
    }
}
