//! A flag that SIGTERM and SIGINT set, and that everything long asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A cancellation flag that long loops check. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    set: Arc<AtomicBool>,
    /// Parent flags: setting one of them cancels this one too.
    above: Vec<Arc<AtomicBool>>,
    cleaning_up: Arc<AtomicBool>,
}

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag for a part of the work: set by itself or by this one, and setting it leaves this one alone.
    #[must_use]
    pub fn below(&self) -> Self {
        let mut above = self.above.clone();
        above.push(Arc::clone(&self.set));
        Self {
            set: Arc::default(),
            above,
            cleaning_up: Arc::clone(&self.cleaning_up),
        }
    }

    /// Sets it. There is no way back.
    pub fn cancel(&self) {
        self.set.store(true, Ordering::SeqCst);
    }

    /// Whether work has to stop: it is set, and clean-up has not begun.
    pub fn is_cancelled(&self) -> bool {
        self.was_cancelled() && !self.cleaning_up.load(Ordering::SeqCst)
    }

    /// Whether it was ever set, clean-up or not.
    pub fn was_cancelled(&self) -> bool {
        let mut flags = std::iter::once(&self.set).chain(&self.above);
        flags.any(|flag| flag.load(Ordering::SeqCst))
    }

    /// From now on the flag stops no work: clean-up has to start programs and wait for them although the flag is set.
    /// Clean-up is bounded by its own time limits.
    pub fn begin_clean_up(&self) {
        self.cleaning_up.store(true, Ordering::SeqCst);
    }

    /// Lets the signals that mean "stop" set this flag. `SIGHUP` is not among them: a lost ssh session must not
    /// stop a run.
    pub fn on_signals(&self) -> std::io::Result<()> {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&self.set))?;
        }
        Ok(())
    }
}

/// Lets `SIGHUP` do nothing from now on. A handler of ours rather than `SIG_IGN`: that one programs we start would
/// inherit.
pub fn ignore_hangup() -> std::io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_stopped_with_the_whole_and_without_it() {
        let whole = Cancel::new();
        let (part, other) = (whole.below(), whole.below());
        let within = part.below();
        part.cancel();
        assert!(part.is_cancelled() && within.is_cancelled());
        assert!(!other.is_cancelled() && !whole.was_cancelled());
        whole.cancel();
        assert!(other.is_cancelled());
        whole.begin_clean_up();
        assert!(!other.is_cancelled() && !within.is_cancelled());
    }

    #[test]
    fn clean_up_goes_on_though_the_work_was_stopped() {
        let cancel = Cancel::new();
        let asked_elsewhere = cancel.clone();
        cancel.cancel();
        assert!(asked_elsewhere.is_cancelled());
        cancel.begin_clean_up();
        assert!(!asked_elsewhere.is_cancelled() && asked_elsewhere.was_cancelled());
    }
}
