//! How many threads work on an image, so that their buffers stay within a fixed amount of memory.
//!
//! Threads that write synchronously, not `io_uring`. Twelve alternating rounds on two processors, 3 GiB with 1.5 GiB of
//! data onto a loop device with direct I/O: 1.44 s (1.23 to 1.99) with six threads, 1.53 s (1.37 to 1.94) with two
//! threads and two `io_uring` writes each, 1.64 s (1.27 to 1.94) with two threads and three each; 1.05 s without
//! writing. Processors are the bottleneck, and a thread that waits for the disk uses none.

use os_image::index::Index;

use super::scheduler::FETCHERS_MAX;

/// Bytes that all chunk buffers may take together.
const MEMORY: u64 = 40 << 20;

/// Number of threads of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadBudget {
    /// Fetchers, one connection each.
    pub(super) fetchers: usize,
    /// Threads that unpack and write.
    pub(super) workers: usize,
}

impl ThreadBudget {
    /// One of each: chunks that are requested in order arrive in order, except for those fetched again.
    pub(super) const fn in_order() -> Self {
        Self {
            fetchers: 1,
            workers: 1,
        }
    }

    /// Cores + 4 workers, so that some can wait for the disk; fewer if chunks are large.
    ///
    /// Memory, and the connections to a single server, are shared by `at_once` images.
    pub(super) fn of(index: &Index, servers: usize, cores: usize, at_once: usize) -> Self {
        let memory = MEMORY / u64::try_from(at_once.max(1)).unwrap_or(u64::MAX);
        let (raw, packed) = (u64::from(index.chunk_size()), longest(index));
        let fetchers = if servers > 1 {
            servers.min(FETCHERS_MAX)
        } else {
            (2 / at_once.max(1)).max(1)
        };
        let fits = |fetchers: usize, workers: usize| {
            let both = u64::try_from(fetchers + workers).unwrap_or(u64::MAX);
            let workers = u64::try_from(workers).unwrap_or(u64::MAX);
            workers.saturating_mul(raw) + both.saturating_mul(packed) <= memory
        };
        let mut budget = Self {
            fetchers,
            workers: cores + 4,
        };
        while budget.workers > 1 && !fits(budget.fetchers, budget.workers) {
            budget.workers -= 1;
        }
        while budget.fetchers > 1 && !fits(budget.fetchers, budget.workers) {
            budget.fetchers -= 1;
        }
        budget
    }
}

/// Length of the longest frame in bytes.
pub(super) fn longest(index: &Index) -> u64 {
    let lengths = index.iter().map(|chunk| u64::from(chunk.packed_length));
    lengths.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use os_image::codec::Packer;
    use os_image::index::{Chunk, IndexBuilder};

    use super::*;

    /// An index of one chunk of this size that packs badly or well.
    fn index(chunk_size: u32, packed_length: u32) -> Index {
        let raw = [1; 4096];
        let packed = Packer::new(1).unwrap().pack(&raw, &mut Vec::new()).unwrap();
        let mut builder = IndexBuilder::new(chunk_size.into(), chunk_size, 1 << 20).unwrap();
        let chunk = Chunk {
            raw_offset: 0,
            raw_length: chunk_size,
            packed_offset: 0,
            packed_length,
            raw_digest: packed.raw_digest,
            packed_digest: packed.packed_digest,
            zero: false,
        };
        builder.push(&chunk).unwrap();
        builder.finish(packed_length.into()).unwrap()
    }

    #[test]
    fn there_are_as_many_as_fit_in_memory_and_at_least_one_of_each() {
        const MIB: u32 = 1 << 20;
        for (chunk, packed, servers, cores, fetchers, workers) in [
            (MIB, MIB, 1, 2, 2, 6),
            (MIB, MIB / 3, 1, 8, 2, 12),
            (2 * MIB, MIB, 3, 2, 3, 6),
            (4 * MIB, 4 * MIB, 1, 2, 2, 4),
            (4 * MIB, 4 * MIB, 9, 64, 4, 3),
            (4 * MIB, MIB, 1, 64, 2, 7),
            (16 * MIB, 5 * MIB, 1, 2, 2, 1),
            (16 * MIB, 16 * MIB, 4, 64, 1, 1),
        ] {
            let index = index(chunk, packed);
            let budget = ThreadBudget::of(&index, servers, cores, 1);
            assert_eq!(
                budget,
                ThreadBudget { fetchers, workers },
                "{chunk} {packed} {servers} {cores}"
            );
        }
    }
    #[test]
    fn two_images_together_take_no_more_memory_and_connections_than_one() {
        const MIB: u32 = 1 << 20;
        for (chunk, packed, servers, cores, fetchers, workers) in [
            (MIB, MIB, 1, 2, 1, 6),
            (2 * MIB, MIB, 3, 2, 3, 5),
            (4 * MIB, 4 * MIB, 1, 2, 1, 2),
            (4 * MIB, 4 * MIB, 9, 64, 3, 1),
        ] {
            let index = index(chunk, packed);
            let budget = ThreadBudget::of(&index, servers, cores, 2);
            assert_eq!(
                budget,
                ThreadBudget { fetchers, workers },
                "{chunk} {packed} {servers} {cores}"
            );
            let buffers = workers * usize::try_from(chunk).unwrap()
                + (fetchers + workers) * usize::try_from(packed).unwrap();
            assert!(2 * u64::try_from(buffers).unwrap() <= MEMORY);
        }
    }
}
