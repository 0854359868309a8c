//! gzip by several threads: one member, whose deflate blocks end at chunk boundaries. Any gzip decoder reads it.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

/// RFC 1952: deflate, no name, no time (the same input gives the same bytes), made on Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// An empty final block.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Deflates chunks independently of each other. Use one per thread.
#[derive(Debug)]
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level), false))
    }

    /// Replaces `out` with the blocks of `raw`, which end at a byte boundary.
    pub(crate) fn deflate(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.0.reset();
        out.clear();
        out.reserve(raw.len() / 2 + 64);
        loop {
            let consumed = usize::try_from(self.0.total_in()).map_err(io::Error::other)?;
            let rest = raw.get(consumed..).unwrap_or_default();
            self.0
                .compress_vec(rest, out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // unused capacity means that all output was written
            if out.len() < out.capacity() {
                return Ok(());
            }
            out.reserve(raw.len() / 4 + 64);
        }
    }
}

/// Header and trailer of the member.
#[derive(Debug, Default)]
pub(crate) struct Frame(Crc);

impl Frame {
    pub(crate) fn begin(out: &mut impl Write) -> io::Result<()> {
        out.write_all(&HEADER)
    }

    /// Adds raw bytes, in order, to checksum and length.
    pub(crate) fn update(&mut self, raw: &[u8]) {
        self.0.update(raw);
    }

    pub(crate) fn end(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&LAST_BLOCK)?;
        out.write_all(&self.0.sum().to_le_bytes())?;
        // the length modulo 2^32, as flate2 counts it
        out.write_all(&self.0.amount().to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn blocks_of_many_chunks_are_one_member() {
        let mut state = 1_u32;
        let mut noise = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        let chunks: Vec<Vec<u8>> = vec![
            vec![0; 1 << 20],
            (0..300_000).map(&mut noise).collect(),
            vec![7],
            (0..200_000_u32).map(|n| n.to_le_bytes()[0] % 50).collect(),
        ];
        let mut file = Vec::new();
        let (mut deflater, mut frame, mut out) = (Deflater::new(6), Frame::default(), Vec::new());
        Frame::begin(&mut file).unwrap();
        for chunk in &chunks {
            deflater.deflate(chunk, &mut out).unwrap();
            file.extend_from_slice(&out);
            frame.update(chunk);
        }
        frame.end(&mut file).unwrap();
        let mut back = Vec::new();
        // one member: this decoder stops after the first
        let mut decoder = flate2::bufread::GzDecoder::new(&file[..]);
        decoder.read_to_end(&mut back).unwrap();
        assert!(back == chunks.concat());
        assert!(decoder.into_inner().is_empty(), "nothing follows it");
    }
}
