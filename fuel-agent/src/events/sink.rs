//! A stream that goes quiet, instead of failing, when its reader has gone.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Writes lines, each in one piece, until the first error; from then on it drops them.
///
/// A lost ssh session closes our standard output. That must not stop a run (DESIGN.md), so `EPIPE` and `EIO` end the
/// telling and nothing else.
pub struct Sink(Mutex<Option<Box<dyn Write + Send>>>);

impl Sink {
    /// Writes to `stream`.
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(stream))))
    }

    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::new(std::io::stdout())
    }

    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self::new(std::io::stderr())
    }

    /// Writes `text` and a line end, at once.
    pub fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes `text` as it is.
    pub fn text(&self, text: &str) {
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

    /// Whether its reader has gone.
    pub fn is_quiet(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("quiet", &self.is_quiet())
            .finish()
    }
}

/// A stream for tests whose content can be read while others write to it.
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
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Hangup(std::sync::Arc<Mutex<u32>>);

    impl Write for Hangup {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            *self.0.lock().unwrap() += 1;
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_asked_once_and_then_left_alone() {
        let stream = Hangup::default();
        let sink = Sink::new(stream.clone());
        sink.line("one");
        sink.line("two");
        assert!(sink.is_quiet());
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
