//! `--digest`: the digest that an image has to have when it is unpacked, as the caller states it.

use crate::model::digest::{Algorithm, DocumentedDigests, StatedDigest};
use crate::model::error::{Error, Kind};
use crate::model::sources::SourceFacts;
use crate::stream::DIGEST_OPTION;

/// Reads `ALGORITHM:HEX`.
pub(super) fn parse(text: &str) -> Result<StatedDigest, Error> {
    let (name, digits) = text.split_once(':').unwrap_or_default();
    let algorithm = Algorithm::by_name(name).filter(|algorithm| algorithm.accepts(digits));
    let stated = algorithm.map(|it| StatedDigest::new(it, digits, DIGEST_OPTION));
    stated.ok_or_else(|| {
        Error::new(Kind::Usage, format!("`--digest {text}` is not a digest"))
            .hint("write `sha256:` or `blake3:` and 64 hexadecimal digits, or `md5:` and 32")
    })
}

/// Adds it to what is known. A digest beside the image on the server must not differ.
pub(super) fn join(stated: &StatedDigest, facts: &mut SourceFacts) -> Result<(), Error> {
    let mut digests = DocumentedDigests::default();
    *digests.place(stated.algorithm) = Some(stated.digest.clone());
    facts
        .require(&digests, &stated.stated_by)
        .map_err(|contradiction| {
            let hint = "correct `--digest`, or publish image and metadata together";
            Error::new(Kind::Image, contradiction.to_string()).hint(hint)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::render;
    use crate::model::sources::PackedFacts;

    #[test]
    fn a_digest_names_its_algorithm() {
        let (long, short) = ("A".repeat(64), "B".repeat(32));
        for (text, algorithm) in [
            (format!("sha256:{long}"), Algorithm::Sha256),
            (format!("blake3:{long}"), Algorithm::Blake3),
            (format!("md5:{short}"), Algorithm::Md5),
        ] {
            let parsed = parse(&text).unwrap();
            assert_eq!(parsed.algorithm, algorithm);
            assert_eq!(parsed.digest, parsed.digest.to_lowercase());
        }
        for text in [
            "",
            "sha256:",
            "sha256:xyz",
            "md5",
            "sha512:00",
            "blake3:00",
            &"0".repeat(64),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        insta::assert_snapshot!(render(&parse("abc").unwrap_err()), @r"
        error: `--digest abc` is not a digest
          hint: write `sha256:` or `blake3:` and 64 hexadecimal digits, or `md5:` and 32
        ");
    }

    #[test]
    fn a_digest_that_the_metadata_contradicts_is_refused_and_one_that_it_repeats_is_computed() {
        let sha256 = |digit: &str| parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
        let md5 = |digit: &str| parse(&format!("md5:{}", digit.repeat(32))).unwrap();
        let mut facts = SourceFacts {
            raw_md5: Some("0".repeat(32)),
            ..SourceFacts::default()
        };
        facts.stated = facts.stated_by("http://h/x.yaml").into_iter().collect();
        join(&sha256("1"), &mut facts).unwrap();
        join(&md5("0"), &mut facts).unwrap();
        let requested = |stated: StatedDigest| stated.requested();
        assert_eq!(facts.stated, [requested(sha256("1")), requested(md5("0"))]);
        let error = join(&md5("2"), &mut facts).unwrap_err();
        assert_eq!(error.kind, Kind::Image);
        // a packed image stays one, whatever digest of the whole its manifest has
        facts.packed = Some(PackedFacts::default());
        join(&sha256("1"), &mut facts).unwrap();
        assert!(facts.packed.is_some());
        let error = join(&sha256("3"), &mut facts).unwrap_err();
        assert!(
            error.to_string().contains("manifest says sha256 1111"),
            "{error}"
        );
    }
}
