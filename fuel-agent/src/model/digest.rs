//! Digests of whole images: the algorithms, and the source of each stated digest.

use serde::{Deserialize, Serialize};

/// Hash algorithm of a stated digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// BLAKE3 with 32 bytes of output.
    Blake3,
    /// MD5, which Fuel's metadata has: it detects damage, not forgery.
    Md5,
}

impl Algorithm {
    /// Its name in metadata, on the command line and in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
            Self::Md5 => "md5",
        }
    }

    /// The algorithm of this lower-case name; `None` for others.
    pub fn by_name(name: &str) -> Option<Self> {
        let mut all = [Self::Sha256, Self::Blake3, Self::Md5].into_iter();
        all.find(|algorithm| algorithm.name() == name)
    }

    /// Hexadecimal digits of such a digest.
    pub const fn digits(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Md5 => 32,
        }
    }

    /// Whether `text` can be such a digest in hexadecimal, in upper or lower case.
    pub fn accepts(self, text: &str) -> bool {
        text.len() == self.digits() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// A digest that the unpacked image has to have. It is computed over what is written, even where another source states
/// the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedDigest {
    /// Hash algorithm.
    pub algorithm: Algorithm,
    /// Hexadecimal, in lower case.
    pub digest: String,
    /// Source of the digest, as errors and the report name it: `--digest`, or the address of a document without
    /// secrets.
    pub stated_by: String,
}

impl StatedDigest {
    /// A digest that `stated_by` states.
    pub fn new(algorithm: Algorithm, digest: &str, stated_by: &str) -> Self {
        Self {
            algorithm,
            digest: digest.to_lowercase(),
            stated_by: stated_by.to_owned(),
        }
    }
}

/// The digests of one image in one document.
#[derive(Clone, Copy, Debug, Default)]
pub struct Documented<'a> {
    /// Sha256, 64 hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// BLAKE3, 64 hexadecimal digits.
    pub blake3: Option<&'a str>,
    /// MD5, 32 hexadecimal digits.
    pub md5: Option<&'a str>,
}

impl Documented<'_> {
    /// The one that is computed: the other digests of the same document would prove nothing more. A stream is digested
    /// by sha256 anyway; of a packed image BLAKE3 costs next to nothing, and anything else costs reading it back.
    pub fn stated_by(self, document: &str, is_packed: bool) -> Option<StatedDigest> {
        let sha256 = (Algorithm::Sha256, self.sha256);
        let blake3 = (Algorithm::Blake3, self.blake3);
        let (first, second) = if is_packed {
            (blake3, sha256)
        } else {
            (sha256, blake3)
        };
        let known = [first, second, (Algorithm::Md5, self.md5)].into_iter();
        known
            .filter_map(|(algorithm, digest)| Some((algorithm, digest?)))
            .map(|(algorithm, digest)| StatedDigest::new(algorithm, digest, document))
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_digests_of_a_document_the_cheapest_strong_one_is_computed() {
        let (long, short) = ("AB".repeat(32), "cd".repeat(16));
        let (sha256, blake3, md5) = (Some(&*long), Some(&*long), Some(&*short));
        for (sha256, blake3, md5, stream, packed) in [
            (None, None, md5, Algorithm::Md5, Algorithm::Md5),
            (sha256, None, md5, Algorithm::Sha256, Algorithm::Sha256),
            (None, blake3, md5, Algorithm::Blake3, Algorithm::Blake3),
            (sha256, blake3, md5, Algorithm::Sha256, Algorithm::Blake3),
        ] {
            let documented = Documented {
                sha256,
                blake3,
                md5,
            };
            for (is_packed, expected) in [(false, stream), (true, packed)] {
                let stated = documented.stated_by("x.yaml", is_packed).unwrap();
                assert_eq!(stated.algorithm, expected, "{documented:?}");
                assert_eq!(stated.digest, stated.digest.to_lowercase());
            }
        }
        assert_eq!(Documented::default().stated_by("x.yaml", true), None);
    }

    #[test]
    fn a_digest_has_the_digits_of_its_algorithm() {
        for (name, digits) in [("sha256", 64), ("blake3", 64), ("md5", 32)] {
            let algorithm = Algorithm::by_name(name).unwrap();
            assert_eq!(algorithm.name(), name);
            assert!(algorithm.accepts(&"aF".repeat(digits / 2)));
            assert!(!algorithm.accepts(&"a".repeat(digits - 1)));
            assert!(!algorithm.accepts(&"x".repeat(digits)));
        }
        assert_eq!(Algorithm::by_name("sha512"), None);
    }
}
