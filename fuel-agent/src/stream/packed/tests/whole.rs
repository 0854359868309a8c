//! Digests of the whole that others than the manifest state are computed over what is written, whatever the manifest
//! claims.

use super::*;
use crate::model::digest::{Algorithm, StatedDigest};
use crate::model::error::{Error, Kind};
use crate::model::report::{CheckedDigest, DigestedPart};
use crate::source::policy::{DeltaPolicy, PackedPolicy};
use crate::stream::packed::PackedError;

const LENGTH: usize = 13 * MIB + 512;

const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Blake3, Algorithm::Md5];

fn digest(algorithm: Algorithm, raw: &[u8]) -> StatedDigest {
    let hex = match algorithm {
        Algorithm::Sha256 => os_image::hex::text(&sha2::Sha256::digest(raw)),
        Algorithm::Blake3 => blake3::hash(raw).to_string(),
        Algorithm::Md5 => os_image::hex::text(&md5::Md5::digest(raw)),
    };
    StatedDigest::new(algorithm, &hex, "the caller")
}

/// An image whose manifest claims the digests of `other`.
fn claiming(raw: Vec<u8>, other: &[u8]) -> Published {
    let mut published = Published::of(raw);
    let image = &mut published.manifest.images[0];
    image.raw_sha256 = sha2::Sha256::digest(other).into();
    image.raw_md5 = Some(md5::Md5::digest(other).into());
    published
}

/// An image, and one that differs in a few bytes near its end.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let good = image(LENGTH);
    let mut other = good.clone();
    other[9 * MIB + 7..9 * MIB + 11].copy_from_slice(b"EVIL");
    (good, other)
}

fn rules(delta: DeltaPolicy) -> PackedPolicy {
    PackedPolicy {
        delta,
        ..PackedPolicy::default()
    }
}

/// Writes, or only checks, with digests stated elsewhere.
fn write(
    devices: &FakeDevices,
    server: &FaultServer,
    rules: &PackedPolicy,
    stated: &[StatedDigest],
    discards: bool,
) -> Result<ImageOutcome, StreamError> {
    let url = url(server);
    let mut facts = facts(&url, rules);
    assert_eq!(facts.problem, None);
    facts.stated = stated.to_vec();
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    write_image(Job {
        url: &url,
        container: Container::Zstd,
        format: "",
        expected: Expected::from(&facts),
        allow_unverified: false,
        packed: Some(Packed {
            facts: facts.packed.as_ref().unwrap(),
            ranges: facts.ranges,
            rules,
            at_once: 1,
            discards,
        }),
        target: &mut *target,
        device: DISK,
        client: &client(),
        events: &RecordedEvents::default(),
    })
}

#[test]
fn a_manifest_that_claims_another_image_does_not_pass_that_images_digest() {
    let (good, other) = pair();
    let server = claiming(other.clone(), &good).serve();
    for (delta, discards) in [
        (DeltaPolicy::Never, false),
        (DeltaPolicy::Always, false),
        (DeltaPolicy::Never, true),
    ] {
        for algorithm in ALL {
            let devices = dirty(LENGTH);
            if delta == DeltaPolicy::Always {
                devices.put(DISK, Bytes::ZERO, &other).unwrap();
            }
            let stated = [digest(algorithm, &good)];
            let error = write(&devices, &server, &rules(delta), &stated, discards).unwrap_err();
            let is_told = matches!(error, StreamError::Digest { .. });
            assert!(is_told, "{delta:?} {algorithm:?}: {error}");
            assert!(error.to_string().contains("the caller says"), "{error}");
            assert_eq!(error.kind(), Kind::Image);
            // nothing is left that could be mounted or booted
            assert!(content(&devices, 0, MIB).iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn a_matching_digest_is_computed_and_reported_with_its_source() {
    for length in [LENGTH, 8 * MIB, 512, MIB] {
        let published = claiming(image(length), &image(length));
        let server = published.serve();
        let stated = ALL.map(|algorithm| digest(algorithm, &published.raw));
        for (delta, discards) in [
            (DeltaPolicy::Never, false),
            (DeltaPolicy::Always, false),
            (DeltaPolicy::Never, true),
        ] {
            let devices = dirty(length);
            if delta == DeltaPolicy::Always {
                devices.put(DISK, Bytes::ZERO, &published.raw).unwrap();
            }
            let outcome = write(&devices, &server, &rules(delta), &stated, discards)
                .unwrap_or_else(|error| panic!("{length} {delta:?} {discards}: {error}"));
            assert!(content(&devices, 0, length) == published.raw);
            assert!(outcome.verified && outcome.raw_sha256_computed);
            let (chunks, whole) = outcome.digests_checked.split_first().unwrap();
            assert_eq!((chunks.of, &chunks.digest), (DigestedPart::Chunks, &None));
            assert!(chunks.stated_by.ends_with("/x.manifest.json"), "{chunks:?}");
            let expected = stated.each_ref().map(CheckedDigest::from);
            assert_eq!(whole, expected);
        }
    }
}

#[test]
fn a_digest_that_only_the_manifest_states_is_reported_as_its_claim() {
    let (good, other) = pair();
    let published = claiming(other.clone(), &good);
    let server = published.serve();
    let devices = dirty(LENGTH);
    let outcome = write(&devices, &server, &rules(DeltaPolicy::Never), &[], false).unwrap();
    assert!(content(&devices, 0, LENGTH) == other);
    // only the chunks were verified
    assert!(outcome.verified && !outcome.raw_sha256_computed);
    assert_eq!(outcome.digests_checked.len(), 1);
    assert_eq!(outcome.digests_checked[0].of, DigestedPart::Chunks);
}

#[test]
fn a_manifest_that_says_something_else_than_the_caller_is_refused_before_anything_is_touched() {
    let (good, other) = pair();
    let server = claiming(good.clone(), &good).serve();
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let devices = dirty(LENGTH);
        let stated = [digest(algorithm, &other)];
        let error = write(
            &devices,
            &server,
            &rules(DeltaPolicy::Never),
            &stated,
            false,
        )
        .unwrap_err();
        assert!(
            matches!(error, StreamError::Packed(PackedError::Claim { .. })),
            "{error}"
        );
        assert_eq!(Error::from(error).kind, Kind::Image);
        assert!(
            content(&devices, 0, LENGTH)
                .iter()
                .all(|byte| *byte == 0xaa)
        );
    }
}

#[test]
fn fuels_yaml_is_compared_with_the_manifest_and_computed_besides() {
    let (good, other) = pair();
    let published = claiming(other, &good);
    let sha256 = digest(Algorithm::Sha256, &good).digest;
    let yaml = format!("images:\n- container_name: {FILE}\n  raw_sha256: '{sha256}'\n");
    let files = BTreeMap::from([
        (format!("/{FILE}"), published.data.clone()),
        (format!("/{MANIFEST}"), published.text()),
        ("/x.yaml".to_owned(), yaml.into_bytes()),
    ]);
    let server = serving(files);
    let devices = dirty(LENGTH);
    let error = install(&devices, &url(&server), &rules(DeltaPolicy::Never))
        .result
        .unwrap_err();
    let expected = format!("{} says {sha256}", server.url("/x.yaml"));
    assert!(error.to_string().ends_with(&expected), "{error}");
    assert!(content(&devices, 0, MIB).iter().all(|byte| *byte == 0));
}

#[test]
fn chunks_received_out_of_order_are_digested_in_order() {
    let published = Published::of(image(LENGTH));
    // the first answers are corrupted: the wrong chunks are fetched again, after their successors
    let server = published.serve_data(|_, mut reply, count| {
        if count < 2 {
            reply.body[0] ^= 1;
        }
        reply
    });
    let stated = [digest(Algorithm::Sha256, &published.raw)];
    let devices = dirty(LENGTH);
    let outcome = write(&devices, &server, &rules(DeltaPolicy::Never), &stated, true).unwrap();
    assert_eq!(outcome.raw_sha256, stated[0].digest);
}
