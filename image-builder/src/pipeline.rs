//! Processes numbered pieces by several threads, with results in order: they do not depend on the number of threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, anyhow};
use crossbeam_channel::{Sender, bounded};
use host::cancel::Cancel;

use crate::error::Interrupted;

/// The default number of threads: one per core.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Number of buffers that keep `threads` threads busy while finished pieces wait for an earlier one.
pub(crate) const fn slots(threads: usize) -> usize {
    threads + threads / 2 + 2
}

/// Calls `work` for the pieces 0 to `count` in parallel, each with the thread's state from `begin` and a buffer of
/// `slots`, and `take` with the results in the order of the pieces. `take` must send the buffer back, immediately or
/// later, from any thread: no more buffers are allocated. A clone of the sender that is kept after its buffer was sent
/// blocks the threads at the end.
///
/// Ends with the error of the earliest piece that has one.
pub(crate) fn in_order<W, S: Send, T: Send>(
    count: u64,
    slots: Vec<S>,
    threads: usize,
    cancel: &Cancel,
    begin: impl Fn() -> Result<W> + Sync,
    work: impl Fn(&mut W, u64, &mut S) -> Result<T> + Sync,
    mut take: impl FnMut(S, T, &Sender<S>) -> Result<()>,
) -> Result<()> {
    let (give, free) = bounded(slots.len());
    for slot in slots {
        give.send(slot).map_err(|_| anyhow!("no buffers"))?;
    }
    let (done, results) = bounded(threads);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (free, done, next) = (free.clone(), done.clone(), &next);
            let (begin, work) = (&begin, &work);
            scope.spawn(move || {
                let mut worker = begin();
                // the number is taken after the buffer: so the earliest unfinished piece always has a buffer
                while let Ok(mut slot) = free.recv() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let result = if cancel.is_cancelled() {
                        Err(Interrupted.into())
                    } else {
                        // after a panic the others would wait for this piece for ever
                        catch_unwind(AssertUnwindSafe(|| match &mut worker {
                            Ok(worker) => work(worker, number, &mut slot),
                            Err(error) => Err(anyhow!("cannot start a worker: {error:#}")),
                        }))
                        .unwrap_or_else(|_| Err(anyhow!("a worker has panicked")))
                    };
                    if done.send((number, slot, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop((done, free));
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        while expected < count {
            let (number, slot, result) = results.recv()?;
            waiting.insert(number, (slot, result));
            while let Some((slot, result)) = waiting.remove(&expected) {
                take(slot, result?, &give)?;
                expected += 1;
            }
        }
        // idle threads wait for buffers: closing the channel ends them
        drop((give, results));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    fn run(
        count: u64,
        threads: usize,
        cancel: &Cancel,
        work: impl Fn(u64, &mut u64) -> Result<u64> + Sync,
    ) -> Result<Vec<u64>> {
        let mut taken = Vec::new();
        let take = |slot, n, give: &Sender<u64>| {
            taken.push(n);
            // the receiver is gone if the threads have ended
            let _ = give.send(slot);
            Ok(())
        };
        let work = |(): &mut (), n, slot: &mut u64| work(n, slot);
        in_order(
            count,
            vec![0; slots(threads)],
            threads,
            cancel,
            || Ok(()),
            work,
            take,
        )?;
        Ok(taken)
    }

    #[test]
    fn pieces_are_taken_in_order_whatever_the_number_of_threads() {
        for threads in [1, 2, 7] {
            for count in [0, 1, 2, 500] {
                let taken = run(count, threads, &Cancel::new(), |n, slot| {
                    *slot = n;
                    // some pieces take longer than others
                    let spin = (0..(n * 7919) % 5000).fold(0, |a, b| a ^ b);
                    Ok(n + spin - spin)
                });
                assert_eq!(taken.unwrap(), (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_earliest_error_ends_it() {
        for threads in [1, 4] {
            let error = run(1000, threads, &Cancel::new(), |n, _| {
                if n >= 20 {
                    bail!("piece {n}")
                }
                Ok(n)
            });
            assert_eq!(error.unwrap_err().to_string(), "piece 20");
        }
        let full = |_: u64, _: u64, _: &Sender<u64>| bail!("full");
        let refused = in_order(
            9,
            vec![0; 3],
            2,
            &Cancel::new(),
            || Ok(()),
            |(), n, _| Ok(n),
            full,
        );
        assert_eq!(refused.unwrap_err().to_string(), "full");
        let none = || -> Result<()> { bail!("no memory") };
        let refused = in_order(
            9,
            vec![0; 3],
            2,
            &Cancel::new(),
            none,
            |(), n, _| Ok(n),
            full,
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            "cannot start a worker: no memory"
        );
    }

    #[test]
    fn a_panic_is_an_error_and_no_thread_waits_for_it() {
        let error = run(100, 3, &Cancel::new(), |n, _| {
            assert!(n != 5, "on purpose");
            Ok(n)
        });
        assert_eq!(error.unwrap_err().to_string(), "a worker has panicked");
    }

    #[test]
    fn it_stops_when_cancelled() {
        let cancel = Cancel::new();
        let error = run(1000, 2, &cancel, |n, _| {
            if n == 3 {
                cancel.cancel();
            }
            Ok(n)
        });
        assert!(error.unwrap_err().is::<Interrupted>());
    }
}
