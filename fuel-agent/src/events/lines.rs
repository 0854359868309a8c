//! Plain lines, for serial consoles, log collectors and files. At most one progress line per second and transfer.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use host::printable;

use super::sink::Sink;
use super::{Event, Events, clock};
use crate::model::stage::Stage;

/// Interval between two progress lines.
const PROGRESS: Duration = Duration::from_secs(1);

/// Prints events as plain lines.
#[derive(Debug)]
pub struct Lines {
    sink: Sink,
    /// The last progress line of each transfer in this stage.
    last_lines: Mutex<Vec<LastLine>>,
}

/// The last progress line of one transfer.
#[derive(Debug)]
struct LastLine {
    stage: Stage,
    what: String,
    at: Option<Instant>,
    began: Instant,
    began_at: u64,
}

impl Lines {
    /// Writes to `sink`.
    pub fn new(sink: Sink) -> Self {
        Self {
            sink,
            last_lines: Mutex::default(),
        }
    }

    /// The progress line, if one is due.
    fn progress(&self, stage: Stage, what: &str, done: u64, total: Option<u64>) -> Option<String> {
        let mut last_lines = self
            .last_lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        last_lines.retain(|last| last.stage == stage);
        let known = last_lines.iter().position(|last| last.what == what);
        let place = known.unwrap_or(last_lines.len());
        if known.is_none() {
            last_lines.push(LastLine {
                stage,
                what: what.to_owned(),
                at: None,
                began: now,
                began_at: done,
            });
        }
        let last = last_lines.get_mut(place)?;
        let is_early = |at| now.duration_since(at) < PROGRESS && total != Some(done);
        if last.at.is_some_and(is_early) {
            return None;
        }
        last.at = Some(now);
        let rate = rate(
            done.saturating_sub(last.began_at),
            now.duration_since(last.began),
        );
        Some(moved(what, done, total, rate))
    }
}

/// Bytes per second; `None` before enough time has passed.
fn rate(bytes: u64, took: Duration) -> Option<u64> {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let rate = bytes.saturating_mul(1000).checked_div(millis);
    rate.filter(|_| millis >= 100)
}

/// `root: 1.2 GiB of 3.1 GiB, 38 %, 110.0 MiB/s`
fn moved(what: &str, done: u64, total: Option<u64>, rate: Option<u64>) -> String {
    let mut text = format!("{what}: {}", clock::amount(done));
    if let Some(total) = total {
        let percent = u128::from(done).saturating_mul(100);
        let percent = percent.checked_div(total.max(1).into()).unwrap_or_default();
        let _ = write!(text, " of {}, {percent} %", clock::amount(total));
    }
    if let Some(rate) = rate {
        let _ = write!(text, ", {}/s", clock::amount(rate));
    }
    text
}

impl Events for Lines {
    fn emit(&self, event: &Event) {
        self.emit_at(event, SystemTime::now());
    }

    fn emit_at(&self, event: &Event, time: SystemTime) {
        let line = match event {
            Event::StageStart { stage } => format!("{stage}: start"),
            Event::StageEnd { stage, took, ok } => {
                let outcome = if *ok { "done" } else { "failed" };
                format!("{stage}: {outcome} after {}", clock::short(*took))
            }
            Event::Step {
                stage,
                number,
                of,
                what,
            } => format!("{stage}: step {number} of {of}: {what}"),
            Event::Progress {
                stage,
                what,
                done_bytes,
                total_bytes,
            } => match self.progress(*stage, what, *done_bytes, *total_bytes) {
                Some(text) => format!("{stage}: {text}"),
                None => return,
            },
            Event::Note { stage, message } => format!("{stage}: {message}"),
            Event::Warning { stage, message } => match stage {
                Some(stage) => format!("{stage}: warning: {message}"),
                None => format!("warning: {message}"),
            },
            Event::Error { stage, message, .. } => format!("{stage}: error: {message}"),
            // the sub-command prints the summary, for `plain` and for a terminal alike
            Event::Report { .. } => return,
        };
        let line = printable::escape_line(&line);
        self.sink.line(&format!("{} {line}", clock::rfc3339(time)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::Shared;
    use super::*;

    fn printed(events: &[Event]) -> String {
        let stream = Shared::default();
        let lines = Lines::new(Sink::new(stream.clone()));
        for event in events {
            lines.emit(event);
        }
        let mut text = String::new();
        for line in stream.text().lines() {
            let (time, rest) = line.split_once(' ').unwrap();
            assert_eq!(time.len(), "2026-11-22T04:05:06.789Z".len());
            text = text + rest + "\n";
        }
        text
    }

    #[test]
    fn a_run_reads_like_a_list() {
        let stage = Stage::Image;
        let text = printed(&[
            Event::StageStart { stage },
            Event::Step {
                stage,
                number: 4,
                of: 9,
                what: "write root.img.gz to /dev/sda2".to_owned(),
            },
            Event::Progress {
                stage,
                what: "/".to_owned(),
                done_bytes: 1 << 30,
                total_bytes: Some(3 << 30),
            },
            Event::Warning {
                stage: None,
                message: "disk full".to_owned(),
            },
            Event::Error {
                stage,
                message: "no answer".to_owned(),
                device: None,
                hint: None,
                retryable: true,
                touched: true,
            },
            Event::StageEnd {
                stage,
                took: Duration::from_secs(187),
                ok: false,
            },
        ]);
        insta::assert_snapshot!(text, @r"
        image: start
        image: step 4 of 9: write root.img.gz to /dev/sda2
        image: /: 1.0 GiB of 3.0 GiB, 33 %
        warning: disk full
        image: error: no answer
        image: failed after 3 min 07 s
        ");
    }

    #[test]
    fn text_from_a_server_cannot_forge_a_line_or_move_the_cursor() {
        let text = printed(&[Event::Warning {
            stage: Some(Stage::Image),
            message: "digest `\u{1b}]0;owned\u{7}\n2026-01-01T00:00:00Z closeup: done`".to_owned(),
        }]);
        insta::assert_snapshot!(text, @r"image: warning: digest `\u001b]0;owned\u0007\n2026-01-01T00:00:00Z closeup: done`");
    }

    #[test]
    fn progress_is_reported_at_most_once_a_second_and_at_its_end() {
        let moved = |done_bytes| Event::Progress {
            stage: Stage::Image,
            what: "/".to_owned(),
            done_bytes,
            total_bytes: Some(1 << 20),
        };
        let text = printed(&[moved(0), moved(1), moved(2), moved(1 << 20)]);
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn two_at_the_same_time_do_not_make_each_other_due() {
        let moved = |what: &str, done_bytes| Event::Progress {
            stage: Stage::Image,
            what: what.to_owned(),
            done_bytes,
            total_bytes: Some(1 << 20),
        };
        let text = printed(&[
            moved("/", 0),
            moved("/srv", 0),
            moved("/", 1),
            moved("/srv", 1),
        ]);
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_rate_needs_some_time() {
        assert_eq!(rate(1000, Duration::from_millis(99)), None);
        assert_eq!(rate(1000, Duration::from_millis(500)), Some(2000));
        assert_eq!(
            rate(u64::MAX, Duration::from_secs(1)),
            Some(u64::MAX / 1000)
        );
    }
}
