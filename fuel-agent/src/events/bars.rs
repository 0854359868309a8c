//! For a terminal: one line per finished stage, and a spinner or a bar for the current one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use host::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::joint::Joint;
use super::{Event, Events, clock};
use crate::model::stage::Stage;

/// Redraws per second, at most.
const HERTZ: u8 = 5;

/// Draws events on standard output, which is a terminal.
#[derive(Debug)]
pub struct Bars {
    bar: ProgressBar,
    shown: Mutex<Shown>,
}

/// State of the bar.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    stage: Option<Stage>,
    what: String,
    total: Option<u64>,
    /// The current transfers.
    moving: Joint,
    /// Bytes moved in this stage before the current transfers.
    moved: u64,
}

impl Shown {
    fn all_moved(&self) -> u64 {
        self.moved.saturating_add(self.moving.done())
    }
}

/// A finished stage, in one line.
fn ended(stage: Stage, took: Duration, ok: bool, moved: u64) -> String {
    let mark = if ok { "ok" } else { "failed" };
    let name = stage.name();
    let mut line = format!("  {name:<12} {mark:<8} {:>10}", clock::short(took));
    if moved > 0 {
        line = line + "   " + &clock::amount(moved);
    }
    line
}

impl Bars {
    /// `stdout` has to be a terminal.
    pub fn stdout() -> Self {
        Self::on(ProgressDrawTarget::stdout_with_hz(HERTZ))
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            shown: Mutex::default(),
        }
    }

    fn stage_start(&self, stage: Stage) {
        let mut shown = self.lock();
        *shown = Shown {
            stage: Some(stage),
            ..Shown::default()
        };
        self.spin();
        self.bar.set_prefix(stage.name());
        self.bar.set_message("");
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn spin(&self) {
        self.bar
            .set_style(style("  {prefix:<12} {spinner} {wide_msg}"));
        self.bar.unset_length();
    }

    fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        let mut shown = self.lock();
        let is_first = shown.moving.is_empty();
        shown.moving.moved(what, done, total);
        let (what, total) = (shown.moving.what(), shown.moving.total());
        if is_first || shown.what != what || shown.total != total {
            shown.what.clone_from(&what);
            shown.total = total;
            self.bar.reset_eta();
            match total {
                Some(total) => {
                    self.bar.set_length(total);
                    self.bar.set_style(style(
                        "  {prefix:<12} {msg} [{bar:24}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
                    ));
                }
                None => self.bar.set_style(style(
                    "  {prefix:<12} {msg} {spinner} {bytes}  {bytes_per_sec}",
                )),
            }
            self.message(&what);
        }
        self.bar.set_position(shown.moving.done());
    }

    fn line(&self, text: &str) {
        self.bar.println(printable::escape_line(text));
    }

    fn message(&self, text: &str) {
        self.bar
            .set_message(printable::escape_line(text).into_owned());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parses a template; falls back to indicatif's default style.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars("-\\|/ ")
}

impl Events for Bars {
    fn emit(&self, event: &Event) {
        match event {
            Event::StageStart { stage } => self.stage_start(*stage),
            Event::StageEnd { stage, took, ok } => {
                self.bar.disable_steady_tick();
                let moved = self.lock().all_moved();
                self.line(&ended(*stage, *took, *ok, moved));
                self.bar.finish_and_clear();
                self.bar.reset();
            }
            Event::Step { what, .. } => {
                let mut shown = self.lock();
                if !shown.moving.is_empty() {
                    shown.moved = shown.all_moved();
                    shown.moving.clear();
                    self.spin();
                }
                self.message(what);
            }
            Event::Progress {
                what,
                done_bytes,
                total_bytes,
                ..
            } => self.progress(what, *done_bytes, *total_bytes),
            Event::Note { message, .. } => self.line(&format!("  {message}")),
            Event::Warning { message, .. } => self.line(&format!("  warning: {message}")),
            // `main` prints the error, the sub-command the report
            Event::Error { .. } | Event::Report { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        for template in [
            "  {prefix:<12} {spinner} {wide_msg}",
            "  {prefix:<12} {msg} [{bar:24}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
            "  {prefix:<12} {msg} {spinner} {bytes}  {bytes_per_sec}",
        ] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_stage_that_moved_bytes_prints_how_many() {
        let took = Duration::from_secs(30);
        let line = ended(Stage::Image, took, true, 3 << 30);
        assert_eq!(line, "  image        ok           30.0 s   3.0 GiB");
        let line = ended(Stage::Lvm, took, false, 0);
        assert_eq!(line, "  lvm          failed       30.0 s");
    }

    #[test]
    fn a_terminal_that_has_gone_is_no_error() {
        let bars = Bars::on(ProgressDrawTarget::hidden());
        let stage = Stage::Image;
        bars.emit(&Event::StageStart { stage });
        for done_bytes in [1, 2] {
            bars.emit(&Event::Progress {
                stage,
                what: "/".to_owned(),
                done_bytes,
                total_bytes: Some(2),
            });
        }
        assert_eq!(bars.bar.position(), 2);
        // a second transfer at the same time: the bar shows both
        bars.emit(&Event::Progress {
            stage,
            what: "/srv".to_owned(),
            done_bytes: 3,
            total_bytes: Some(4),
        });
        assert_eq!(bars.bar.position(), 5);
        assert_eq!(bars.bar.length(), Some(6));
        assert_eq!(bars.bar.message(), "2 images");
        // and one after both
        bars.emit(&Event::Step {
            stage,
            number: 3,
            of: 3,
            what: "write".to_owned(),
        });
        bars.emit(&Event::Progress {
            stage,
            what: "/var".to_owned(),
            done_bytes: 1,
            total_bytes: Some(1),
        });
        assert_eq!(bars.bar.position(), 1);
        assert_eq!(bars.lock().all_moved(), 6);
        bars.emit(&Event::StageEnd {
            stage,
            took: Duration::ZERO,
            ok: true,
        });
    }
}
