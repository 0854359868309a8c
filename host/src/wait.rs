//! Waiting for a condition: bounded, with a growing pause between two looks. The only place that may sleep.

#![expect(
    clippy::disallowed_methods,
    reason = "this file is where waiting is allowed"
)]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;

/// The first pause; each is twice as long as the one before, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_millis(200);

/// Looks until `probe` finds what it looks for, at least once and again at the very end of `limit`; then
/// [`io::ErrorKind::TimedOut`]. An error of `probe` ends the wait.
pub fn until<T>(
    limit: Duration,
    mut probe: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    let deadline = Instant::now() + limit;
    let mut pause = SHORTEST;
    loop {
        // The clock is read before the look: a look that began in time counts, however long it took.
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if left.is_zero() {
            let what = format!("nothing after {} ms", limit.as_millis());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST);
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

/// Tries again while the kernel says `EBUSY`, up to `limit`; then that error.
pub fn while_busy<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> nix::Result<T>,
) -> io::Result<T> {
    let found = until(limit, || match attempt() {
        Ok(done) => Ok(Some(done)),
        Err(nix::errno::Errno::EBUSY) => Ok(None),
        Err(other) => Err(other.into()),
    });
    found.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => io::Error::from(nix::errno::Errno::EBUSY),
        _ => error,
    })
}

/// Pauses as a retry with back-off has to, unless `cancel` is set meanwhile; `false` says that it was.
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
}
