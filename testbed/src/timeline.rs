//! The milestones of a run with their times, as text.

use std::fmt::Write;
use std::time::Duration;

/// Milestones in order.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    rows: Vec<(Duration, String)>,
}

impl Timeline {
    /// Adds a milestone.
    pub(crate) fn add(&mut self, at: Duration, what: impl Into<String>) {
        self.rows.push((at, what.into()));
    }

    /// Whether there is a milestone of that name.
    pub(crate) fn has(&self, what: &str) -> bool {
        self.rows.iter().any(|(_, row)| row == what)
    }

    /// One line for each milestone: its time, the time since the one before, and a bar for that.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let mut before = Duration::ZERO;
        let longest = self
            .rows
            .windows(2)
            .map(|w| w[1].0.saturating_sub(w[0].0))
            .max()
            .unwrap_or_default();
        for (at, what) in &self.rows {
            let took = at.saturating_sub(before);
            let _ = writeln!(
                text,
                "{:>7.1} s  {:>+7.1}  {what:<34} {}",
                at.as_secs_f64(),
                took.as_secs_f64(),
                bar(took, longest)
            );
            before = *at;
        }
        text
    }
}

/// A bar of up to 30 characters.
fn bar(took: Duration, longest: Duration) -> String {
    if longest.is_zero() {
        return String::new();
    }
    let share = took.as_secs_f64() / longest.as_secs_f64() * 30.0;
    (1..=30u8)
        .take_while(|n| f64::from(*n) <= share.round())
        .map(|_| '▪')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_step_has_the_full_bar() {
        let mut timeline = Timeline::default();
        timeline.add(Duration::ZERO, "power on");
        timeline.add(Duration::from_secs(10), "agent starts");
        timeline.add(Duration::from_secs(15), "installed");
        let text = timeline.render();
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.lines().nth(1).unwrap().ends_with(&"▪".repeat(30)),
            "{text}"
        );
        assert!(timeline.has("installed") && !timeline.has("login"));
    }
}
