//! Manifests, data and servers that are not what they should be: an error with its reason, and no byte outside the
//! target changes.

use host::blockdev::FileDevices;
use proptest::prelude::*;

use super::*;
use crate::model::error::{Error, Kind};
use crate::source::policy::DeltaPolicy;
use crate::stream::packed::PackedError;
use crate::testing::fault_server::Fault as Mishap;

fn full() -> PackedPolicy {
    PackedPolicy {
        delta: DeltaPolicy::Never,
        ..PackedPolicy::default()
    }
}

#[test]
fn data_that_is_replaced_midway_is_noticed_and_not_written() {
    let published = Published::of(image(8 * MIB));
    let newer = Published::of(published.raw.iter().map(|byte| byte ^ 1).collect());
    let server = published.serve_data(move |request, reply, count| {
        if count == 0 {
            reply
        } else {
            newer.answer(request)
        }
    });
    let devices = dirty(8 * MIB);
    let done = install(&devices, &url(&server), &full());
    let error = done.result.unwrap_err();
    let is_expected = matches!(
        error,
        StreamError::Packed(PackedError::WrongChunk { .. } | PackedError::OtherLength { .. })
    );
    assert!(is_expected, "{error}");
    assert_eq!(Error::from(error).kind, Kind::Image);
    // every byte is old, correct, or zero within the first MiB
    let disk = content(&devices, 0, 8 * MIB);
    for (at, byte) in disk.iter().enumerate() {
        let is_allowed = *byte == 0xaa || *byte == published.raw[at] || at < MIB && *byte == 0;
        assert!(is_allowed, "{at}");
    }
}

#[test]
fn a_manifest_that_changed_since_planning_is_refused_before_anything_is_touched() {
    let published = Published::of(image(3 * MIB));
    let server = published.serve();
    let mut facts = facts(&url(&server), &full());
    facts.packed.as_mut().unwrap().manifest_sha256 = "00".repeat(32);
    let devices = dirty(3 * MIB);
    let done = write_known(&devices, &url(&server), &full(), &facts, &client());
    let error = done.result.unwrap_err();
    assert!(matches!(
        error,
        StreamError::Packed(PackedError::Changed { .. })
    ));
    assert!(Error::from(error).retryable);
    assert!(
        content(&devices, 0, 3 * MIB)
            .iter()
            .all(|byte| *byte == 0xaa)
    );
}

#[test]
fn a_listed_frame_that_unpacks_to_another_chunk_is_a_contradiction_of_the_manifest() {
    let mut published = Published::of(image(4 * MIB));
    let other = Published::of(
        image(4 * MIB)
            .iter()
            .map(|byte| byte.wrapping_add(3))
            .collect(),
    );
    // the data of one image with the raw digests of another
    let index = &published.manifest.images[0].index;
    let mut builder = IndexBuilder::new(index.raw_size(), index.chunk_size(), 1 << 20).unwrap();
    for (chunk, raw) in index.iter().zip(other.manifest.images[0].index.iter()) {
        let raw_digest = if chunk.zero {
            chunk.raw_digest
        } else {
            raw.raw_digest
        };
        builder
            .push(&Chunk {
                raw_digest,
                ..chunk
            })
            .unwrap();
    }
    published.manifest.images[0].index = builder.finish(index.packed_size()).unwrap();
    let server = published.serve();
    let devices = dirty(4 * MIB);
    let error = install(&devices, &url(&server), &full())
        .result
        .unwrap_err();
    assert!(
        matches!(
            error,
            StreamError::Packed(PackedError::Contradiction { .. })
        ),
        "{error}"
    );
    assert!(
        !content(&devices, MIB, 3 * MIB)
            .iter()
            .enumerate()
            .any(|(at, byte)| {
                // nothing was written except for the zero chunk, which is correct
                *byte != 0xaa && !(MIB..2 * MIB).contains(&at)
            })
    );
}

/// How a server's answers are corrupted.
#[derive(Clone, Debug)]
enum Corruption {
    /// One bit of the data file differs.
    Flip(usize),
    /// The data file is cut.
    Cut(usize),
    /// Bytes follow after the data file.
    Longer(usize),
    /// Connections break off.
    Drop(usize),
    /// A range of another offset is sent.
    Elsewhere(usize),
    /// One byte of the manifest differs.
    Manifest(usize, u8),
    /// Not at all.
    None,
}

fn corruption() -> impl Strategy<Value = Corruption> {
    prop_oneof![
        (0..4 * MIB).prop_map(Corruption::Flip),
        (0..4 * MIB).prop_map(Corruption::Cut),
        (1..100_usize).prop_map(Corruption::Longer),
        (0..400_000_usize).prop_map(Corruption::Drop),
        (1..100_000_usize).prop_map(Corruption::Elsewhere),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Corruption::Manifest(at, byte)),
        Just(Corruption::None),
    ]
}

fn corrupted_reply(
    corruption: &Corruption,
    published: &Published,
    request: &ReceivedRequest,
    count: usize,
) -> Reply {
    let mut corrupt = published.data.clone();
    let length = corrupt.len();
    match (corruption, request.target.as_str()) {
        (Corruption::Manifest(at, byte), "/x.manifest.json") => {
            let mut text = published.text();
            let at = at % text.len();
            text[at] = *byte;
            Reply::whole(&text)
        }
        (Corruption::Flip(at), "/x.img.zst") => {
            corrupt[at % length] ^= 4;
            Reply::file(request, &corrupt, "\"a\"")
        }
        (Corruption::Cut(at), "/x.img.zst") => {
            corrupt.truncate(at % length);
            Reply::file(request, &corrupt, "\"a\"")
        }
        (Corruption::Longer(more), "/x.img.zst") => {
            corrupt.extend(vec![7; *more]);
            Reply::file(request, &corrupt, "\"a\"")
        }
        (Corruption::Drop(at), "/x.img.zst") if count < 4 => {
            published.answer(request).fault(Mishap::DropAt(*at))
        }
        (Corruption::Elsewhere(by), "/x.img.zst") => {
            corrupt.rotate_left(by % length);
            Reply::file(request, &corrupt, "\"a\"")
        }
        _ => published.answer(request),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The target is a partition in the middle of a file: nothing around it may change.
    #[test]
    fn nothing_outside_the_target_changes_whatever_a_server_sends(
        corruption in corruption(),
        delta in prop::sample::select(vec![DeltaPolicy::Auto, DeltaPolicy::Always, DeltaPolicy::Never]),
        length in (1_usize..9).prop_map(|sectors| 2 * MIB + 512 * sectors),
        room in 0_usize..3,
    ) {
        const MARGIN: usize = MIB;
        let published = Published::of(image(length));
        let served = published.clone();
        let applied = corruption.clone();
        let mut count = 0;
        let server = FaultServer::start(move |request| {
            count += 1;
            // the probe of the data file is answered correctly, since otherwise nothing would be written at all
            if request.number == 0 {
                return served.answer(request);
            }
            corrupted_reply(&applied, &served, request, count)
        })
        .unwrap();
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = folder.path().join("disk");
        let target = length + 512 * room;
        std::fs::write(&file, vec![0x55; MARGIN + target + MARGIN]).unwrap();
        let mut devices = FileDevices::new();
        devices.add("sda", &file, None).unwrap();
        let extent = Extent::new(size(MARGIN), size(target)).unwrap();
        devices.add_partition(DISK.as_ref(), 1, extent).unwrap();
        let rules = PackedPolicy { delta, ..PackedPolicy::default() };
        let url = url(&server);
        let found = facts(&url, &rules);
        let known = found.problem.is_none().then_some(found.packed.as_ref()).flatten();
        let result = known.map(|packed| {
            let mut disk = devices.open("/dev/sda1".as_ref(), Access::Write).unwrap();
            write_image(Job {
                url: &url,
                container: Container::Zstd,
                format: "",
                expected: Expected::from(&found),
                allow_unverified: false,
                packed: Some(Packed {
                    facts: packed,
                    ranges: found.ranges,
                    rules: &rules,
                    at_once: 1,
                    discards: false,
                }),
                target: &mut *disk,
                device: "/dev/sda1",
                client: &client(),
                events: &RecordedEvents::default(),
            })
        });
        let disk = std::fs::read(&file).unwrap();
        prop_assert!(disk[..MARGIN].iter().all(|byte| *byte == 0x55), "before it: {:?}", corruption);
        prop_assert!(disk[MARGIN + length..].iter().all(|byte| *byte == 0x55), "behind it: {:?}", corruption);
        match result {
            Some(Ok(_)) => prop_assert!(disk[MARGIN..MARGIN + length] == published.raw),
            Some(Err(error)) => {
                prop_assert!(!matches!(corruption, Corruption::None), "{}", error);
                // not bootable: the head is zeroed, or was never touched
                let head = &disk[MARGIN..2 * MARGIN];
                prop_assert!(head.iter().all(|byte| *byte == 0) || head.iter().all(|byte| *byte == 0x55));
            }
            None => prop_assert!(!matches!(corruption, Corruption::None), "{:?}", found.problem),
        }
    }
}
