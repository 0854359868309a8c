//! Tables of rows and goals as text: for the terminal and for the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::goals::Ratio;
use crate::record::Summary;
use crate::row::{Link, Row, RowKind};
use crate::rows::ROWS;

const MIB: f64 = 1024.0 * 1024.0;

/// The cells of a table, line by line; the first line is the heading.
#[derive(Debug, Default)]
pub(crate) struct Cells(Vec<Vec<String>>);

impl Cells {
    fn with_heading(heading: &[&str]) -> Self {
        Self(vec![heading.iter().map(|&cell| cell.to_owned()).collect()])
    }

    /// For a terminal: the first two columns aligned to the left, figures to the right.
    pub(crate) fn plain(&self) -> String {
        let lines: Vec<Vec<String>> = self
            .0
            .iter()
            .map(|line| line.iter().map(|cell| cell.replace("**", "")).collect())
            .collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut text = String::new();
        for line in &lines {
            let cells: Vec<String> = line
                .iter()
                .enumerate()
                .map(|(column, cell)| {
                    let width = width(column);
                    if column < 2 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                })
                .collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        text
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.0.iter().enumerate() {
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if index == 0 {
                let marks = (0..line.len()).map(|column| if column < 2 { "---" } else { "---:" });
                let _ = writeln!(text, "|{}|", marks.collect::<Vec<_>>().join("|"));
            }
        }
        text
    }
}

/// The rows that were measured over `link`, with medians. `raw_gib` gives the unpacked size of a row's image in GiB.
pub(crate) fn rows(
    summaries: &BTreeMap<String, Summary>,
    link: Link,
    raw_gib: impl Fn(&Row) -> f64,
) -> Cells {
    let mut cells = Cells::with_heading(&[
        "row",
        "what",
        "wall s",
        "min-max",
        "n",
        "CPU s",
        "CPU s/GiB",
        "memory MiB",
        "device MiB",
        "busy",
    ]);
    for row in ROWS.iter().filter(|row| row.link == link) {
        let Some(summary) = summaries.get(row.name) else {
            continue;
        };
        cells.0.push(cells_of(row, summary, raw_gib(row)));
    }
    cells
}

fn cells_of(row: &Row, summary: &Summary, raw_gib: f64) -> Vec<String> {
    let name = match row.kind {
        RowKind::Ours => format!("**{}**", row.name),
        RowKind::Peer | RowKind::Limit => row.name.to_owned(),
    };
    let mut cells = vec![name, row.about.to_owned()];
    if let Some(error) = summary.errors.first() {
        let error: String = error.chars().take(100).collect();
        cells[1] = format!("{}: failed: {}", row.about, error.replace('|', "/"));
    }
    let (Some(wall), Some((least, most))) =
        (summary.median(|it| it.wall), summary.range(|it| it.wall))
    else {
        cells.resize(10, String::new());
        return cells;
    };
    let cpu = summary.median(|it| it.cpu).unwrap_or_default();
    let mib = |bytes: Option<f64>| format!("{:.0}", bytes.unwrap_or_default() / MIB);
    cells.extend([
        format!("{wall:.2}"),
        format!("{least:.2}-{most:.2}"),
        summary.count().to_string(),
        format!("{cpu:.2}"),
        format!("{:.2}", cpu / raw_gib),
        mib(summary.median(|it| it.peak)),
        mib(summary.median(|it| it.device_written)),
        format!(
            "{:.0} %",
            summary.median(|it| it.busy).unwrap_or_default() * 100.0
        ),
    ]);
    cells
}

/// The ratios and their goals. On a noisy machine no goal is called missed.
pub(crate) fn goals(ratios: &[Ratio], noisy: bool) -> Cells {
    let mut cells = Cells::with_heading(&["ours", "against", "ratio", "at most", ""]);
    for it in ratios {
        let (ratio, verdict) = match it.value {
            None => ("-".to_owned(), "not measured"),
            Some(ratio) if it.is_met() => (format!("{ratio:.2}"), "reached"),
            Some(ratio) if noisy => (format!("{ratio:.2}"), "not reached, noisy"),
            Some(ratio) => (format!("{ratio:.2}"), "**missed**"),
        };
        cells.0.push(vec![
            it.ours.clone(),
            it.against.clone(),
            ratio,
            format!("{:.2}", it.goal),
            verdict.to_owned(),
        ]);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample::walls;

    #[test]
    fn a_table_is_laid_out_for_terminals_and_for_pages() {
        let mut summaries = walls(&[("packed", 1.234), ("coreos-zst", 4.0)]);
        let failed = "exit status: 1: a | b".to_owned();
        summaries
            .entry("gz".to_owned())
            .or_default()
            .errors
            .push(failed);
        let cells = rows(&summaries, Link::Loopback, |_| 3.0);
        insta::assert_snapshot!(cells.plain(), @r"
        row         what                                        wall s    min-max  n  CPU s  CPU s/GiB  memory MiB  device MiB  busy
        packed      packed image                                  1.23  1.23-1.23  1   1.85       0.62          38        2861   0 %
        coreos-zst  coreos-installer, .zst                        4.00  4.00-4.00  1   6.00       2.00          38        2861   0 %
        gz          .gz, sha256: failed: exit status: 1: a / b
        ");
        insta::assert_snapshot!(cells.markdown(), @r"
        | row | what | wall s | min-max | n | CPU s | CPU s/GiB | memory MiB | device MiB | busy |
        |---|---|---:|---:|---:|---:|---:|---:|---:|---:|
        | **packed** | packed image | 1.23 | 1.23-1.23 | 1 | 1.85 | 0.62 | 38 | 2861 | 0 % |
        | coreos-zst | coreos-installer, .zst | 4.00 | 4.00-4.00 | 1 | 6.00 | 2.00 | 38 | 2861 | 0 % |
        | **gz** | .gz, sha256: failed: exit status: 1: a / b |  |  |  |  |  |  |  |  |
        ");
        assert_eq!(rows(&summaries, Link::Gigabit, |_| 3.0).0.len(), 1);
    }

    #[test]
    fn a_goal_is_reached_missed_or_not_measured() {
        let ratio = |value: Option<f64>| Ratio {
            ours: "a".to_owned(),
            against: "b".to_owned(),
            value,
            goal: 0.5,
        };
        let ratios = [ratio(Some(0.5)), ratio(Some(0.51)), ratio(None)];
        insta::assert_snapshot!(goals(&ratios, false).plain(), @r"
        ours  against  ratio  at most
        a     b         0.50     0.50       reached
        a     b         0.51     0.50        missed
        a     b            -     0.50  not measured
        ");
        assert!(goals(&ratios, true).plain().contains("not reached, noisy"));
    }
}
