//! A part of a pooled buffer with shared ownership.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::pool::Buffer;

/// Some bytes of a buffer. The buffer goes back to its pool with the last of its slices.
#[derive(Clone)]
pub(super) struct Slice {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

impl Slice {
    /// The part `range` of it, counted from its own beginning.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let within = |at: usize| self.range.start.saturating_add(at).min(self.range.end);
        Self {
            buffer: Arc::clone(&self.buffer),
            range: within(range.start)..within(range.end),
        }
    }

    /// Its parts of `length`; the last one may be shorter.
    pub(super) fn parts(&self, length: usize) -> impl Iterator<Item = Self> {
        let starts = (0..self.len()).step_by(length);
        starts.map(move |start| self.part(start..start.saturating_add(length)))
    }
}

impl From<Buffer> for Slice {
    fn from(buffer: Buffer) -> Self {
        Self {
            range: 0..buffer.len(),
            buffer: Arc::new(buffer),
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({:?} of {:?})", self.range, self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    #[test]
    fn parts_are_counted_from_the_part_and_end_with_it() {
        let pool = Pool::new(1, 16);
        let mut buffer = pool.take();
        buffer.push(b"0123456789");
        let whole = Slice::from(buffer);
        let part = whole.part(2..8);
        assert_eq!(
            (&whole[..], &part[..]),
            (&b"0123456789"[..], &b"234567"[..])
        );
        assert_eq!(&part.part(1..3)[..], b"34");
        assert_eq!(&part.part(4..99)[..], b"67");
        assert!(part.part(50..99).is_empty());
        // one part is enough to keep the buffer
        drop((whole, part.part(0..1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take().len());
            assert_eq!(&part[..], b"234567");
            drop(part);
            assert_eq!(waiting.join().unwrap(), 0);
        });
    }
}
