//! Chunks that the disk holds already are found by reading it, and neither fetched nor written again.

use super::*;
use crate::model::report::WriteMode;
use crate::source::policy::DeltaPolicy;

const LENGTH: usize = 24 * MIB + 512;

fn with(delta: DeltaPolicy) -> PackedPolicy {
    PackedPolicy {
        delta,
        ..PackedPolicy::default()
    }
}

/// The same image with these data chunks changed.
fn changed(raw: &[u8], chunks: &[usize]) -> Published {
    let mut raw = raw.to_vec();
    for chunk in chunks {
        raw[chunk * MIB + 17] ^= 0x40;
    }
    Published::of(raw)
}

/// A disk that holds `raw`, with old bytes behind it.
fn holding(raw: &[u8]) -> FakeDevices {
    let devices = dirty(25 * MIB);
    devices.put(DISK, Bytes::ZERO, raw).unwrap();
    devices
}

#[test]
fn only_what_differs_is_fetched_and_written() {
    let old = Published::of(image(LENGTH));
    let new = changed(&old.raw, &[5, 16]);
    let server = new.serve();
    for delta in [DeltaPolicy::Always, DeltaPolicy::Auto] {
        let devices = holding(&old.raw);
        let done = install(&devices, &url(&server), &with(delta));
        assert!(content(&devices, 0, LENGTH) == new.raw);
        let packed = done.packed();
        assert_eq!(packed.way, WriteMode::Delta, "{}", packed.why);
        if delta == DeltaPolicy::Auto {
            // how far it reads depends on timing
            continue;
        }
        // the two changed chunks, and the first: its place is zeroed before anything is checked
        let fetched: u64 = [0, 5, 16]
            .iter()
            .map(|chunk| u64::from(new.chunk(*chunk).packed_length))
            .sum();
        assert_eq!(done.outcome().fetched_bytes.0, fetched);
        assert!(packed.written_bytes <= size(3 * MIB), "{packed:?}");
        assert_eq!(packed.kept_bytes, size(LENGTH - 3 * MIB));
    }
}

#[test]
fn a_zero_chunk_that_was_overwritten_is_zeroed_again() {
    let published = Published::of(image(LENGTH));
    assert!(published.chunk(6).zero && published.chunk(10).zero);
    let server = published.serve();
    let devices = holding(&published.raw);
    devices.put(DISK, size(7 * MIB - 1), b"x").unwrap();
    let done = install(&devices, &url(&server), &with(DeltaPolicy::Always));
    assert!(content(&devices, 0, LENGTH) == published.raw);
    assert_eq!(done.packed().zeroed_bytes, size(MIB));
}

#[test]
fn a_blank_disk_and_one_with_something_else_are_written_in_full() {
    let published = Published::of(image(LENGTH));
    let server = published.serve();
    let blank = FakeDevices::new().with(DISK, size(25 * MIB));
    for (devices, why) in [(blank, "blank"), (dirty(25 * MIB), "holds none")] {
        let done = install(&devices, &url(&server), &with(DeltaPolicy::Auto));
        assert!(content(&devices, 0, LENGTH) == published.raw);
        assert_eq!(done.packed().way, WriteMode::Full);
        assert!(done.packed().why.contains(why), "{}", done.packed().why);
        let fetched = done.outcome().fetched_bytes.0;
        assert!(published.data_bytes().contains(&fetched), "{fetched}");
        let messages = done.messages.iter().any(|messages| messages.contains(why));
        assert!(messages, "{:?}", done.messages);
    }
}

#[test]
fn delta_never_fetches_and_writes_everything() {
    let published = Published::of(image(LENGTH));
    let server = published.serve();
    let devices = holding(&published.raw);
    let done = install(&devices, &url(&server), &with(DeltaPolicy::Never));
    let fetched = done.outcome().fetched_bytes.0;
    assert!(published.data_bytes().contains(&fetched), "{fetched}");
    assert_eq!(done.packed().read_bytes, Bytes::ZERO);
}

#[test]
fn an_interrupted_write_continues_where_it_stopped() {
    let published = Published::of(image(LENGTH));
    let stop_at = 9;
    let broken = published.serve_data(move |_, reply, count| {
        if count >= stop_at {
            Reply::status(404)
        } else {
            reply
        }
    });
    let devices = dirty(25 * MIB);
    let first = install(&devices, &url(&broken), &with(DeltaPolicy::Never));
    // the size of a request depends on timing: all of it may have been received
    if first.result.is_ok() {
        return;
    }
    drop(broken);
    assert!(content(&devices, 0, MIB).iter().all(|byte| *byte == 0));
    let server = published.serve();
    let second = install(&devices, &url(&server), &with(DeltaPolicy::Always));
    assert!(content(&devices, 0, LENGTH) == published.raw);
    assert!(second.packed().kept_bytes > Bytes::ZERO);
    let fetched = second.outcome().fetched_bytes;
    assert!(fetched.0 < *published.data_bytes().start(), "{fetched}");
}

#[test]
fn a_disk_that_cannot_be_read_is_written() {
    let published = Published::of(image(LENGTH));
    let server = published.serve();
    let devices = holding(&published.raw).failing(host::fake::Fault::ReadAt(size(4 * MIB + 9)));
    let done = install(&devices, &url(&server), &with(DeltaPolicy::Always));
    assert_eq!(done.packed().kept_bytes, size(LENGTH - 2 * MIB));
}
