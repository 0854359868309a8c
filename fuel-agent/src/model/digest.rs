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

/// Who states a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The requester: the request, `--digest`, or a file of `--sources`.
    Requester,
    /// A document beside the image.
    #[default]
    Server,
}

/// A digest that the unpacked image has to have. It is computed over what is written, even where another source states
/// the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedDigest {
    /// Hash algorithm.
    pub algorithm: Algorithm,
    /// Hexadecimal, in lower case.
    pub digest: String,
    /// Source of the digest, as errors and the report name it: `the request`, `--digest`, or the address of a document
    /// without secrets.
    pub stated_by: String,
    /// Who states it.
    #[serde(default)]
    pub origin: Origin,
}

impl StatedDigest {
    /// A digest that the document `stated_by`, beside the image, states.
    pub fn new(algorithm: Algorithm, digest: &str, stated_by: &str) -> Self {
        Self {
            algorithm,
            digest: digest.to_lowercase(),
            stated_by: stated_by.to_owned(),
            origin: Origin::Server,
        }
    }

    /// The same digest, stated by the requester.
    #[must_use]
    pub fn requested(self) -> Self {
        Self {
            origin: Origin::Requester,
            ..self
        }
    }

    /// Whether it is the same digest, whoever states it.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.algorithm, &self.digest) == (other.algorithm, &other.digest)
    }
}

/// The digests of one unpacked image that one document states, in lower-case hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentedDigests {
    /// Sha256, 64 digits.
    pub sha256: Option<String>,
    /// BLAKE3, 64 digits.
    pub blake3: Option<String>,
    /// MD5, 32 digits.
    pub md5: Option<String>,
}

impl DocumentedDigests {
    /// The digest by `algorithm`.
    pub const fn place(&mut self, algorithm: Algorithm) -> &mut Option<String> {
        match algorithm {
            Algorithm::Sha256 => &mut self.sha256,
            Algorithm::Blake3 => &mut self.blake3,
            Algorithm::Md5 => &mut self.md5,
        }
    }

    /// All that there are, strongest first.
    pub fn iter(&self) -> impl Iterator<Item = (Algorithm, &str)> {
        let all = [
            (Algorithm::Sha256, &self.sha256),
            (Algorithm::Blake3, &self.blake3),
            (Algorithm::Md5, &self.md5),
        ];
        all.into_iter()
            .filter_map(|(algorithm, digest)| Some((algorithm, digest.as_deref()?)))
    }

    /// The one that is computed: the other digests of the same document would prove nothing more. A stream is digested
    /// by sha256 anyway; of a packed image BLAKE3 costs next to nothing, and anything else costs reading it back.
    pub fn stated_by(&self, document: &str, is_packed: bool) -> Option<StatedDigest> {
        let blake3 = self.iter().find(|(it, _)| *it == Algorithm::Blake3);
        let cheapest = blake3.filter(|_| is_packed).or_else(|| self.iter().next());
        cheapest.map(|(algorithm, digest)| StatedDigest::new(algorithm, digest, document))
    }
}

/// Two sources state different digests of one image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{known_by} says {} {known}, {given_by} says {given}", .algorithm.name())]
pub struct Contradiction {
    /// Hash algorithm of both.
    pub algorithm: Algorithm,
    /// Digest that was known first.
    pub known: String,
    /// Source of `known`.
    pub known_by: String,
    /// Digest that is stated besides.
    pub given: String,
    /// Source of `given`.
    pub given_by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_digests_of_a_document_the_cheapest_strong_one_is_computed() {
        let (long, short) = ("AB".repeat(32), "cd".repeat(16));
        let (sha256, blake3, md5) = (&Some(long.clone()), &Some(long), &Some(short));
        for (sha256, blake3, md5, stream, packed) in [
            (&None, &None, md5, Algorithm::Md5, Algorithm::Md5),
            (sha256, &None, md5, Algorithm::Sha256, Algorithm::Sha256),
            (&None, blake3, md5, Algorithm::Blake3, Algorithm::Blake3),
            (sha256, blake3, md5, Algorithm::Sha256, Algorithm::Blake3),
        ] {
            let documented = DocumentedDigests {
                sha256: sha256.clone(),
                blake3: blake3.clone(),
                md5: md5.clone(),
            };
            for (is_packed, expected) in [(false, stream), (true, packed)] {
                let stated = documented.stated_by("x.yaml", is_packed).unwrap();
                assert_eq!(stated.algorithm, expected, "{documented:?}");
                assert_eq!(stated.digest, stated.digest.to_lowercase());
            }
        }
        assert_eq!(DocumentedDigests::default().stated_by("x.yaml", true), None);
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
