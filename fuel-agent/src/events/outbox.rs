//! A queue with a writer thread: a stream that is not read blocks that thread only.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{Event, Events};

/// An item taken from an outbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<T> {
    /// An entry.
    Entry(T),
    /// The number of entries dropped at this place for want of room.
    Dropped(u64),
}

/// What happens to an entry if there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Dropped silently: the next one replaces it.
    Progress,
    /// Dropped, and counted in its place.
    Line,
    /// Never dropped; there are only a few of these per run.
    Kept,
}

/// Capacity and time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Queued entries from which lines are dropped; progress is dropped from a quarter of it.
    pub(crate) entries: usize,
    /// A flush ends if no entry was written for this long.
    pub(crate) stall: Duration,
    /// Longest flush.
    pub(crate) flush: Duration,
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self {
        entries: 256,
        stall: Duration::from_secs(2),
        flush: Duration::from_secs(10),
    };
}

/// The sending end. Putting an entry in never waits; dropping the outbox flushes it.
pub(crate) struct Outbox<T> {
    shared: Arc<Shared<T>>,
    limits: Limits,
}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

struct Queue<T> {
    waiting: VecDeque<Item<T>>,
    /// Whether the thread is writing an item.
    busy: bool,
    /// Items written so far.
    done: u64,
    /// `done` when a flush timed out: the next flush does not wait before it has changed.
    stalled_at: Option<u64>,
    closed: bool,
}

impl<T> Queue<T> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.busy
    }

    fn put(&mut self, entry: T, class: Class, entries: usize) {
        let has_room = match class {
            Class::Progress => self.waiting.len() < entries / 4,
            Class::Line => self.waiting.len() < entries,
            Class::Kept => true,
        };
        if has_room {
            self.waiting.push_back(Item::Entry(entry));
            return;
        }
        if class == Class::Line {
            match self.waiting.back_mut() {
                Some(Item::Dropped(count)) => *count = count.saturating_add(1),
                _ => self.waiting.push_back(Item::Dropped(1)),
            }
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next item; `None` after the last one.
    fn take(&self) -> Option<Item<T>> {
        let mut queue = self
            .changed
            .wait_while(self.lock(), |queue| {
                queue.waiting.is_empty() && !queue.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        let item = queue.waiting.pop_front();
        queue.busy = item.is_some();
        item
    }

    fn mark_written(&self) {
        let mut queue = self.lock();
        queue.busy = false;
        queue.done = queue.done.wrapping_add(1);
        drop(queue);
        self.changed.notify_all();
    }
}

impl<T: Send + 'static> Outbox<T> {
    /// Starts a thread with this name, which passes every item to `write`.
    pub(crate) fn start(
        name: &str,
        limits: Limits,
        mut write: impl FnMut(Item<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                busy: false,
                done: 0,
                stalled_at: None,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(item) = of_thread.take() {
                    write(item);
                    of_thread.mark_written();
                }
            })?;
        Ok(Self { shared, limits })
    }
}

impl<T> Outbox<T> {
    /// Queues an entry, or drops it.
    pub(crate) fn put(&self, entry: T, class: Class) {
        let mut queue = self.shared.lock();
        queue.put(entry, class, self.limits.entries);
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits for a bounded time until everything was written; returns whether it was.
    pub(crate) fn flush(&self) -> bool {
        let deadline = host::wait::deadline(self.limits.flush);
        let mut queue = self.shared.lock();
        while !queue.is_idle() {
            let before = queue.done;
            if queue.stalled_at == Some(before) {
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let (next, waited) = self
                .shared
                .changed
                .wait_timeout_while(queue, left.min(self.limits.stall), |queue| {
                    !queue.is_idle() && queue.done == before
                })
                .unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if waited.timed_out() {
                queue.stalled_at = Some(queue.done);
            }
        }
        true
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.flush();
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl<T> fmt::Debug for Outbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("waiting", &self.shared.lock().waiting.len())
            .finish_non_exhaustive()
    }
}

/// Runs a listener in a thread of its own, so that a blocked stream does not block the run.
#[derive(Debug)]
pub struct Background(Outbox<(SystemTime, Event)>);

impl Background {
    /// Starts the thread of `listener`.
    pub fn new(listener: impl Events + 'static) -> io::Result<Self> {
        Self::with_limits(listener, Limits::DEFAULT)
    }

    fn with_limits(listener: impl Events + 'static, limits: Limits) -> io::Result<Self> {
        let outbox = Outbox::start("events", limits, move |item| match item {
            Item::Entry((time, event)) => listener.emit_at(&event, time),
            Item::Dropped(count) => listener.emit(&Event::Warning {
                stage: None,
                message: format!("{count} messages are missing here: the output was not read"),
            }),
        })?;
        Ok(Self(outbox))
    }
}

impl Events for Background {
    fn emit(&self, event: &Event) {
        self.emit_at(event, SystemTime::now());
    }

    fn emit_at(&self, event: &Event, time: SystemTime) {
        let class = match event {
            Event::Progress { .. } => Class::Progress,
            Event::Step { .. } | Event::Note { .. } | Event::Warning { .. } => Class::Line,
            Event::StageStart { .. }
            | Event::StageEnd { .. }
            | Event::Error { .. }
            | Event::Report { .. } => Class::Kept,
        };
        self.0.put((time, event.clone()), class);
    }

    fn flush(&self) {
        if !self.0.flush() {
            tracing::warn!("the output is not read: its last messages were not printed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::lines::Lines;
    use super::super::sink::{Shared as Text, Sink};
    use super::*;
    use crate::model::stage::Stage;

    /// Room for four entries, and no time limit in practice.
    const SMALL: Limits = Limits {
        entries: 4,
        stall: Duration::from_hours(1),
        flush: Duration::from_hours(1),
    };

    /// A listener that is blocked until the gate opens.
    struct Blocked {
        gate_opened: Mutex<Receiver<()>>,
        lines: Lines,
    }

    impl Events for Blocked {
        fn emit_at(&self, event: &Event, time: SystemTime) {
            // an error means that the gate was dropped: it is open
            let _ = self.gate_opened.lock().unwrap().recv();
            self.lines.emit_at(event, time);
        }

        fn emit(&self, event: &Event) {
            self.emit_at(event, SystemTime::now());
        }
    }

    fn blocked(limits: Limits) -> (Background, Text, Sender<()>) {
        let (gate, gate_opened) = channel();
        let text = Text::default();
        let listener = Blocked {
            gate_opened: Mutex::new(gate_opened),
            lines: Lines::new(Sink::new(text.clone())),
        };
        let background = Background::with_limits(listener, limits).unwrap();
        (background, text, gate)
    }

    fn warning(number: usize) -> Event {
        Event::Warning {
            stage: None,
            message: format!("number {number}"),
        }
    }

    fn printed(text: &Text) -> Vec<String> {
        let text = text.text();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(_, rest)| rest.to_owned()).collect()
    }

    #[test]
    fn an_output_that_is_not_read_does_not_block_and_counts_what_is_missing() {
        let (background, text, gate) = blocked(SMALL);
        let stage = Stage::Image;
        background.emit(&Event::StageStart { stage });
        for number in 0..100 {
            background.emit(&warning(number));
            background.emit(&Event::Progress {
                stage,
                what: "/".to_owned(),
                done_bytes: 1,
                total_bytes: None,
            });
        }
        background.emit(&Event::StageEnd {
            stage,
            took: Duration::ZERO,
            ok: true,
        });
        assert_eq!(text.text(), "");
        drop(gate);
        background.flush();
        // the thread may have taken the first entry before the others came, so three or four of them had room
        let lines = printed(&text);
        let missing: Vec<&String> = lines.iter().filter(|it| it.contains("missing")).collect();
        let shown = lines.iter().filter(|it| it.contains("number")).count();
        let [missing] = missing.as_slice() else {
            panic!("{lines:?}")
        };
        let expected = format!("warning: {} messages are missing here", 100 - shown);
        assert!(missing.starts_with(&expected), "{lines:?}");
        assert_eq!(lines[0], "image: start");
        assert_eq!(lines.last().unwrap(), "image: done after 0.0 s");
    }

    #[test]
    fn a_flush_that_is_not_read_waits_once_and_for_a_bounded_time() {
        let (background, text, gate) = blocked(Limits {
            stall: Duration::from_millis(1),
            ..SMALL
        });
        background.emit(&warning(1));
        assert!(!background.0.flush());
        assert_eq!(background.0.shared.lock().stalled_at, Some(0));
        assert!(!background.0.flush());
        drop(background);
        assert_eq!(text.text(), "");
        drop(gate);
    }

    #[test]
    fn what_is_read_arrives_whole_and_in_order_before_the_end() {
        let text = Text::default();
        let lines = Lines::new(Sink::new(text.clone()));
        let background = Background::new(lines).unwrap();
        for number in 0..50 {
            background.emit(&warning(number));
        }
        background.flush();
        let expected: Vec<String> = (0..50).map(|n| format!("warning: number {n}")).collect();
        assert_eq!(printed(&text), expected);
    }

    #[test]
    fn times_are_those_of_the_events_however_late_they_are_printed() {
        let (background, text, gate) = blocked(SMALL);
        background.emit_at(&warning(1), SystemTime::UNIX_EPOCH);
        drop(gate);
        drop(background);
        assert_eq!(text.text(), "1970-01-01T00:00:00.000Z warning: number 1\n");
    }
}
