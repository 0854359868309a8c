//! Which fetcher gets which chunk, and when the image is done.

use os_image::codec::Packer;
use os_image::index::{Chunk, IndexBuilder};
use proptest::prelude::*;

use super::*;

const CHUNK: u32 = 1 << 20;

/// Chunks of data (`true`) and of zeros, all packed to the same length.
fn index(data: &[bool], packed_length: u32) -> Index {
    let raw_size = u64::try_from(data.len()).unwrap() * u64::from(CHUNK);
    let mut builder = IndexBuilder::new(raw_size, CHUNK, 1 << 20).unwrap();
    let zeros = vec![0; usize::try_from(CHUNK).unwrap()];
    let zeros = Packer::new(1)
        .unwrap()
        .pack(&zeros, &mut Vec::new())
        .unwrap();
    for (number, is_data) in (0..).zip(data) {
        let raw_digest = if *is_data { [7; 32] } else { zeros.raw_digest };
        let chunk = Chunk {
            raw_offset: number * u64::from(CHUNK),
            raw_length: CHUNK,
            packed_offset: number * u64::from(packed_length),
            packed_length,
            raw_digest,
            packed_digest: [9; 32],
            zero: !is_data,
        };
        builder.push(&chunk).unwrap();
    }
    builder
        .finish(u64::try_from(data.len()).unwrap() * u64::from(packed_length))
        .unwrap()
}

fn groups(scheduler: &ChunkScheduler<'_>, bytes: u64) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    while !scheduler.lock().missing.is_empty() {
        let group = scheduler.next_group(0, bytes, 2).unwrap();
        found.push((group.first, group.wanted.lengths.len()));
    }
    found
}

proptest! {
    #[test]
    fn every_data_chunk_is_requested_once_and_a_group_is_contiguous(
        data in prop::collection::vec(any::<bool>(), 1..60),
        bytes in 1_u64..2_000_000,
        packed_length in 1000_u32..100_000,
    ) {
        let index = index(&data, packed_length);
        let scheduler = ChunkScheduler::new(&index, false, Cancel::new());
        let mut asked = vec![0; data.len()];
        for (first, count) in groups(&scheduler, bytes) {
            prop_assert!(data[first] && data[first + count - 1], "it begins and ends with data");
            asked[first..first + count].iter_mut().for_each(|times| *times += 1);
        }
        for (chunk, is_data) in data.iter().enumerate() {
            prop_assert!(asked[chunk] <= 1, "{}", chunk);
            prop_assert!(asked[chunk] == 1 || !is_data, "{}", chunk);
        }
    }
}

#[test]
fn a_few_zeros_between_data_are_fetched_along_and_many_are_not() {
    let data = [[true, true].as_slice(), &[false; 3], &[true, true]].concat();
    // many other chunks are missing, so that a fetcher's share does not limit the group
    let data = [data.as_slice(), &[true; 40]].concat();
    let few = index(&data, 1000);
    let scheduler = ChunkScheduler::new(&few, false, Cancel::new());
    assert_eq!(groups(&scheduler, u64::MAX)[0].0, 0);
    let scheduler = ChunkScheduler::new(&few, false, Cancel::new());
    assert!(groups(&scheduler, u64::MAX)[0].1 > 5, "over the zeros");
    let many = index(&data, 40_000);
    let scheduler = ChunkScheduler::new(&many, false, Cancel::new());
    assert_eq!(groups(&scheduler, u64::MAX)[0], (0, 2), "up to the zeros");
}

#[test]
fn chunks_given_back_are_missing_again_and_those_of_other_fetchers_are_not() {
    let index = index(&[true; 8], 1000);
    let scheduler = ChunkScheduler::new(&index, false, Cancel::new());
    let (mine, other) = (
        scheduler.next_group(0, 1, 2).unwrap(),
        scheduler.next_group(1, 1, 2).unwrap(),
    );
    assert_eq!((mine.first, other.first), (0, 1));
    scheduler.give_back(0);
    assert_eq!(scheduler.next_group(2, 1, 2).unwrap().first, 0);
    assert_eq!(scheduler.next_group(2, 1, 2).unwrap().first, 2);
}

#[test]
fn the_first_error_counts_and_ends_all_threads() {
    let index = index(&[true; 8], 1000);
    let stop = Cancel::new();
    let scheduler = ChunkScheduler::new(&index, false, stop.clone());
    scheduler.fail(StreamError::Cancelled);
    scheduler.fail(StreamError::Panicked);
    assert!(scheduler.next_group(0, 1, 1).is_none() && scheduler.next_arrived().is_none());
    assert!(stop.is_cancelled());
    assert!(matches!(scheduler.result(), Err(StreamError::Cancelled)));
}

#[test]
fn zeros_keep_pace_with_the_data_and_the_rest_follows_it() {
    // 8 chunks of data and 4 of zeros
    let data: Vec<bool> = (0..12).map(|chunk| chunk % 3 != 2).collect();
    let index = index(&data, 1000);
    let scheduler = ChunkScheduler::new(&index, false, Cancel::new());
    let zero = || {
        let zeros = scheduler.next_zeros(1)?;
        scheduler.done(zeros.clone(), ChunkOrigin::Zeroed);
        Some(zeros.start)
    };
    let mut order = Vec::new();
    for chunk in (0..12).filter(|chunk| data[*chunk]) {
        order.extend(std::iter::from_fn(zero));
        order.push(chunk);
        scheduler.done(chunk..chunk + 1, ChunkOrigin::Written);
    }
    order.extend(std::iter::from_fn(zero));
    assert_eq!(order, [2, 0, 1, 5, 3, 4, 8, 6, 7, 11, 9, 10]);
    assert!(scheduler.is_over_within(Duration::ZERO));
}

#[test]
fn an_image_of_zeros_alone_waits_for_nothing() {
    let index = index(&[false; 3], 1000);
    let scheduler = ChunkScheduler::new(&index, false, Cancel::new());
    assert_eq!(scheduler.next_zeros(9), Some(0..3));
    scheduler.done(0..3, ChunkOrigin::Zeroed);
    assert!(scheduler.is_over_within(Duration::ZERO));
}

#[test]
fn after_an_error_no_more_zeros_are_made() {
    let index = index(&[false; 8], 1000);
    let scheduler = ChunkScheduler::new(&index, false, Cancel::new());
    assert_eq!(scheduler.next_zeros(1), Some(0..1));
    scheduler.fail(StreamError::Panicked);
    assert_eq!(scheduler.next_zeros(1), None);
}
