//! What images are trusted by, and what is refused.

use super::*;
use crate::model::digest::StatedDigest;
use crate::model::error::Kind;
use crate::model::sources::PackedFacts;

const KEY: &str = "57DD08A3D74587E8";

fn stated(algorithm: Algorithm, by: &str) -> StatedDigest {
    let digest = "0".repeat(algorithm.digits());
    let stated = StatedDigest::new(algorithm, &digest, by);
    if by == "the request" {
        stated.requested()
    } else {
        stated
    }
}

fn stream(digests: &[(Algorithm, &str)]) -> SourceFacts {
    SourceFacts {
        stated: digests.iter().map(|(it, by)| stated(*it, by)).collect(),
        ..SourceFacts::default()
    }
}

fn packed(found_at: &str, signed: bool) -> SourceFacts {
    SourceFacts {
        packed: Some(PackedFacts {
            found_at: found_at.to_owned(),
            signed_by: signed.then(|| KEY.to_owned()),
            ..PackedFacts::default()
        }),
        ..SourceFacts::default()
    }
}

fn signed(facts: SourceFacts) -> SourceFacts {
    SourceFacts {
        signed_by: Some(KEY.to_owned()),
        ..facts
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_an_image_is_trusted_by_and_what_speaks_against_it() {
    use Algorithm::{Blake3, Md5, Sha256};
    use Doubt::{Md5Only, NoDigest, PlainHttp};
    const HTTP: &str = "http://h/x.yaml";
    const TLS: &str = "https://h/x.yaml";
    const ASKED: &str = "the request";
    let table: [(&str, SourceFacts, Trust, &[Doubt]); 20] = [
        ("http", stream(&[]), Trust::None, &[NoDigest]),
        ("https", stream(&[]), Trust::None, &[NoDigest]),
        (
            "http",
            stream(&[(Sha256, HTTP)]),
            Trust::SameServer,
            &[PlainHttp],
        ),
        (
            "http",
            stream(&[(Md5, HTTP)]),
            Trust::SameServer,
            &[PlainHttp, Md5Only],
        ),
        ("http", stream(&[(Sha256, TLS)]), Trust::SameServer, &[]),
        ("https", stream(&[(Sha256, HTTP)]), Trust::SameServer, &[]),
        ("https", stream(&[(Blake3, TLS)]), Trust::SameServer, &[]),
        (
            "https",
            stream(&[(Md5, TLS)]),
            Trust::SameServer,
            &[Md5Only],
        ),
        (
            "file",
            stream(&[(Sha256, "/srv/x.yaml")]),
            Trust::SameServer,
            &[],
        ),
        (
            "HTTP",
            stream(&[(Sha256, HTTP)]),
            Trust::SameServer,
            &[PlainHttp],
        ),
        (
            "http",
            stream(&[(Md5, HTTP), (Sha256, ASKED)]),
            Trust::Request,
            &[],
        ),
        (
            "http",
            stream(&[(Sha256, HTTP), (Md5, ASKED)]),
            Trust::Request,
            &[Md5Only],
        ),
        (
            "https",
            stream(&[(Sha256, TLS), (Md5, ASKED)]),
            Trust::Request,
            &[],
        ),
        (
            "http",
            signed(stream(&[(Sha256, HTTP)])),
            Trust::Signature,
            &[],
        ),
        (
            "http",
            signed(stream(&[(Md5, HTTP)])),
            Trust::Signature,
            &[Md5Only],
        ),
        (
            "http",
            signed(stream(&[(Sha256, HTTP), (Md5, ASKED)])),
            Trust::Signature,
            &[],
        ),
        (
            "http",
            packed("http://h/x.manifest.json", false),
            Trust::SameServer,
            &[PlainHttp],
        ),
        (
            "http",
            packed("https://h/x.manifest.json", false),
            Trust::SameServer,
            &[],
        ),
        (
            "https",
            packed("http://m/x.manifest.json", false),
            Trust::SameServer,
            &[PlainHttp],
        ),
        (
            "http",
            packed("http://h/x.manifest.json", true),
            Trust::Signature,
            &[],
        ),
    ];
    for (scheme, facts, trust, doubts) in table {
        let url = RedactedUrl::from(format!("{scheme}://h/x.img"));
        assert_eq!(facts.trust(), trust, "{url} {facts:?}");
        assert_eq!(facts.doubts(&url), doubts, "{url} {facts:?}");
    }
}

#[test]
fn strict_makes_each_doubt_a_refusal_of_policy() {
    let url = RedactedUrl::from("http://h/x.img");
    let facts = stream(&[(Algorithm::Md5, "http://h/x.yaml")]);
    let lenient = ImagePolicy::default();
    assert_eq!(lenient.rejections(&url, &facts), []);
    let strict = ImagePolicy {
        strict: true,
        ..ImagePolicy::default()
    };
    let rejections = strict.rejections(&url, &facts);
    assert_eq!(rejections.len(), 2);
    assert!(rejections.iter().all(|it| it.kind == Kind::Refused));
    let asked = stream(&[(Algorithm::Sha256, "the request")]);
    assert_eq!(strict.rejections(&url, &asked), []);
}

#[test]
fn a_release_may_have_a_least_of_its_name() {
    let policy = ImagePolicy {
        min_release: MinRelease {
            any: 3,
            by_name: [("old".to_owned(), 1), ("debian".to_owned(), 7)].into(),
        },
        ..ImagePolicy::default()
    };
    let url = RedactedUrl::from("https://h/x.img.zst");
    for (name, release, is_taken) in [
        ("debian", 6, false),
        ("debian", 7, true),
        ("old", 2, false),
        ("other", 3, true),
    ] {
        let mut facts = packed("https://h/x.manifest.json", true);
        if let Some(packed) = &mut facts.packed {
            (packed.name, packed.release) = (name.to_owned(), release);
        }
        assert_eq!(
            policy.rejections(&url, &facts).is_empty(),
            is_taken,
            "{name} {release}"
        );
    }
}
