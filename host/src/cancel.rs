//! A cancellation flag, set by SIGTERM and SIGINT, that long work polls.

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
    /// A new flag, not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A child flag for a part of the work: cancelled with its parent; cancelling it does not affect the parent.
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

    /// Sets the flag for good.
    pub fn cancel(&self) {
        self.set.store(true, Ordering::SeqCst);
    }

    /// Whether work has to stop: the flag is set and clean-up has not begun.
    pub fn is_cancelled(&self) -> bool {
        self.was_cancelled() && !self.cleaning_up.load(Ordering::SeqCst)
    }

    /// Whether the flag was ever set, whether or not clean-up has begun.
    pub fn was_cancelled(&self) -> bool {
        let mut flags = std::iter::once(&self.set).chain(&self.above);
        flags.any(|flag| flag.load(Ordering::SeqCst))
    }

    /// From now on the flag stops no work: clean-up has to start programs and wait for them although the flag is set.
    /// Clean-up is bounded by its own time limits.
    pub fn begin_clean_up(&self) {
        self.cleaning_up.store(true, Ordering::SeqCst);
    }

    /// Lets SIGTERM and SIGINT set this flag. `SIGHUP` does not: a lost ssh session must not stop a run.
    pub fn on_signals(&self) -> std::io::Result<()> {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&self.set))?;
        }
        Ok(())
    }
}

/// Ignores `SIGHUP` from now on. By a handler rather than `SIG_IGN`, which started programs would inherit.
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
