//! The results as files: results.json, the measured part of bench.md, bench.svg.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::goals::{self, Ratio};
use crate::plot;
use crate::record::Summary;
use crate::row::{Link, Row};
use crate::rows;
use crate::table;

/// The text of the page between these marks is replaced.
const BEGIN: &str = "<!-- measured -->\n";
const END: &str = "<!-- end -->\n";

/// The machine is noisy if more than this share of it was busy before the runs.
const NOISE: f64 = 0.10;

/// The results of a run of the bench.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) summaries: BTreeMap<String, Summary>,
    pub(crate) ratios: Vec<Ratio>,
    /// Rows that were not measured, and the reasons.
    pub(crate) missing: Vec<(&'static str, String)>,
    /// The machine, a line each.
    pub(crate) machine: Vec<String>,
    /// The tools with their versions.
    pub(crate) versions: Vec<String>,
    /// Load averages before the first round and after each.
    pub(crate) loads: Vec<String>,
}

impl Results {
    /// The share of the machine that was busy before the runs: the median over the rows.
    fn busy(&self) -> f64 {
        let all = self.summaries.values();
        let mut all: Vec<f64> = all.filter_map(|it| it.median(|it| it.busy)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    fn is_noisy(&self) -> bool {
        self.busy() > NOISE
    }

    /// How busy the machine was, and what that means for the figures.
    pub(crate) fn noise(&self) -> String {
        let (busy, loads) = (self.busy() * 100.0, self.loads.join(", "));
        let verdict = if self.is_noisy() {
            "noisy: other programs were running, and the figures are upper bounds"
        } else {
            "quiet"
        };
        format!(
            "{busy:.0} % of the machine was busy before the runs (median); load averages {loads}: {verdict}"
        )
    }

    /// The tables, for a terminal.
    pub(crate) fn text(&self, raw_gib: impl Fn(&Row) -> f64 + Copy) -> String {
        let mut text = String::new();
        for (link, title) in LINKS {
            let cells = table::rows(&self.summaries, link, raw_gib).plain();
            if cells.lines().count() > 1 {
                let _ = writeln!(text, "\n{title}\n\n{cells}");
            }
        }
        if !self.ratios.is_empty() {
            let goals = table::goals(&self.ratios, self.is_noisy()).plain();
            let _ = writeln!(text, "\nGoals\n\n{goals}");
        }
        for (row, why) in &self.missing {
            let _ = writeln!(text, "not measured: {row}: {why}");
        }
        let _ = writeln!(text, "{}", self.noise());
        text
    }

    fn markdown(&self, raw_gib: impl Fn(&Row) -> f64 + Copy) -> String {
        let mut text = String::new();
        for line in &self.machine {
            let _ = writeln!(text, "* {line}");
        }
        let _ = writeln!(text, "* {}", self.noise());
        let _ = writeln!(text, "* tools: {}", self.versions.join("; "));
        for (link, title) in LINKS {
            let cells = table::rows(&self.summaries, link, raw_gib).markdown();
            if cells.lines().count() > 2 {
                let _ = writeln!(text, "\n## {title}\n\n{cells}");
            }
        }
        let goals = table::goals(&self.ratios, self.is_noisy()).markdown();
        let _ = writeln!(text, "## Goals\n\n{goals}");
        if !self.missing.is_empty() {
            let _ = writeln!(text, "## Not measured\n");
            for (row, why) in &self.missing {
                let _ = writeln!(text, "* {row}: {why}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "## Commands\n\n```text\n{}```", rows::commands());
        text
    }

    /// Writes results.json.
    pub(crate) fn write_json(&self, work: &Path) -> Result<()> {
        let text = format!("{:#}\n", goals::to_json(&self.ratios));
        fs::write(work.join("results.json"), text).context("cannot write results.json")
    }

    /// Replaces the measured part of bench.md, and writes bench.svg.
    pub(crate) fn write_docs(
        &self,
        docs: &Path,
        raw_gib: impl Fn(&Row) -> f64 + Copy,
    ) -> Result<()> {
        let page = docs.join("bench.md");
        let text =
            fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        let text = replace_measured(&text, &self.markdown(raw_gib))
            .with_context(|| format!("{} has no `{}`", page.display(), BEGIN.trim()))?;
        fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
        let drawing = docs.join("bench.svg");
        fs::write(&drawing, plot::draw(&self.summaries))
            .with_context(|| format!("cannot write {}", drawing.display()))
    }
}

const LINKS: [(Link, &str); 3] = [
    (Link::Loopback, "No limit but the machine"),
    (Link::Gigabit, "Network at 1 Gbit/s"),
    (Link::TenGigabit, "Network at 10 Gbit/s"),
];

/// The page with `measured` between its marks; `None` if it has no marks.
fn replace_measured(page: &str, measured: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{measured}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let new = replace_measured(&page, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}new\n{END}after\n"));
        assert_eq!(replace_measured("a page without marks", "new"), None);
    }

    #[test]
    fn the_page_of_the_manual_has_the_marks() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench.md");
        let text = fs::read_to_string(page).unwrap();
        assert!(replace_measured(&text, "").is_some());
    }
}
