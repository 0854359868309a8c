//! The log file: all events, and the command lines and output that go to `tracing`. Secrets never do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use host::nonblocking::{self, PollingWriter};
use host::printable;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::outbox::{Class, Item, Limits, Outbox};
use super::{Event, Events};

/// Passes events on to `tracing`, whose subscriber writes the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Events for Log {
    fn emit(&self, event: &Event) {
        match event {
            Event::StageStart { stage } => tracing::info!(%stage, "stage start"),
            Event::StageEnd { stage, took, ok } => {
                tracing::info!(%stage, ok, ms = super::json::millis(*took), "stage end");
            }
            Event::Step {
                stage,
                number,
                of,
                what,
            } => tracing::info!(%stage, step = number, of, what, "step"),
            Event::Progress {
                stage,
                what,
                done_bytes,
                total_bytes,
            } => tracing::trace!(%stage, what, done_bytes, total_bytes, "progress"),
            Event::Note { stage, message } => tracing::info!(%stage, message, "note"),
            Event::Warning { stage, message } => {
                tracing::warn!(
                    stage = stage.map(crate::model::stage::Stage::name),
                    message,
                    "warning"
                );
            }
            Event::Error {
                stage,
                message,
                device,
                hint,
                retryable,
                touched,
            } => {
                tracing::error!(%stage, message, device, hint, retryable, touched, "failed");
            }
            Event::Report { report, .. } => tracing::info!(%report, "report"),
        }
    }

    fn flush(&self) {
        flush();
    }
}

/// A log: a regular file, or a FIFO or console that may block its writer.
#[derive(Debug)]
pub struct LogFile(Kind);

#[derive(Debug)]
enum Kind {
    Regular(File),
    /// Written by a thread; lines without room are dropped and counted in the log.
    Special(Outbox<Vec<u8>>),
}

impl LogFile {
    fn special(file: File, limits: Limits) -> io::Result<Self> {
        let mut writer = Some(PollingWriter::new(file));
        let outbox = Outbox::start("log", limits, move |item: Item<Vec<u8>>| {
            let bytes = match item {
                Item::Entry(bytes) => bytes,
                Item::Dropped(count) => {
                    format!("{count} lines of the log are missing here: it was not read\n")
                        .into_bytes()
                }
            };
            // nothing is written after the first error
            writer = writer
                .take()
                .and_then(|mut it| it.write_all(&bytes).is_ok().then_some(it));
        })?;
        Ok(Self(Kind::Special(outbox)))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Regular(file) => file.write_all(bytes),
            Kind::Special(outbox) => {
                outbox.put(bytes.to_owned(), Class::Line);
                Ok(())
            }
        }
    }
}

/// Files that all get the same lines; a file is dropped after its first error.
#[derive(Clone, Debug, Default)]
struct Files(Arc<Mutex<Vec<LogFile>>>);

impl Files {
    fn flush(&self) {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files.iter() {
            if let Kind::Special(outbox) = &file.0 {
                outbox.flush();
            }
        }
    }
}

/// The logs of this process, set by [`start`].
static FILES: OnceLock<Files> = OnceLock::new();

/// Waits for a bounded time until everything was written.
pub fn flush() {
    if let Some(files) = FILES.get() {
        files.flush();
    }
}

impl Write for Files {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // each call brings one complete line, whose text may come from a server or a disk
        let text = String::from_utf8_lossy(bytes);
        let safe = printable::escape(&text);
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain_mut(|file| file.write(safe.as_bytes()).is_ok());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Files {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Opens a log for appending. A new file is readable by its owner only. A FIFO or console is written to as it is; a
/// FIFO without a reader is an error.
pub fn open(path: &Path) -> io::Result<LogFile> {
    let is_special = |it: fs::Metadata| !it.is_file() && !it.is_dir();
    if fs::metadata(path).is_ok_and(is_special) {
        return LogFile::special(nonblocking::open(path)?, Limits::DEFAULT);
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    Ok(LogFile(Kind::Regular(file)))
}

/// Starts writing all `tracing` output to `files`, until the process ends. Of our own crates everything but `trace`
/// (that too with `verbose`), of others warnings only, since the debug output of an HTTP library may hold tokens.
pub fn start(files: Vec<LogFile>, verbose: bool) {
    let ours = if verbose {
        LevelFilter::TRACE
    } else {
        LevelFilter::DEBUG
    };
    let files = Files(Arc::new(Mutex::new(files)));
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("fuel_agent", ours)
        .with_target("host", ours)
        .with_target("provision", ours);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(files.clone());
    let _ = FILES.set(files);
    // a subscriber that exists already (a test's) stays in place
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(layer)
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        open(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_full_disk_does_not_stop_the_other_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = LogFile(Kind::Regular(full));
        let mut files = Files(Arc::new(Mutex::new(vec![full, open(&path).unwrap()])));
        files.write_all(b"one\n").unwrap();
        files.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_device_is_written_into_and_stays_what_it_is() {
        use std::os::unix::fs::FileTypeExt;
        let null = Path::new("/dev/null");
        let mut files = Files(Arc::new(Mutex::new(vec![open(null).unwrap()])));
        files.write_all(b"one\n").unwrap();
        files.flush();
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_log_that_is_not_read_does_not_block_the_run() {
        let (reader, writer) = io::pipe().unwrap();
        let limits = Limits {
            stall: std::time::Duration::from_millis(1),
            ..Limits::DEFAULT
        };
        let log = LogFile::special(File::from(std::os::fd::OwnedFd::from(writer)), limits);
        let mut files = Files(Arc::new(Mutex::new(vec![log.unwrap()])));
        let line = vec![b'x'; 4096];
        // far more than a pipe and the queue hold
        for _ in 0..2000 {
            files.write_all(&line).unwrap();
        }
        files.flush();
        drop(reader);
    }
}
