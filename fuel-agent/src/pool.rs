//! A fixed number of buffers of one size, which bounds the memory of a transfer.
//!
//! Buffers are aligned for direct I/O, allocated when first needed, and returned by being dropped.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::fmt;
use std::io::Write as _;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Alignment that direct I/O needs on all known disks, in bytes.
const ALIGNMENT: usize = 4096;

/// Hands out at most `count` buffers at a time. Clones share the pool.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    size: usize,
    count: usize,
    state: Mutex<State>,
    /// Wakes a thread that waits for a buffer.
    returned: Condvar,
    /// Wakes a task that waits for a buffer.
    notify: Notify,
}

#[derive(Default)]
struct State {
    free: Vec<Storage>,
    allocated: usize,
}

struct Storage {
    bytes: Vec<u8>,
    /// Where in `bytes` the first aligned byte is.
    start: usize,
}

impl Pool {
    /// A pool of `count` buffers of `size` bytes each.
    pub fn new(count: usize, size: usize) -> Self {
        Self(Arc::new(Shared {
            size,
            count,
            state: Mutex::default(),
            returned: Condvar::new(),
            notify: Notify::new(),
        }))
    }

    /// Waits for an empty buffer.
    pub fn take(&self) -> Buffer {
        let mut state = self.0.lock();
        loop {
            if let Some(storage) = self.0.storage(&mut state) {
                return self.wrap(storage);
            }
            state = self
                .0
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// [`Self::take`] for asynchronous tasks.
    pub async fn take_async(&self) -> Buffer {
        loop {
            // registered before the check, so that a buffer returned in between is not missed
            let returned = self.0.notify.notified();
            let storage = self.0.storage(&mut self.0.lock());
            if let Some(storage) = storage {
                return self.wrap(storage);
            }
            returned.await;
        }
    }

    /// Most buffers that were ever in use at once.
    pub fn peak(&self) -> usize {
        self.0.lock().allocated
    }

    fn wrap(&self, storage: Storage) -> Buffer {
        Buffer {
            storage: Some(storage),
            length: 0,
            home: Arc::clone(&self.0),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.0.size)
            .field("count", &self.0.count)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // no code panics while holding the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self, state: &mut State) -> Option<Storage> {
        if let Some(storage) = state.free.pop() {
            return Some(storage);
        }
        if state.allocated == self.count {
            return None;
        }
        state.allocated = state.allocated.saturating_add(1);
        let bytes = vec![0; self.size.saturating_add(ALIGNMENT)];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Some(Storage { bytes, start })
    }
}

/// A buffer of a pool; dereferences to its content.
pub struct Buffer {
    /// `None` only while it is dropped.
    storage: Option<Storage>,
    length: usize,
    home: Arc<Shared>,
}

impl Buffer {
    /// The unused part.
    pub fn spare(&mut self) -> &mut [u8] {
        let aligned = self.storage.as_mut().and_then(|storage| {
            let bytes = storage.bytes.get_mut(storage.start..)?;
            bytes.get_mut(self.length..self.home.size)
        });
        aligned.unwrap_or_default()
    }

    /// Marks `count` more bytes, just written to the spare part, as content.
    pub fn grow(&mut self, count: usize) {
        self.length = self.length.saturating_add(count).min(self.home.size);
    }

    /// Appends as much of `bytes` as fits; returns how much that was.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        // writing to a slice copies what fits, and cannot fail
        let count = self.spare().write(bytes).unwrap_or_default();
        self.grow(count);
        count
    }

    /// Removes the content.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        self.length == self.home.size
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let aligned = self.storage.as_ref().and_then(|storage| {
            let bytes = storage.bytes.get(storage.start..)?;
            bytes.get(..self.length)
        });
        aligned.unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(storage) = self.storage.take() {
            self.home.lock().free.push(storage);
            self.home.returned.notify_one();
            self.home.notify.notify_one();
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.length, self.home.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_come_back_empty() {
        let pool = Pool::new(2, 5000);
        for _ in 0..5 {
            let mut buffer = pool.take();
            assert!(buffer.is_empty());
            assert_eq!(buffer.spare().as_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!(buffer.push(&[7; 6000]), 5000);
            assert!(buffer.is_full() && buffer.iter().all(|byte| *byte == 7));
            assert_eq!(buffer.push(&[7]), 0);
        }
        assert_eq!(pool.peak(), 1);
    }

    #[test]
    fn the_last_buffer_is_waited_for() {
        let pool = Pool::new(1, 16);
        let held = pool.take();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take().len());
            drop(held);
            assert_eq!(waiting.join().unwrap(), 0);
        });
        assert_eq!(pool.peak(), 1);
    }

    #[test]
    fn tasks_wait_too() {
        let pool = Pool::new(1, 16);
        let held = pool.take();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| runtime.block_on(pool.take_async()).len());
            drop(held);
            assert_eq!(waiting.join().unwrap(), 0);
        });
    }
}
