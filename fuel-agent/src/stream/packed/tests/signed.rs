//! Signatures: which are accepted and which refused, when planning and again when writing.

use minisign::KeyPair;
use os_image::signature::TrustedKey;

use super::*;
use crate::model::error::{Error, Kind};
use crate::model::trust::{ImagePolicy, Trust};

fn sign(key: &KeyPair, bytes: &[u8]) -> Vec<u8> {
    let signature = minisign::sign(Some(&key.pk), &key.sk, bytes, None, None).unwrap();
    signature.into_string().into_bytes()
}

fn trusting(keys: &[&KeyPair]) -> PackedPolicy {
    let parse = |key: &&KeyPair| TrustedKey::parse(&key.pk.to_base64()).unwrap();
    PackedPolicy {
        keys: keys.iter().map(parse).collect(),
        images: ImagePolicy {
            require_signature: true,
            ..ImagePolicy::default()
        },
        ..PackedPolicy::default()
    }
}

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

/// A server with the image, its manifest, and `signature`.
fn with(published: &Published, signature: Option<Vec<u8>>) -> FaultServer {
    let mut files = BTreeMap::from([
        ("/x.img.zst".to_owned(), published.data.clone()),
        ("/x.manifest.json".to_owned(), published.text()),
    ]);
    if let Some(signature) = signature {
        files.insert("/x.manifest.json.minisig".to_owned(), signature);
    }
    serving(files)
}

#[test]
fn an_image_signed_by_a_trusted_key_is_written_and_its_key_is_named() {
    let published = Published::of(image(3 * MIB));
    let (ours, other) = (pair(), pair());
    let server = with(&published, Some(sign(&ours, &published.text())));
    let devices = dirty(3 * MIB);
    let rules = trusting(&[&other, &ours]);
    let done = install(&devices, &url(&server), &rules);
    let key = rules.keys[1].id().to_string();
    assert_eq!(done.packed().signed_by.as_ref(), Some(&key));
    assert_eq!(done.outcome().trust, Trust::Signature);
    assert!(content(&devices, 0, 3 * MIB) == published.raw);
}

#[test]
fn a_signature_that_is_missing_or_wrong_is_a_problem_that_says_why() {
    let published = Published::of(image(3 * MIB));
    let (ours, other) = (pair(), pair());
    let text = published.text();
    let mut older = published.clone();
    older.manifest.release -= 1;
    for (signature, why) in [
        (None, "is not signed: "),
        (Some(sign(&other, &text)), "which is not trusted"),
        (Some(sign(&ours, &older.text())), "does not match the file"),
        (Some(sign(&ours, b"")), "does not match the file"),
        (Some(b"nonsense".to_vec()), "not a valid minisign signature"),
        (Some(Vec::new()), "not a valid minisign signature"),
    ] {
        let server = with(&published, signature);
        let problem = facts(&url(&server), &trusting(&[&ours])).problem.unwrap();
        assert!(problem.contains(why), "{problem}");
        // without a trusted key no signature is fetched
        assert_eq!(facts(&url(&server), &PackedPolicy::default()).problem, None);
    }
}

#[test]
fn a_signature_removed_after_planning_is_noticed() {
    let published = Published::of(image(3 * MIB));
    let ours = pair();
    let rules = trusting(&[&ours]);
    let good = with(&published, Some(sign(&ours, &published.text())));
    let known = facts(&url(&good), &rules);
    drop(good);
    let bad = with(&published, None);
    let devices = dirty(3 * MIB);
    let done = write_known(&devices, &url(&bad), &rules, &known, &client());
    let error = Error::from(done.result.unwrap_err());
    assert_eq!(error.kind, Kind::Image);
    assert!(error.what.contains("is not signed"), "{}", error.what);
    assert!(
        content(&devices, 0, 3 * MIB)
            .iter()
            .all(|byte| *byte == 0xaa)
    );
}

#[test]
fn facts_from_a_file_do_not_replace_the_signature() {
    let published = Published::of(image(3 * MIB));
    let server = with(&published, None);
    let mut claimed = facts(&url(&server), &PackedPolicy::default());
    claimed.packed.as_mut().unwrap().signed_by = Some("57DD08A3D74587E8".to_owned());
    claimed.packed.as_mut().unwrap().release = 99;
    let policy = |images: ImagePolicy| PackedPolicy {
        images,
        ..PackedPolicy::default()
    };
    let signed = policy(ImagePolicy {
        require_signature: true,
        ..ImagePolicy::default()
    });
    let strict = policy(ImagePolicy {
        strict: true,
        ..ImagePolicy::default()
    });
    let mut newer = policy(ImagePolicy::default());
    newer.images.min_release.any = 8;
    for (rules, why) in [
        (signed, "no key is trusted"),
        (strict, "no key is trusted"),
        (newer, "release 7, and 8 is"),
    ] {
        let address = url(&server).as_str().into();
        assert!(rules.check(&address, &claimed).is_ok());
        let devices = dirty(3 * MIB);
        let done = write_known(&devices, &url(&server), &rules, &claimed, &client());
        let error = Error::from(done.result.unwrap_err());
        assert!(
            error.kind == Kind::Image && error.what.contains(why),
            "{}",
            error.what
        );
        assert!(
            content(&devices, 0, 3 * MIB)
                .iter()
                .all(|byte| *byte == 0xaa)
        );
    }
}

#[test]
fn an_image_that_was_signed_under_another_name_is_not_passed_off_for_this_one() {
    let mut published = Published::of(image(3 * MIB));
    published.manifest.name = "y".to_owned();
    let ours = pair();
    let rules = trusting(&[&ours]);
    let server = with(&published, Some(sign(&ours, &published.text())));
    let mut known = facts(&url(&server), &rules);
    let problem = known.problem.take().unwrap();
    assert!(
        problem.ends_with("/x.manifest.json is the manifest of `y`, not of this image"),
        "{problem}"
    );
    // nor where the facts are from a file
    let devices = dirty(3 * MIB);
    let done = write_known(&devices, &url(&server), &rules, &known, &client());
    let error = Error::from(done.result.unwrap_err());
    assert!(error.what.ends_with("is that of `y`"), "{}", error.what);
    // names of what is not signed prove nothing
    assert_eq!(facts(&url(&server), &PackedPolicy::default()).problem, None);
}

#[test]
fn where_no_signature_is_required_an_unsigned_image_is_taken_and_a_wrong_signature_is_not() {
    let published = Published::of(image(3 * MIB));
    let (ours, other) = (pair(), pair());
    let mut rules = trusting(&[&ours]);
    rules.images.require_signature = false;
    let server = with(&published, None);
    let done = install(&dirty(3 * MIB), &url(&server), &rules);
    assert_eq!(done.outcome().trust, Trust::SameServer);
    let server = with(&published, Some(sign(&other, &published.text())));
    let problem = facts(&url(&server), &rules).problem.unwrap();
    assert!(problem.contains("which is not trusted"), "{problem}");
}

#[test]
fn a_stream_without_a_manifest_is_not_said_to_have_an_unsigned_one() {
    let files = BTreeMap::from([("/x.img.zst".to_owned(), Published::of(image(MIB)).data)]);
    let server = serving(files);
    let facts = facts(&url(&server), &trusting(&[&pair()]));
    assert!(
        facts.problem.is_none() && facts.packed.is_none(),
        "{facts:?}"
    );
}
