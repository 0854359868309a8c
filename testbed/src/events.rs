//! Everything that was seen during a run, stamped when it was seen: console lines, requests, our own doings.
//!
//! Tests and the demo wait for events, never for time: a limit only says when to give up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A line on the node's serial console.
    Console,
    /// A request to the orchestrator.
    Orchestrator,
    /// Something the testbed did.
    Testbed,
}

/// One thing that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Time since the run began.
    pub(crate) at: Duration,
    /// Who saw it.
    pub(crate) source: Source,
    /// What it was.
    pub(crate) text: String,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Vec<Event>>,
    more: Condvar,
}

/// The list of what was seen, shared by all who see; clones share one list.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    start: Instant,
    inner: Arc<Inner>,
}

impl Events {
    /// An empty list whose time begins now.
    pub(crate) fn begin() -> Self {
        Self {
            start: Instant::now(),
            inner: Arc::default(),
        }
    }

    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.inner
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something seen now.
    pub(crate) fn saw(&self, source: Source, text: impl Into<String>) {
        self.saw_at(self.now(), source, text);
    }

    /// Notes something whose first sign was seen at `at`.
    pub(crate) fn saw_at(&self, at: Duration, source: Source, text: impl Into<String>) {
        self.lock().push(Event {
            at,
            source,
            text: text.into(),
        });
        self.inner.more.notify_all();
    }

    /// How many there are: a mark to wait from.
    pub(crate) fn mark(&self) -> usize {
        self.lock().len()
    }

    /// The first since `mark` for which `wanted` says yes, once there is one; `None` when `limit` has passed.
    ///
    /// `on_each` sees every happening on the way, once, in order.
    pub(crate) fn wait(
        &self,
        mark: usize,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
        mut on_each: impl FnMut(&Event),
    ) -> Option<(usize, Event)> {
        let give_up = Instant::now() + limit;
        let mut next = mark;
        let mut seen = self.lock();
        loop {
            while next < seen.len() {
                let happening = seen[next].clone();
                next += 1;
                drop(seen);
                on_each(&happening);
                if wanted(&happening) {
                    return Some((next, happening));
                }
                seen = self.lock();
            }
            let left = give_up.checked_duration_since(Instant::now())?;
            (seen, _) = self
                .inner
                .more
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_finds_what_comes_later_and_shows_what_came_before() {
        let events = Events::begin();
        events.saw(Source::Console, "one");
        let other = events.clone();
        let seer = std::thread::spawn(move || other.saw(Source::Orchestrator, "two"));
        let mut shown = Vec::new();
        let found = events.wait(
            0,
            Duration::from_mins(1),
            |h| h.text == "two",
            |h| shown.push(h.text.clone()),
        );
        seer.join().unwrap();
        assert_eq!(found.unwrap().0, 2);
        assert_eq!(shown, ["one", "two"]);
    }

    #[test]
    fn waiting_for_what_never_comes_ends() {
        let events = Events::begin();
        events.saw(Source::Testbed, "something else");
        assert!(
            events
                .wait(0, Duration::from_millis(1), |h| h.text == "never", |_| ())
                .is_none()
        );
    }
}
