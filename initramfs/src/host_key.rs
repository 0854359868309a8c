//! The ssh server's private key that an operator gives: in dropbear's format, or in OpenSSH's, which is converted.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Kind of the only key in OpenSSH's format that is taken: others have dozens of parameters.
const ED25519: &[u8] = b"ssh-ed25519";
/// Beginning of the bytes in OpenSSH's file.
const OPENSSH: &[u8] = b"openssh-key-v1\0";

/// A key as dropbear reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostKey {
    /// Content of the file.
    pub(crate) bytes: Vec<u8>,
    /// `SHA256:…`, as `ssh-keygen -l` prints it; `None` for a key in dropbear's format that is not ed25519.
    pub(crate) fingerprint: Option<String>,
}

fn wrong(what: &str) -> Error {
    Error::Usage {
        what: format!(
            "the file of `--host-key` {what}; make one with `ssh-keygen -t ed25519 -N '' -f FILE`"
        ),
    }
}

/// Reads a key file.
pub(crate) fn read(bytes: &[u8]) -> Result<HostKey, Error> {
    let text = std::str::from_utf8(bytes).ok();
    if let Some(text) = text.filter(|text| text.contains("-----BEGIN")) {
        return of_openssh(text);
    }
    let mut rest = Fields(bytes);
    let kind = rest.string().filter(|kind| kind.is_ascii());
    let Some(kind) = kind.filter(|kind| kind.starts_with(b"ssh-") || kind.starts_with(b"ecdsa-"))
    else {
        return Err(wrong("is neither dropbear's nor OpenSSH's private key"));
    };
    let public = (kind == ED25519)
        .then(|| rest.string()?.get(32..64))
        .flatten();
    if kind == ED25519 && public.is_none() {
        return Err(wrong("is a damaged key of dropbear"));
    }
    Ok(HostKey {
        bytes: bytes.to_vec(),
        fingerprint: public.map(fingerprint),
    })
}

fn of_openssh(text: &str) -> Result<HostKey, Error> {
    let lines = text.lines().map(str::trim);
    let body: String = lines
        .skip_while(|line| *line != "-----BEGIN OPENSSH PRIVATE KEY-----")
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    let bytes = STANDARD.decode(body).unwrap_or_default();
    let damaged = || wrong("is a damaged key of OpenSSH");
    let mut rest = Fields(bytes.strip_prefix(OPENSSH).ok_or_else(damaged)?);
    let cipher = rest.string().ok_or_else(damaged)?;
    if cipher != b"none" {
        return Err(wrong("has a passphrase, which no node could type"));
    }
    // the key derivation and its options, then the number of keys and the public one
    let (_, _, count, _) = (rest.string(), rest.string(), rest.number(), rest.string());
    let private = rest
        .string()
        .filter(|_| count == Some(1))
        .ok_or_else(damaged)?;
    let mut rest = Fields(private);
    let checks = (rest.number(), rest.number());
    if checks.0.is_none() || checks.0 != checks.1 {
        return Err(damaged());
    }
    let kind = rest.string().ok_or_else(damaged)?;
    if kind != ED25519 {
        return Err(wrong("is not an ed25519 key"));
    }
    let public = rest
        .string()
        .filter(|it| it.len() == 32)
        .ok_or_else(damaged)?;
    let pair = rest
        .string()
        .filter(|it| it.len() == 64)
        .ok_or_else(damaged)?;
    if !pair.ends_with(public) {
        return Err(damaged());
    }
    let mut bytes = Vec::new();
    put(&mut bytes, ED25519);
    put(&mut bytes, pair);
    Ok(HostKey {
        bytes,
        fingerprint: Some(fingerprint(public)),
    })
}

/// Of an ed25519 key by its 32 public bytes.
fn fingerprint(public: &[u8]) -> String {
    let mut blob = Vec::new();
    put(&mut blob, ED25519);
    put(&mut blob, public);
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

fn put(into: &mut Vec<u8>, field: &[u8]) {
    // Fields are tens of bytes long.
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    into.extend(length.to_be_bytes());
    into.extend(field);
}

/// Fields of SSH's wire format: big-endian numbers of 32 bits, and strings behind their lengths.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with OpenSSH 9.2 for this test: `ssh-keygen -t ed25519 -N '' -C ''`; the fingerprint by `ssh-keygen -l`.
    const KEY: &str = include_str!("../tests/data/host_key");
    const FINGERPRINT: &str = include_str!("../tests/data/host_key.fingerprint");

    #[test]
    fn a_key_of_openssh_becomes_one_of_dropbear() {
        let key = read(KEY.as_bytes()).unwrap();
        assert_eq!(key.fingerprint.as_deref(), Some(FINGERPRINT.trim()));
        assert_eq!(key.bytes.len(), 4 + 11 + 4 + 64);
        assert!(key.bytes.starts_with(b"\0\0\0\x0bssh-ed25519\0\0\0\x40"));
        let again = read(&key.bytes).unwrap();
        assert_eq!(again, key);
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let mut other = Vec::new();
        put(&mut other, b"ssh-rsa");
        other.extend([0; 100]);
        assert_eq!(read(&other).unwrap().fingerprint, None);
        let half = KEY.len() / 2;
        for (text, why) in [
            ("", "is neither"),
            ("ssh-ed25519 AAAA me", "is neither"),
            ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n", "damaged"),
            (KEY.get(..half).unwrap(), "damaged"),
            ("\0\0\0\x0bssh-ed25519\0\0\0\x40", "damaged"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        for at in 0..KEY.len() {
            let _ = read(KEY.as_bytes().get(..at).unwrap());
        }
    }
}
