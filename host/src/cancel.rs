//! A flag that SIGTERM, SIGINT and SIGHUP set, and that everything long asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asked by loops that may be long: "has somebody told us to stop?". Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that nobody has set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it. There is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Lets the signals that mean "stop" set this flag. `SIGHUP` is not among them: a lost ssh session must not
    /// stop a run.
    pub fn on_signals(&self) -> std::io::Result<()> {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&self.0))?;
        }
        Ok(())
    }
}
