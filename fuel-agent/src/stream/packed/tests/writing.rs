//! Packed images onto different disks and from different servers, and the order of writes.

use host::blockdev::{FileDevices, NodeDevices};
use host::fake::What;
use host::ioctl::loops::{LoopDevice, LoopOptions};

use super::*;
use crate::model::report::WriteMode;
use crate::source::policy::DeltaPolicy;

#[test]
fn an_image_arrives_whole_and_nothing_stale_stays() {
    for length in [MIB * 7, MIB * 9 + 512 * 77, 512, 4096 * 3] {
        let published = Published::of(image(length));
        let server = published.serve();
        let devices = dirty(10 * MIB);
        let done = install(&devices, &url(&server), &PackedPolicy::default());
        assert!(content(&devices, 0, length) == published.raw, "{length}");
        // what lies behind the image and the head is not touched
        let end = length.max(MIB);
        let rest = content(&devices, end, 10 * MIB - end);
        assert!(rest.iter().all(|byte| *byte == 0xaa), "{length}");
        let outcome = done.outcome();
        assert!(outcome.verified);
        assert!(published.data_bytes().contains(&outcome.fetched_bytes.0));
        assert_eq!(outcome.raw_bytes, size(length));
        assert_eq!(done.packed().way, WriteMode::Full);
        assert_eq!(done.packed().release, 7);
    }
}

#[test]
fn chunks_of_every_size_arrive() {
    for chunk_size in [1 << 20, 2 << 20, 16 << 20] {
        let published = Published::in_chunks(image(17 * MIB + 512), chunk_size);
        let server = published.serve();
        let devices = dirty(18 * MIB);
        install(&devices, &url(&server), &PackedPolicy::default()).outcome();
        assert!(content(&devices, 0, 17 * MIB + 512) == published.raw);
    }
}

#[test]
fn a_file_url_works_like_a_server() {
    let published = Published::of(image(5 * MIB + 512));
    let (_folder, url) = published.on_files();
    let devices = dirty(6 * MIB);
    let done = install(&devices, &url, &PackedPolicy::default());
    done.outcome();
    assert!(content(&devices, 0, published.raw.len()) == published.raw);
}

#[test]
fn a_regular_file_stands_for_a_disk() {
    let published = Published::of(image(9 * MIB + 512));
    let server = published.serve();
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let file = folder.path().join("disk");
    std::fs::write(&file, vec![0xaa; 10 * MIB]).unwrap();
    for delta in [DeltaPolicy::Auto, DeltaPolicy::Always, DeltaPolicy::Never] {
        let mut devices = FileDevices::new();
        devices.add("sda", &file, None).unwrap();
        let rules = PackedPolicy {
            delta,
            ..PackedPolicy::default()
        };
        let done = install(&devices, &url(&server), &rules);
        done.outcome();
        let written = std::fs::read(&file).unwrap();
        assert!(written[..published.raw.len()] == published.raw, "{delta:?}");
        assert!(
            written[published.raw.len()..]
                .iter()
                .all(|byte| *byte == 0xaa)
        );
    }
}

#[test]
fn a_block_device_gets_the_image_whatever_its_sectors_and_keeps_what_is_behind_it() {
    for sector in [512, 4096] {
        let backing = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(backing.path(), vec![0xaa; 8 * MIB]).unwrap();
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).open(backing.path()).unwrap();
        let options = LoopOptions {
            sector_size: Bytes(sector),
            ..LoopOptions::default()
        };
        let node = match LoopDevice::attach(&file, options) {
            Ok(node) => node,
            Err(error) => {
                host::fake::skipped(format_args!("no loop device: {error}"));
                return;
            }
        };
        // the last chunk ends within a direct I/O unit, and within a sector of the larger ones
        let published = Published::of(image(7 * MIB + 512 * 3));
        let server = published.serve();
        let rules = PackedPolicy::default();
        let facts = facts(&url(&server), &rules);
        for delta in [DeltaPolicy::Never, DeltaPolicy::Always] {
            let opened = NodeDevices::new().open(node.path(), Access::Exclusive);
            let mut target = opened.unwrap();
            write_image(Job {
                url: &url(&server),
                container: Container::Zstd,
                format: "",
                expected: Expected::from(&facts),
                allow_unverified: false,
                packed: Some(Packed {
                    facts: facts.packed.as_ref().unwrap(),
                    ranges: facts.ranges,
                    rules: &PackedPolicy {
                        delta,
                        ..PackedPolicy::default()
                    },
                    at_once: 1,
                    discards: false,
                }),
                target: &mut *target,
                device: "loop",
                client: &client(),
                events: &RecordedEvents::default(),
            })
            .unwrap();
            drop(target);
            let seen = std::fs::read(backing.path()).unwrap();
            let (image, rest) = seen.split_at(published.raw.len());
            assert!(image == published.raw, "{sector} {delta:?}");
            assert!(rest.iter().all(|byte| *byte == 0xaa), "{sector} {delta:?}");
        }
    }
}

#[test]
fn the_first_mib_is_zeroed_first_and_written_last() {
    let published = Published::in_chunks(image(8 * MIB), 2 << 20);
    let server = published.serve();
    let devices = dirty(8 * MIB);
    install(&devices, &url(&server), &PackedPolicy::default()).outcome();
    let log: Vec<What> = devices.log().into_iter().map(|done| done.what).collect();
    let head = |what: &What| match what {
        What::Write(extent) | What::Zero(extent) => extent.start < size(MIB),
        _ => false,
    };
    let heads: Vec<usize> = (0..log.len()).filter(|at| head(&log[*at])).collect();
    assert_eq!(heads.len(), 2, "{log:?}");
    assert!(matches!(log[heads[0]], What::Zero(_)));
    assert_eq!(log[heads[0] + 1], What::Flush);
    assert!(heads[0] == 1, "after opening: {log:?}");
    // flushed, then the head, then flushed again
    let end = log.len();
    assert_eq!(
        (&log[end - 3], heads[1], &log[end - 1]),
        (&What::Flush, end - 2, &What::Flush)
    );
}

#[test]
fn a_server_without_ranges_sends_all_of_it() {
    let published = Published::of(image(9 * MIB + 512));
    let raw = published.clone();
    let server = FaultServer::start(move |request| {
        let request = ReceivedRequest {
            headers: Vec::new(),
            ..request.clone()
        };
        raw.answer(&request)
    })
    .unwrap();
    let devices = dirty(10 * MIB);
    let done = install(&devices, &url(&server), &PackedPolicy::default());
    let fetched = done.outcome().fetched_bytes;
    assert!(content(&devices, 0, published.raw.len()) == published.raw);
    assert_eq!(fetched, size(published.data.len()));
    assert!(
        done.messages
            .iter()
            .any(|messages| messages.contains("in one piece")),
        "{:?}",
        done.messages
    );
}

#[test]
fn an_image_that_does_not_fit_is_refused_before_anything_is_touched() {
    let published = Published::of(image(3 * MIB));
    let server = published.serve();
    let devices = dirty(3 * MIB - 512);
    let done = install(&devices, &url(&server), &PackedPolicy::default());
    let error = done.result.unwrap_err();
    assert!(matches!(error, StreamError::TooLarge { .. }), "{error}");
    assert!(
        content(&devices, 0, 3 * MIB - 512)
            .iter()
            .all(|byte| *byte == 0xaa)
    );
}
