//! Sizes and digests of whole files, computed while they are written.

use std::io::{self, Write};

use md5::Md5;
use os_image::hex;
use sha2::{Digest, Sha256};

/// Size and digests of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileDigest {
    /// Size in bytes.
    pub(crate) size: u64,
    /// sha256.
    pub(crate) sha256: [u8; 32],
    /// BLAKE3.
    pub(crate) blake3: [u8; 32],
    /// md5, which Fuel's agents compare; computed on request only, since it costs more than the rest together.
    pub(crate) md5: Option<[u8; 16]>,
}

impl FileDigest {
    /// sha256 in hexadecimal.
    pub(crate) fn sha256_text(&self) -> String {
        hex::text(&self.sha256)
    }

    /// md5 in hexadecimal.
    pub(crate) fn md5_text(&self) -> Option<String> {
        self.md5.map(|md5| hex::text(&md5))
    }
}

/// Whether md5 is computed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithMd5 {
    /// For Fuel.
    Yes,
    /// Only sha256 and BLAKE3.
    No,
}

/// A writer that computes size and digests of what is written through it.
#[derive(Debug)]
pub(crate) struct Digesting<W> {
    inner: W,
    size: u64,
    sha256: Sha256,
    blake3: blake3::Hasher,
    md5: Option<Md5>,
}

impl<W: Write> Digesting<W> {
    pub(crate) fn new(inner: W, md5: WithMd5) -> Self {
        Self {
            inner,
            size: 0,
            sha256: Sha256::new(),
            blake3: blake3::Hasher::new(),
            md5: (md5 == WithMd5::Yes).then(Md5::new),
        }
    }

    /// Returns the inner writer, and size and digests of what was written.
    pub(crate) fn finish(self) -> (W, FileDigest) {
        let digest = FileDigest {
            size: self.size,
            sha256: self.sha256.finalize().into(),
            blake3: self.blake3.finalize().into(),
            md5: self.md5.map(|md5| md5.finalize().into()),
        };
        (self.inner, digest)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let bytes = &bytes[..written];
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        self.size = self.size.saturating_add(length);
        self.sha256.update(bytes);
        self.blake3.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_what_passed() {
        let mut writer = Digesting::new(Vec::new(), WithMd5::Yes);
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        let (bytes, digest) = writer.finish();
        assert_eq!((bytes.as_slice(), digest.size), (&b"abc"[..], 3));
        assert_eq!(
            digest.md5_text().unwrap(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert!(digest.sha256_text().starts_with("ba7816bf8f01cfea"));
        assert_eq!(digest.blake3, *blake3::hash(b"abc").as_bytes());
        let (_, digest) = Digesting::new(io::sink(), WithMd5::No).finish();
        assert_eq!(digest.md5, None);
    }
}
