//! An output stream that drops everything after its first error instead of failing.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use host::nonblocking::PollingWriter;
use host::printable;

use super::outbox::{Class, Item, Limits, Outbox};

/// Writes lines, each by one call, until the first error; then drops them.
///
/// A lost ssh session closes standard output. That must not stop a run (DESIGN.md), so `EPIPE` and `EIO` end the output
/// only.
pub struct Sink(Mutex<Option<Box<dyn Write + Send>>>);

impl Sink {
    /// Writes to `stream`.
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(stream))))
    }

    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::of(io::stdout())
    }

    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self::of(io::stderr())
    }

    /// Uses a copy of the descriptor: a thread that a slow reader blocks then holds no lock of the standard library.
    fn of(stream: impl AsFd + Write + Send + 'static) -> Self {
        match PollingWriter::copy_of(&stream) {
            Ok(writer) => Self::new(writer),
            Err(_) => Self::new(stream),
        }
    }

    /// Writes `text` and a line end by one call.
    pub fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes `text`; control characters except line ends are escaped, since text may come from a server.
    pub fn text(&self, text: &str) {
        let text = printable::escape(text);
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = guard.as_mut() {
            let written = stream
                .write_all(text.as_bytes())
                .and_then(|()| stream.flush());
            if written.is_err() {
                *guard = None;
            }
        }
    }

    /// Whether an error has closed the stream.
    pub fn is_closed(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Prints from a thread of its own, for commands that have to finish though their output is not read. Dropping it
/// waits, for a bounded time, until everything was printed.
#[derive(Debug)]
pub struct Printer(Outbox<String>);

impl Printer {
    /// Prints to standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::new(Sink::stdout())
    }

    /// Prints to standard error.
    pub fn stderr() -> io::Result<Self> {
        Self::new(Sink::stderr())
    }

    fn new(sink: Sink) -> io::Result<Self> {
        Outbox::start(
            "printer",
            Limits::DEFAULT,
            move |item: Item<String>| match item {
                Item::Entry(text) => sink.text(&text),
                Item::Dropped(count) => sink.line(&format!("{count} lines are missing here")),
            },
        )
        .map(Self)
    }

    /// Prints `text` and a line end.
    pub fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Prints `text` without adding a line end.
    pub fn text(&self, text: &str) {
        self.0.put(text.to_owned(), Class::Line);
    }
}

/// An in-memory stream for tests; clones share the content.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(std::sync::Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Shared {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Hangup(std::sync::Arc<Mutex<u32>>);

    impl Write for Hangup {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            *self.0.lock().unwrap() += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_written_after_the_first_error() {
        let stream = Hangup::default();
        let sink = Sink::new(stream.clone());
        sink.line("one");
        sink.line("two");
        assert!(sink.is_closed());
        assert_eq!(*stream.0.lock().unwrap(), 1);
    }

    #[test]
    fn lines_arrive_in_one_piece() {
        let stream = Shared::default();
        let sink = Sink::new(stream.clone());
        sink.line("one");
        sink.line("two");
        assert_eq!(stream.text(), "one\ntwo\n");
    }
}
