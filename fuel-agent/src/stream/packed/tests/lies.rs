//! Manifests, data and servers that lie: an error with its reason, and nothing outside the target, ever.

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
fn data_that_was_swapped_under_us_is_noticed_and_not_written() {
    let published = Published::of(image(8 * MIB));
    let newer = Published::of(published.raw.iter().map(|byte| byte ^ 1).collect());
    let server = published.serve_data(move |asked, reply, count| {
        if count == 0 {
            reply
        } else {
            newer.answer(asked)
        }
    });
    let devices = dirty(8 * MIB);
    let done = install(&devices, &url(&server), &full());
    let error = done.result.unwrap_err();
    let is_told = matches!(
        error,
        StreamError::Packed(PackedError::WrongChunk { .. } | PackedError::OtherLength { .. })
    );
    assert!(is_told, "{error}");
    assert_eq!(Error::from(error).kind, Kind::Image);
    // every byte is old, or right, or zero where the first MiB was
    let disk = content(&devices, 0, 8 * MIB);
    for (at, byte) in disk.iter().enumerate() {
        let is_fine = *byte == 0xaa || *byte == published.raw[at] || at < MIB && *byte == 0;
        assert!(is_fine, "{at}");
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
fn a_chunk_that_is_listed_and_yet_another_is_the_manifests_fault() {
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
                // but for the zero chunk, which is right, nothing was written
                *byte != 0xaa && !(MIB..2 * MIB).contains(&at)
            })
    );
}

/// What a server tells.
#[derive(Clone, Debug)]
enum Lie {
    /// Bits of the data file are others.
    Flip(usize),
    /// The data file is cut.
    Cut(usize),
    /// Something follows.
    Longer(usize),
    /// Connections break off.
    Drop(usize),
    /// The part of another place comes.
    Elsewhere(usize),
    /// The manifest is another text.
    Manifest(usize, u8),
    /// All is as it should be.
    None,
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        (0..4 * MIB).prop_map(Lie::Flip),
        (0..4 * MIB).prop_map(Lie::Cut),
        (1..100_usize).prop_map(Lie::Longer),
        (0..400_000_usize).prop_map(Lie::Drop),
        (1..100_000_usize).prop_map(Lie::Elsewhere),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Lie::Manifest(at, byte)),
        Just(Lie::None),
    ]
}

fn tell(lie: &Lie, published: &Published, asked: &Asked, count: usize) -> Reply {
    let mut spoilt = published.data.clone();
    let length = spoilt.len();
    match (lie, asked.target.as_str()) {
        (Lie::Manifest(at, byte), "/x.manifest.json") => {
            let mut text = published.text();
            let at = at % text.len();
            text[at] = *byte;
            Reply::whole(&text)
        }
        (Lie::Flip(at), "/x.img.zst") => {
            spoilt[at % length] ^= 4;
            Reply::file(asked, &spoilt, "\"a\"")
        }
        (Lie::Cut(at), "/x.img.zst") => {
            spoilt.truncate(at % length);
            Reply::file(asked, &spoilt, "\"a\"")
        }
        (Lie::Longer(more), "/x.img.zst") => {
            spoilt.extend(vec![7; *more]);
            Reply::file(asked, &spoilt, "\"a\"")
        }
        (Lie::Drop(at), "/x.img.zst") if count < 4 => {
            published.answer(asked).fault(Mishap::DropAt(*at))
        }
        (Lie::Elsewhere(by), "/x.img.zst") => {
            spoilt.rotate_left(by % length);
            Reply::file(asked, &spoilt, "\"a\"")
        }
        _ => published.answer(asked),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The target is a partition in the middle of a file: whatever anybody tells, what is around it stays.
    #[test]
    fn whatever_anybody_tells_the_fence_around_the_target_holds(
        lie in lie(),
        delta in prop::sample::select(vec![DeltaPolicy::Auto, DeltaPolicy::Always, DeltaPolicy::Never]),
        length in (1_usize..9).prop_map(|sectors| 2 * MIB + 512 * sectors),
        room in 0_usize..3,
    ) {
        const FENCE: usize = MIB;
        let published = Published::of(image(length));
        let told = published.clone();
        let said = lie.clone();
        let mut count = 0;
        let server = FaultServer::start(move |asked| {
            count += 1;
            // the first look at the data file is honest: else nothing would be written at all
            if asked.number == 0 {
                return told.answer(asked);
            }
            tell(&said, &told, asked, count)
        })
        .unwrap();
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = folder.path().join("disk");
        let target = length + 512 * room;
        std::fs::write(&file, vec![0x55; FENCE + target + FENCE]).unwrap();
        let mut devices = FileDevices::new();
        devices.add("sda", &file, None).unwrap();
        let extent = Extent::new(size(FENCE), size(target)).unwrap();
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
                packed: Some(Packed { facts: packed, ranges: found.ranges, rules: &rules, at_once: 1, discards: false }),
                target: &mut *disk,
                device: "/dev/sda1",
                client: &client(),
                events: &RecordedEvents::default(),
            })
        });
        let disk = std::fs::read(&file).unwrap();
        prop_assert!(disk[..FENCE].iter().all(|byte| *byte == 0x55), "before it: {:?}", lie);
        prop_assert!(disk[FENCE + length..].iter().all(|byte| *byte == 0x55), "behind it: {:?}", lie);
        match result {
            Some(Ok(_)) => prop_assert!(disk[FENCE..FENCE + length] == published.raw),
            Some(Err(error)) => {
                prop_assert!(!matches!(lie, Lie::None), "{}", error);
                // not bootable: the beginning is gone, or was never touched
                let head = &disk[FENCE..2 * FENCE];
                prop_assert!(head.iter().all(|byte| *byte == 0) || head.iter().all(|byte| *byte == 0x55));
            }
            None => prop_assert!(!matches!(lie, Lie::None), "{:?}", found.problem),
        }
    }
}
