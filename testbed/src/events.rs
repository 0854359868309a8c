//! Everything that is observed during a run, with its time: console lines, requests to the orchestrator, power on and
//! off.
//!
//! Scenarios and the demo wait for events, never for a time: a timeout only says when to give up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where an event was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A line on the node's serial console.
    Console,
    /// A request to the orchestrator: method, target and status.
    Orchestrator,
    /// An action of the testbed.
    Testbed,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Time since the start of the run.
    pub(crate) at: Duration,
    /// Where it was observed.
    pub(crate) source: Source,
    /// The console line, the request or the action.
    pub(crate) text: String,
}

#[derive(Debug, Default)]
struct Shared {
    events: Mutex<Vec<Event>>,
    added: Condvar,
}

/// The events of a run in order. Clones share one list.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    start: Instant,
    shared: Arc<Shared>,
}

impl Events {
    /// An empty list; the run starts now.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            shared: Arc::default(),
        }
    }

    /// Time since the start of the run.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.shared
            .events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event that was observed now.
    pub(crate) fn record(&self, source: Source, text: impl Into<String>) {
        self.record_at(self.now(), source, text);
    }

    /// Adds an event that was observed at `at`.
    pub(crate) fn record_at(&self, at: Duration, source: Source, text: impl Into<String>) {
        self.lock().push(Event {
            at,
            source,
            text: text.into(),
        });
        self.shared.added.notify_all();
    }

    /// The number of events so far: waiting from this mark on sees only later ones.
    pub(crate) fn mark(&self) -> usize {
        self.lock().len()
    }

    /// Waits for the first event since `mark` that is `wanted`: the mark after it, and the event. `None` at the
    /// timeout.
    ///
    /// `on_each` gets every event up to and including that one, once, in order.
    pub(crate) fn wait(
        &self,
        mark: usize,
        timeout: Duration,
        wanted: impl Fn(&Event) -> bool,
        mut on_each: impl FnMut(&Event),
    ) -> Option<(usize, Event)> {
        let deadline = Instant::now() + timeout;
        let mut next = mark;
        let mut events = self.lock();
        loop {
            while next < events.len() {
                let event = events[next].clone();
                next += 1;
                drop(events);
                on_each(&event);
                if wanted(&event) {
                    return Some((next, event));
                }
                events = self.lock();
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            (events, _) = self
                .shared
                .added
                .wait_timeout(events, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_sees_earlier_events_and_ends_at_a_later_one() {
        let events = Events::new();
        events.record(Source::Console, "one");
        let other = events.clone();
        let recorder = std::thread::spawn(move || other.record(Source::Orchestrator, "two"));
        let mut seen = Vec::new();
        let found = events.wait(
            0,
            Duration::from_mins(1),
            |event| event.text == "two",
            |event| seen.push(event.text.clone()),
        );
        recorder.join().unwrap();
        assert_eq!(found.unwrap().0, 2);
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn waiting_ends_at_the_timeout() {
        let events = Events::new();
        events.record(Source::Testbed, "something else");
        let found = events.wait(
            0,
            Duration::from_millis(1),
            |event| event.text == "never",
            |_| (),
        );
        assert!(found.is_none());
    }
}
