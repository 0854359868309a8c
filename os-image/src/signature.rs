//! Signatures of manifests, metadata and other files: minisign (Ed25519 over BLAKE2b-512), checked while the manifest
//! is read as a stream.

use std::fmt;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{PublicKey, Signature, StreamVerifier};

use crate::error::ManifestError;
use crate::manifest::{Limits, Manifest};

/// Beginning of the third line of a signature.
const TRUSTED_COMMENT: &str = "trusted comment: ";
/// The longest accepted signature file, in bytes; minisign's own limit is about the same.
pub const SIGNATURE_LIMIT: usize = 16 << 10;

/// The id of a key, displayed as minisign does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key whose signatures are trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    id: KeyId,
    key: PublicKey,
    text: String,
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKey({})", self.id)
    }
}

impl fmt::Display for TrustedKey {
    /// The key as a base64 line, which [`TrustedKey::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a signature or a key was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The text is not a valid public key.
    #[error("not a valid minisign public key: {0}")]
    Key(&'static str),
    /// The text is not a valid signature.
    #[error("not a valid minisign signature: {0}")]
    Malformed(&'static str),
    /// It was made over the whole file rather than its hash, as minisign did before version 0.10.
    #[error("the signature is in minisign's legacy format, which needs the whole file in memory")]
    Legacy,
    /// It was made with a key that is not trusted.
    #[error(
        "the signature is by key {by}, which is not trusted (trusted: {})",
        list(trusted)
    )]
    UnknownKey {
        /// Id of the key that the signature names.
        by: KeyId,
        /// Ids of the trusted keys.
        trusted: Vec<KeyId>,
    },
    /// It is the signature of other bytes, or forged.
    #[error("the signature by key {0} does not match the file")]
    Wrong(KeyId),
}

fn list(keys: &[KeyId]) -> String {
    if keys.is_empty() {
        return String::from("none");
    }
    let names: Vec<String> = keys.iter().map(KeyId::to_string).collect();
    names.join(", ")
}

impl SignatureError {
    /// The hint: an instruction to the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Key(_) => "give the line that begins with RW, or the text of the .pub file",
            Self::Malformed(_) => "fetch or publish the .minisig file again",
            Self::Legacy => "sign it again, with `image-builder sign` or `minisign -SH`",
            Self::UnknownKey { .. } => "trust that key, or publish a signature by a trusted one",
            Self::Wrong(_) => {
                "fetch or publish the file and its .minisig together; if the error stays, one of them was modified"
            }
        }
    }
}

impl TrustedKey {
    /// Reads a public key: its base64 line, or the whole text of a `.pub` file.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let comment = |line: &&str| line.starts_with("untrusted comment:");
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !comment(line));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(SignatureError::Key("it is not one line of base64"));
        };
        let bytes = STANDARD
            .decode(line)
            .map_err(|_| SignatureError::Key("it is not base64"))?;
        let Some((b"Ed", rest)) = bytes.split_first_chunk() else {
            return Err(SignatureError::Key("it does not begin with RW"));
        };
        let Some((id, _)) = rest
            .split_first_chunk::<8>()
            .filter(|(_, key)| key.len() == 32)
        else {
            return Err(SignatureError::Key("it has the wrong length"));
        };
        let key = PublicKey::from_base64(line)
            .map_err(|_| SignatureError::Key("its bytes are not an Ed25519 key"))?;
        Ok(Self {
            id: KeyId(*id),
            key,
            text: line.to_owned(),
        })
    }

    /// The id in the key, which signatures name.
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

/// A signature of a `.minisig` file, not yet verified.
struct Claim {
    by: KeyId,
    signature: Signature,
}

impl Claim {
    fn parse(text: &str) -> Result<Self, SignatureError> {
        let wrong = SignatureError::Malformed;
        if text.len() > SIGNATURE_LIMIT {
            return Err(wrong("it is too long"));
        }
        let lines: Vec<&str> = text.lines().collect();
        let [_, signature, comment, _, ..] = lines[..] else {
            return Err(wrong("it has fewer than four lines"));
        };
        if !comment.starts_with(TRUSTED_COMMENT) {
            return Err(wrong("its third line is not a trusted comment"));
        }
        let bytes = STANDARD
            .decode(signature)
            .map_err(|_| wrong("its second line is not base64"))?;
        let Some((kind, rest)) = bytes.split_first_chunk() else {
            return Err(wrong("its second line is too short"));
        };
        let Some((by, _)) = rest.split_first_chunk() else {
            return Err(wrong("its second line is too short"));
        };
        match kind {
            b"ED" => {}
            b"Ed" => return Err(SignatureError::Legacy),
            _ => return Err(wrong("its algorithm is unknown")),
        }
        let signature =
            Signature::decode(text).map_err(|_| wrong("its second or fourth line is damaged"))?;
        Ok(Self {
            by: KeyId(*by),
            signature,
        })
    }

    /// The key of `keys` that it names, and a verifier for the signed bytes.
    fn check<'k>(&'k self, keys: &'k [TrustedKey]) -> Result<StreamVerifier<'k>, SignatureError> {
        let key = keys.iter().find(|key| key.id == self.by);
        let key = key.ok_or_else(|| SignatureError::UnknownKey {
            by: self.by,
            trusted: keys.iter().map(TrustedKey::id).collect(),
        })?;
        key.key
            .verify_stream(&self.signature)
            .map_err(|_| SignatureError::Malformed("it cannot be checked"))
    }
}

/// A reader that also passes all bytes to the verifier.
struct Fed<'v, 'k, R> {
    inner: R,
    check: &'v mut StreamVerifier<'k>,
}

impl<R: Read> Read for Fed<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.check.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

/// Reads a manifest that one of `keys` has signed: nothing is returned before its signature was verified.
///
/// `signature_text` is the text of its `.minisig` file. Legacy signatures, over the file rather than its hash, are
/// refused: they cannot be verified as a stream.
pub fn read_signed(
    reader: impl Read,
    signature_text: &str,
    keys: &[TrustedKey],
    limits: &Limits,
) -> Result<(Manifest, KeyId), ManifestError> {
    let claim = Claim::parse(signature_text)?;
    let mut check = claim.check(keys)?;
    let fed = Fed {
        inner: reader,
        check: &mut check,
    };
    let manifest = Manifest::read(fed, limits)?;
    check
        .finalize()
        .map_err(|_| SignatureError::Wrong(claim.by))?;
    Ok((manifest, claim.by))
}

/// Verifies a signature over any bytes, as a stream; returns the key that made it.
pub fn verify(
    mut reader: impl Read,
    signature_text: &str,
    keys: &[TrustedKey],
) -> Result<KeyId, ManifestError> {
    let claim = Claim::parse(signature_text)?;
    let mut check = claim.check(keys)?;
    let mut fed = Fed {
        inner: &mut reader,
        check: &mut check,
    };
    io::copy(&mut fed, &mut io::sink()).map_err(ManifestError::Io)?;
    check
        .finalize()
        .map_err(|_| SignatureError::Wrong(claim.by))?;
    Ok(claim.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with minisign 0.11: `minisign -G -W`, `minisign -S -W`, and `minisign -S -l` for a legacy signature.
    const TEXT: &str = "hello manifest\n";
    const PUB: &str = "untrusted comment: minisign public key 57DD08A3D74587E8\n\
                       RWToh0XXowjdV+aRMFOn6ftd821DFuH1wv4wMrA4uqNuZS4OmXZRl6zJ\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUToh0XXowjdV/PtC3ra2a3S4PedfJiF7/h3eo6j4M1wNXUrPslW6XPo+QsD3eLGRT0li+BjEeia7ix4cckh0bqNrhWGwrnVGAs=\n\
        trusted comment: release 7\n\
        pB8xaPMiNolsmmQvAuIomrQjZav3+ElZ0WnuiURoCRlZrCSTVJ5VxkWhpgJzK1d9wmLh+dR+nhuII4DBMsHRDg==\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
        RWToh0XXowjdV6u8xLZMcS9kluKry6qvJysz9Nd4eocN9+3Xgq3imnZfmxGh9QX9lNRPZBSExNORQTemtmG0Uuo+hOBff4O7Owk=\n\
        trusted comment: timestamp:1795564656\tfile:m.json\n\
        RUmnNsvEiStzbr9GkfBt87irRPGbO3lfCYIF4u98pSpTHs+xYj0ocq8XFj1BeKxOpe+T+eyRb/gMwkm4+goeAQ==\n";
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn keys(texts: &[&str]) -> Vec<TrustedKey> {
        let parse = |text: &&str| TrustedKey::parse(text).unwrap();
        texts.iter().map(parse).collect()
    }

    fn error(text: &str, signature: &str, keys: &[TrustedKey]) -> String {
        verify(text.as_bytes(), signature, keys)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_signature_of_minisign_is_right_for_its_file_and_its_key_only() {
        let both = keys(&[OTHER, PUB]);
        let by = verify(TEXT.as_bytes(), SIGNATURE, &both).unwrap();
        assert_eq!(by.to_string(), "57DD08A3D74587E8");
        assert_eq!(by, both[1].id());
        for text in ["", "hello manifest", "Hello manifest\n"] {
            assert_eq!(
                error(text, SIGNATURE, &both),
                "the signature by key 57DD08A3D74587E8 does not match the file"
            );
        }
        assert_eq!(
            error(TEXT, SIGNATURE, &keys(&[OTHER])),
            "the signature is by key 57DD08A3D74587E8, which is not trusted (trusted: E7620F1842B4E81F)"
        );
        assert!(error(TEXT, SIGNATURE, &[]).ends_with("(trusted: none)"));
    }

    #[test]
    fn the_trusted_comment_is_signed_too() {
        let changed = SIGNATURE.replace("release 7", "release 8");
        assert!(error(TEXT, &changed, &keys(&[PUB])).ends_with("does not match the file"));
    }

    #[test]
    fn what_is_no_signature_is_refused_without_panic() {
        let keys = keys(&[PUB]);
        assert!(error(TEXT, LEGACY, &keys).contains("legacy format"));
        let lines: Vec<&str> = SIGNATURE.lines().collect();
        for n in 0..4 {
            for instead in ["", "é", "trusted comment: é", "RU==", "RUToh0XXowjdVw=="] {
                let mut lines = lines.clone();
                lines[n] = instead;
                let text = lines.join("\n");
                let same_meaning = n == 0; // the untrusted comment is not signed
                let result = verify(TEXT.as_bytes(), &text, &keys);
                assert_eq!(result.is_ok(), same_meaning, "line {n}: {instead}");
            }
        }
        assert!(error(TEXT, "", &keys).contains("fewer than four lines"));
        let long = format!("{SIGNATURE}{}", "x".repeat(SIGNATURE_LIMIT));
        assert!(error(TEXT, &long, &keys).contains("too long"));
        for at in 0..SIGNATURE.len() {
            assert!(
                verify(TEXT.as_bytes(), &SIGNATURE[..at], &keys).is_err()
                    || at + 1 >= SIGNATURE.len()
            );
        }
    }

    #[test]
    fn a_key_is_its_line_or_its_file() {
        let key = TrustedKey::parse(PUB).unwrap();
        let line = key.to_string();
        assert_eq!(TrustedKey::parse(&line).unwrap(), key);
        assert_eq!(TrustedKey::parse(&format!("  {line}\n")).unwrap(), key);
        for text in [
            "",
            "RW",
            "x y",
            "untrusted comment: x",
            &line[..40],
            &format!("{line}\n{line}"),
            SIGNATURE,
        ] {
            assert!(TrustedKey::parse(text).is_err(), "{text}");
        }
        let secret =
            "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA6IdF16MI3Vc=";
        assert!(TrustedKey::parse(secret).is_err());
    }

    /// A reader that fails the test if it is read.
    struct Untouched;
    impl Read for Untouched {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("read before the key was trusted")
        }
    }

    #[test]
    fn nothing_of_a_manifest_is_returned_without_its_signature() {
        // the text is not a manifest, and the parser fails before the signature is complete
        let error = read_signed(
            TEXT.as_bytes(),
            SIGNATURE,
            &keys(&[PUB]),
            &Limits::default(),
        );
        assert!(matches!(error, Err(ManifestError::Malformed { .. })));
        // with an unknown key nothing is read
        let error = read_signed(Untouched, SIGNATURE, &keys(&[OTHER]), &Limits::default());
        assert!(matches!(
            error,
            Err(ManifestError::Signature(SignatureError::UnknownKey { .. }))
        ));
    }
}
