//! An installed image compared with its disk: what differs is counted, and nothing is written.

use super::super::reverify;
use super::*;
use crate::model::report::ComparedChunks;
use host::fake::{Fault, What};

const LENGTH: usize = 24 * MIB + 512;

fn holding(raw: &[u8]) -> FakeDevices {
    let devices = FakeDevices::new().with(DISK, size(25 * MIB));
    devices.put(DISK, Bytes::ZERO, raw).unwrap();
    devices
}

fn compared(
    devices: &FakeDevices,
    url: &str,
    facts: &SourceFacts,
    rules: &PackedPolicy,
    client: &Client,
) -> Result<ComparedChunks, StreamError> {
    let device = devices.open(Path::new(DISK), Access::Read).unwrap();
    let packed = Packed {
        facts: facts.packed.as_ref().unwrap(),
        ranges: facts.ranges,
        rules,
        at_once: 1,
        discards: true,
    };
    let recorded = RecordedEvents::default();
    let found = reverify(url, packed, device.as_ref(), DISK, client, &recorded);
    let log = devices.log();
    assert!(
        log.iter().all(|done| matches!(done.what, What::Open(_))),
        "{log:?}"
    );
    found
}

#[test]
fn each_chunk_that_differs_is_counted_wherever_it_does() {
    let published = Published::of(image(LENGTH));
    let (_folder, url) = published.on_files();
    let rules = PackedPolicy::default();
    let facts = facts(&url, &rules);
    let whole = ComparedChunks {
        chunks: 25,
        bytes: size(LENGTH),
        ..ComparedChunks::default()
    };
    let devices = holding(&published.raw);
    assert_eq!(
        compared(&devices, &url, &facts, &rules, &client()).unwrap(),
        whole
    );
    // the first and the last byte of the image, one of a chunk of zeros; what lies behind the image does not matter
    for (places, chunks, bytes) in [
        (vec![0], 1, MIB),
        (vec![LENGTH - 1], 1, 512),
        (vec![2 * MIB + 5], 1, MIB),
        (vec![5 * MIB, 5 * MIB + 1, 6 * MIB - 1], 1, MIB),
        (vec![0, 7 * MIB, LENGTH - 1], 3, 2 * MIB + 512),
        (vec![LENGTH], 0, 0),
    ] {
        let devices = holding(&published.raw);
        for place in &places {
            let mut byte = content(&devices, *place, 1);
            byte[0] ^= 0x40;
            devices.put(DISK, size(*place), &byte).unwrap();
        }
        let found = compared(&devices, &url, &facts, &rules, &client()).unwrap();
        let expected = ComparedChunks {
            differing_chunks: chunks,
            differing_bytes: size(bytes),
            ..whole
        };
        assert_eq!(found, expected, "{places:?}");
    }
    let devices = holding(&published.raw).failing(Fault::ReadAt(size(9 * MIB)));
    let found = compared(&devices, &url, &facts, &rules, &client()).unwrap();
    assert_eq!(found.differing_chunks, 1, "unreadable");
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let published = Published::of(image(LENGTH));
    let (folder, url) = published.on_files();
    let rules = PackedPolicy::default();
    let facts = facts(&url, &rules);
    let small = FakeDevices::new().with(DISK, size(24 * MIB));
    let error = compared(&small, &url, &facts, &rules, &client()).unwrap_err();
    assert!(matches!(error, StreamError::TooLarge { .. }), "{error}");
    let devices = holding(&published.raw);
    let cancel = Cancel::new();
    let stopped = Client::new(&settings(), cancel.clone()).unwrap();
    cancel.cancel();
    let error = compared(&devices, &url, &facts, &rules, &stopped).unwrap_err();
    assert!(matches!(error, StreamError::Cancelled), "{error}");
    // the policy of the node holds here too
    let strict = PackedPolicy {
        images: crate::model::trust::ImagePolicy {
            require_signature: true,
            ..Default::default()
        },
        ..PackedPolicy::default()
    };
    compared(&devices, &url, &facts, &strict, &client()).unwrap_err();
    // another release has been published since the plan was made
    let mut newer = published.clone();
    newer.manifest.release += 1;
    std::fs::write(folder.path().join(MANIFEST), newer.text()).unwrap();
    compared(&devices, &url, &facts, &rules, &client()).unwrap_err();
    std::fs::remove_file(folder.path().join(MANIFEST)).unwrap();
    compared(&devices, &url, &facts, &rules, &client()).unwrap_err();
}
