//! Converts one chunk between its two forms: raw bytes, and one zstd frame. Both digests are checked before bytes are
//! used.

use std::fmt;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{self, DParameter};

use crate::index::{Chunk, packed_length_max};

/// Why bytes are not the chunk that the manifest lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The frame is not the one that the manifest lists.
    #[error("its packed bytes differ from those that the manifest lists")]
    Packed,
    /// The frame is the one that the manifest lists, but not one frame of this chunk's length.
    #[error("its packed bytes are not one zstd frame of {raw_length} bytes")]
    Frame {
        /// Length of the raw chunk in bytes.
        raw_length: u32,
    },
    /// It unpacks to other bytes than the manifest lists.
    #[error("its bytes differ from those that the manifest lists")]
    Raw,
    /// The caller's buffer does not have the length of the chunk.
    #[error("the buffer for it has the wrong size")]
    Buffer,
}

/// Unpacks and checks frames. Use one per thread: it owns zstd's memory.
pub struct Unpacker(Decompressor<'static>);

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// Allocates zstd's memory, which does not grow: chunks are decoded from buffer to buffer, without a window.
    pub fn new() -> std::io::Result<Self> {
        let mut decompressor = Decompressor::new()?;
        // BLAKE3 of both forms covers what the frame's own checksum covers, which costs a twelfth of the time
        decompressor.set_parameter(DParameter::ForceIgnoreChecksum(true))?;
        Ok(Self(decompressor))
    }

    /// Checks that `packed` is the frame of `chunk`, unpacks it into `raw`, which has exactly `chunk.raw_length` bytes,
    /// and checks what came out. After an error `raw` holds nothing that may be used.
    pub fn unpack(
        &mut self,
        chunk: &Chunk,
        packed: &[u8],
        raw: &mut [u8],
    ) -> Result<(), ChunkError> {
        let raw_length = chunk.raw_length;
        let wrong_frame = ChunkError::Frame { raw_length };
        if u32::try_from(raw.len()) != Ok(raw_length) {
            return Err(ChunkError::Buffer);
        }
        if u32::try_from(packed.len()) != Ok(chunk.packed_length)
            || blake3::hash(packed) != chunk.packed_digest
        {
            return Err(ChunkError::Packed);
        }
        // exactly one frame with the size in its header: no second frame, no skippable frame, no trailing bytes
        let size = zstd_safe::get_frame_content_size(packed).ok().flatten();
        let one = zstd_safe::find_frame_compressed_size(packed);
        if size != Some(raw_length.into()) || one != Ok(packed.len()) {
            return Err(wrong_frame);
        }
        let length = self.0.decompress_to_buffer(packed, raw);
        if length.ok() != Some(raw.len()) {
            return Err(wrong_frame);
        }
        if blake3::hash(raw) != chunk.raw_digest {
            return Err(ChunkError::Raw);
        }
        Ok(())
    }
}

/// Whether all of `bytes` are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // the first byte is zero, and every byte equals the one before it: one memory comparison, which stops early
    match bytes {
        [] => true,
        [0, rest @ ..] => bytes.get(..rest.len()) == Some(rest),
        _ => false,
    }
}

/// A packed chunk: its entry in the manifest without its offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// BLAKE3 of the raw bytes.
    pub raw_digest: [u8; 32],
    /// BLAKE3 of the frame.
    pub packed_digest: [u8; 32],
    /// Whether the raw bytes are all zero.
    pub zero: bool,
}

/// Packs chunks into frames. Use one per thread. The same bytes at the same level always give the same frame.
pub struct Packer(Compressor<'static>);

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    /// Packs at zstd's `level`, 1 to 22.
    pub fn new(level: i32) -> std::io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        // so that `zstd -d` and `zstd -t` can check what they unpack without a manifest
        compressor.include_checksum(true)?;
        compressor.include_contentsize(true)?;
        compressor.include_dictid(false)?;
        Ok(Self(compressor))
    }

    /// Packs `raw` as one frame that replaces what `frame` holds.
    pub fn pack(&mut self, raw: &[u8], frame: &mut Vec<u8>) -> std::io::Result<Packed> {
        let length = u32::try_from(raw.len()).map_err(std::io::Error::other)?;
        let room = usize::try_from(packed_length_max(length)).map_err(std::io::Error::other)?;
        frame.clear();
        frame.reserve(room);
        self.0.compress_to_buffer(raw, frame)?;
        Ok(Packed {
            raw_digest: blake3::hash(raw).into(),
            packed_digest: blake3::hash(frame).into(),
            zero: is_zero(raw),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(raw: &[u8], packed: &[u8], digests: &Packed) -> Chunk {
        Chunk {
            raw_offset: 0,
            raw_length: u32::try_from(raw.len()).unwrap(),
            packed_offset: 0,
            packed_length: u32::try_from(packed.len()).unwrap(),
            raw_digest: digests.raw_digest,
            packed_digest: digests.packed_digest,
            zero: digests.zero,
        }
    }

    /// A chunk whose digests are those of `raw` and `packed`, even if `packed` is not a frame.
    fn claiming(raw: &[u8], packed: &[u8]) -> Chunk {
        let digests = Packed {
            raw_digest: blake3::hash(raw).into(),
            packed_digest: blake3::hash(packed).into(),
            zero: is_zero(raw),
        };
        chunk(raw, packed, &digests)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_chunk_comes_back_and_a_damaged_one_does_not(
            raw in proptest::collection::vec(any::<u8>(), 1..5000),
            zeros in 0_usize..100_000,
            at: usize,
            bit in 0_u32..8,
        ) {
            let raw = [raw, vec![0; zeros]].concat();
            let mut packed = Vec::new();
            let digests = Packer::new(3).unwrap().pack(&raw, &mut packed).unwrap();
            let chunk = chunk(&raw, &packed, &digests);
            let mut back = vec![0xaa; raw.len()];
            let mut unpacker = Unpacker::new().unwrap();
            prop_assert_eq!(unpacker.unpack(&chunk, &packed, &mut back), Ok(()));
            prop_assert!(back == raw);
            let mut again = Vec::new();
            Packer::new(3).unwrap().pack(&raw, &mut again).unwrap();
            prop_assert!(again == packed);
            let at = at % packed.len();
            packed[at] ^= 1 << bit;
            prop_assert_eq!(unpacker.unpack(&chunk, &packed, &mut back), Err(ChunkError::Packed));
        }
    }

    #[test]
    fn a_frame_that_is_not_exactly_one_of_the_right_length_is_refused() {
        let raw = vec![7_u8; 10_000];
        let wrong = Err(ChunkError::Frame { raw_length: 10_000 });
        let frame = |bytes: &[u8]| {
            let mut frame = Vec::new();
            Packer::new(1).unwrap().pack(bytes, &mut frame).unwrap();
            frame
        };
        let no_size = {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_contentsize(false).unwrap();
            std::io::Write::write_all(&mut encoder, &raw).unwrap();
            encoder.finish().unwrap()
        };
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0][..], &frame(&raw)].concat();
        let mut unpacker = Unpacker::new().unwrap();
        let mut back = vec![0; raw.len()];
        for (what, packed) in [
            (
                "two frames",
                [frame(&raw[..5000]), frame(&raw[5000..])].concat(),
            ),
            ("the frame and more", [frame(&raw), vec![0; 8]].concat()),
            ("a shorter one", frame(&raw[1..])),
            ("a bomb", frame(&vec![0; 64 << 20])),
            ("without a size", no_size),
            ("a skippable frame first", skippable),
            ("half of it", frame(&raw)[..10].to_vec()),
            ("anything", vec![1; 100]),
        ] {
            let chunk = claiming(&raw, &packed);
            assert_eq!(unpacker.unpack(&chunk, &packed, &mut back), wrong, "{what}");
        }
        let packed = frame(&[8; 10_000]);
        let chunk = claiming(&raw, &packed);
        assert_eq!(
            unpacker.unpack(&chunk, &packed, &mut back),
            Err(ChunkError::Raw)
        );
        assert_eq!(
            unpacker.unpack(&chunk, &packed, &mut back[1..]),
            Err(ChunkError::Buffer)
        );
        assert_eq!(
            unpacker.unpack(&chunk, &packed[1..], &mut back),
            Err(ChunkError::Packed)
        );
    }

    #[test]
    fn zeros_are_seen_whatever_their_length() {
        for length in [0, 1, 255, 256, 257, 4096, 5000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length.saturating_sub(1)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 1;
                    assert!(!is_zero(&bytes), "{at} of {length}");
                    bytes[at] = 0;
                }
            }
        }
    }
}
