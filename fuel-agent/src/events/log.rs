//! The log file: what happens, with the command lines and answers that `tracing` hears of. Never a secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Event, Events};

/// Passes events on to `tracing`, whose subscriber writes the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Events for Log {
    fn tell(&self, event: &Event) {
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
                    "odd"
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
}

/// Files that all get the same lines; one that cannot be written any more is left out from then on.
#[derive(Clone, Debug, Default)]
struct Files(Arc<Mutex<Vec<File>>>);

impl Write for Files {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain_mut(|file| file.write_all(bytes).is_ok());
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

/// Opens a log for appending; only its owner may read it.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Lets everything that `tracing` hears of be written to `files`, from now to the end of the process. Of our own crates
/// all but `trace` (that too when `verbose`), of others warnings: an HTTP library's chatter may hold tokens.
pub fn start(files: Vec<File>, verbose: bool) {
    let ours = if verbose {
        LevelFilter::TRACE
    } else {
        LevelFilter::DEBUG
    };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("fuel_agent", ours)
        .with_target("host", ours)
        .with_target("provision", ours);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Files(Arc::new(Mutex::new(files))));
    // A subscriber that is there already (a test's) stays; the log is then that one's affair.
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
        let mut files = Files(Arc::new(Mutex::new(vec![full, open(&path).unwrap()])));
        files.write_all(b"one\n").unwrap();
        files.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
