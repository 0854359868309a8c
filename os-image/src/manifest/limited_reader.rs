//! Bounds on the text of a manifest before the parser sees it, so that no single value can fill the memory.

use std::io::{self, Read};

use super::TOKEN_LIMIT;
use crate::error::InvalidManifest;

/// The deepest allowed nesting of objects and lists.
const DEPTH_LIMIT: usize = 32;

/// Passes on JSON that is short enough, shallow enough and made of short values; otherwise reading fails.
pub(super) struct LimitedReader<R> {
    inner: R,
    left: u64,
    limit: u64,
    /// Length so far of the current string, number or word, in bytes.
    token: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl<R> LimitedReader<R> {
    /// Passes on at most `limit` bytes of `inner`.
    pub(super) const fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            left: limit,
            limit,
            token: 0,
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), InvalidManifest> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let too_long = InvalidManifest::TooLong { limit: self.limit };
        self.left = self.left.checked_sub(length).ok_or(too_long)?;
        for byte in bytes {
            self.step(*byte);
            if self.token > TOKEN_LIMIT {
                return Err(InvalidManifest::TokenTooLong { limit: TOKEN_LIMIT });
            }
            if self.depth > DEPTH_LIMIT {
                return Err(InvalidManifest::TooDeep { limit: DEPTH_LIMIT });
            }
        }
        Ok(())
    }

    const fn step(&mut self, byte: u8) {
        if self.in_string {
            self.token = self.token.saturating_add(1);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.token = 0;
            }
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.token = 0,
            _ => self.token = self.token.saturating_add(1),
        }
    }
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let bytes = buffer.get(..n).unwrap_or_default();
        self.check(bytes)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        Ok(n)
    }
}
