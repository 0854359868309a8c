//! Waiting for a condition: within a time limit, with growing pauses between two attempts. The only module that may
//! sleep.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]
#![expect(
    clippy::disallowed_methods,
    reason = "this file is where waiting is allowed"
)]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::exec::{Cmd, Exec, ExecError, Output};

/// The first pause; each is twice as long as the one before, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_millis(200);

/// The moment `limit` from now. A limit that the clock cannot count to is as good as none: it ends in a century.
pub fn deadline(limit: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_hours(24 * 365 * 100);
    let now = Instant::now();
    let end = now.checked_add(limit);
    end.or_else(|| now.checked_add(CENTURY)).unwrap_or(now)
}

/// Calls `probe` until it returns a value, at least once and a last time at the end of `limit`; then
/// [`io::ErrorKind::TimedOut`]. An error of `probe` ends the wait.
pub fn until<T>(
    limit: Duration,
    mut probe: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    let deadline = deadline(limit);
    let mut pause = SHORTEST;
    loop {
        // The clock is read before the attempt: one that began in time counts, however long it took.
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if left.is_zero() {
            let what = format!("nothing after {} ms", limit.as_millis());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        thread::sleep(pause.min(left));
        pause = pause.saturating_mul(2).min(LONGEST);
    }
}

/// Like [`until`], but a set `cancel` ends it with [`io::ErrorKind::Interrupted`].
pub fn until_or_cancelled<T>(
    limit: Duration,
    cancel: &Cancel,
    mut probe: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    until(limit, || {
        if cancel.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        probe()
    })
}

/// Retries while the kernel returns `EBUSY`, up to `limit`; then returns that error.
pub fn while_busy<T, E: Into<io::Error>>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> io::Result<T> {
    let found = until(limit, || match attempt().map_err(Into::into) {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(None),
        Err(other) => Err(other),
    });
    found.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => io::Error::from(nix::errno::Errno::EBUSY),
        _ => error,
    })
}

/// Runs a tool, and again while it reports that another program holds a device, up to `limit`; returns its last result.
/// Programs that probe every new device (udev, scanners) release it in a moment, and tools that need exclusive access
/// fail before they change anything.
pub fn run_while_busy(
    exec: &mut dyn Exec,
    cmd: &Cmd,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Output, ExecError> {
    let is_busy = |done: &Result<Output, ExecError>| done.as_ref().is_err_and(ExecError::is_busy);
    let mut last = exec.run(cmd);
    if is_busy(&last) {
        // However the wait ends, the tool's last result is returned.
        let _ = until_or_cancelled(limit, cancel, || {
            last = exec.run(cmd);
            Ok((!is_busy(&last)).then_some(()))
        });
    }
    last
}

/// Sleeps for `length`, as between retries; `false` where `cancel` was set meanwhile.
pub fn pause(length: Duration, cancel: &Cancel) -> bool {
    let waited = until_or_cancelled(length, cancel, || Ok(None::<()>));
    waited.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_at_once_is_found_with_no_time_at_all() {
        assert_eq!(until(Duration::ZERO, || Ok(Some(7))).unwrap(), 7);
    }

    #[test]
    fn a_limit_beyond_what_the_clock_counts_is_far_away_and_no_panic() {
        let year = Duration::from_hours(24 * 365);
        let before = Instant::now();
        assert!(deadline(Duration::MAX) > before + year);
        assert!(deadline(Duration::ZERO) >= before);
        assert!(deadline(year) >= before + year);
    }

    #[test]
    fn what_comes_later_is_found() {
        let mut looks = 0;
        let found = until(Duration::from_mins(1), || {
            looks += 1;
            Ok((looks == 4).then_some(looks))
        });
        assert_eq!(found.unwrap(), 4);
    }

    #[test]
    fn what_never_comes_ends_in_an_error() {
        let error = until(Duration::from_millis(3), || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_error_of_the_look_ends_the_wait() {
        let error = until(Duration::from_mins(1), || {
            Err::<Option<()>, _>(io::Error::other("gone"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "gone");
    }

    #[test]
    fn a_set_flag_ends_the_wait() {
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(!pause(Duration::from_mins(1), &cancel));
    }

    #[test]
    fn busy_is_tried_again_and_stays_busy_in_the_end() {
        use nix::errno::Errno;
        let mut answers = [Err(Errno::EBUSY), Err(Errno::EBUSY), Ok(5)].into_iter();
        assert_eq!(
            while_busy(Duration::from_mins(1), || answers.next().unwrap()).unwrap(),
            5
        );
        let error = while_busy(Duration::ZERO, || Err::<(), _>(Errno::EBUSY)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EBUSY));
        let error = while_busy(Duration::from_mins(1), || Err::<(), _>(Errno::EIO)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    }

    #[test]
    fn a_tool_is_run_again_while_something_holds_its_device() {
        use crate::exec::Program;
        use crate::fake::Script;
        let busy = "mkswap: cannot open /dev/sda1: Device or resource busy";
        let cmd = Cmd::new(Program::new("mkswap", "util-linux")).arg("/dev/sda1");
        let run = |mut script: Script, limit, cancel: &Cancel| {
            let done = run_while_busy(&mut script, &cmd, limit, cancel);
            (done, script.commands().len())
        };
        let minute = Duration::from_mins(1);
        let held = Script::new()
            .exiting_once("mkswap", 1, busy)
            .exiting_once("mkswap", 1, busy);
        let (done, runs) = run(held, minute, &Cancel::new());
        assert_eq!((done.is_ok(), runs), (true, 3));
        // it is still held in the end, or the run is stopped
        let (done, _) = run(
            Script::new().exiting("mkswap", 1, busy),
            Duration::ZERO,
            &Cancel::new(),
        );
        assert!(done.unwrap_err().is_busy());
        let stopped = Cancel::new();
        stopped.cancel();
        let (done, runs) = run(Script::new().exiting("mkswap", 1, busy), minute, &stopped);
        assert_eq!((done.is_err(), runs), (true, 1));
        // any other failure is returned at once
        let (done, runs) = run(
            Script::new().exiting("mkswap", 1, "no"),
            minute,
            &Cancel::new(),
        );
        assert_eq!((done.is_err(), runs), (true, 1));
    }
}
