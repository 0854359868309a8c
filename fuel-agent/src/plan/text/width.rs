//! How wide a plan's text may be: a terminal has an edge, a file has none.

use super::map;

/// Width of the text where the caller gives none.
const WIDE: usize = 104;
/// Narrower than this nothing can be read at a glance any more.
const NARROW: usize = 72;

/// The page that a plan is printed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Width(Option<usize>);

impl Width {
    /// A terminal of so many columns; lines are broken at its edge.
    pub const fn of(columns: usize) -> Self {
        Self(Some(columns))
    }

    /// The columns that tables and maps are laid out for.
    pub(in crate::plan) fn columns(self) -> usize {
        self.0.unwrap_or(WIDE).clamp(NARROW, WIDE)
    }

    /// Whether there is less room than everything takes.
    pub(in crate::plan) fn is_narrow(self) -> bool {
        self.columns() < WIDE
    }

    /// Columns of a map of a disk.
    pub(in crate::plan) fn map(self) -> usize {
        self.columns().min(map::WIDTH)
    }

    /// How wide the first column of a table is, whose longest entry has so many characters.
    pub(in crate::plan) fn first_column(self, longest: usize) -> usize {
        if self.is_narrow() { longest } else { 26 }
    }

    /// The line, broken at spaces where it would go beyond the edge; what follows is indented.
    pub(in crate::plan) fn wrapped(self, line: &str) -> Vec<String> {
        let edge = self.0.map_or(usize::MAX, |columns| columns.max(NARROW));
        let indent = line.len() - line.trim_start().len() + 6;
        let mut lines = Vec::new();
        let mut rest = line.to_owned();
        while rest.chars().count() > edge
            && let Some(at) = break_at(&rest, edge)
        {
            lines.push(rest[..at].trim_end().to_owned());
            rest = " ".repeat(indent) + rest[at..].trim_start();
        }
        lines.push(rest);
        lines
    }
}

/// Where to break a line: at the last space before the edge that has a word in front of it, else at the first one
/// beyond.
fn break_at(line: &str, edge: usize) -> Option<usize> {
    let word = line.find(|c| c != ' ')?;
    let mut found = None;
    for (column, (at, c)) in line.char_indices().enumerate() {
        if c != ' ' || at < word {
            continue;
        }
        if column > edge && found.is_some() {
            break;
        }
        found = Some(at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_at_spaces_and_goes_on_indented() {
        let page = Width::of(72);
        let words = format!("  {}", ["partition"; 14].join(" "));
        let lines = page.wrapped(&words);
        assert_eq!(lines.len(), 3);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 72),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("        partition"), "{lines:?}");
        let together: Vec<&str> = lines
            .iter()
            .flat_map(|line| line.split_whitespace())
            .collect();
        assert_eq!(together.len(), 14);
    }

    #[test]
    fn what_has_no_space_stays_whole_and_a_file_has_no_edge() {
        let url = format!("warning   {} is odd", "x".repeat(90));
        assert_eq!(Width::of(80).wrapped(&url).len(), 3);
        assert_eq!(Width::default().wrapped(&url).concat(), url);
        let word = "x".repeat(90);
        assert_eq!(Width::of(80).wrapped(&word).concat(), word);
    }
}
