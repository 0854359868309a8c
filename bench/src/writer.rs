//! Writes to a device and nothing else, as a limit: nothing is fetched or unpacked, all bytes are the same.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::libc::O_DIRECT;

use crate::cli::WriteLimit;

/// Bytes in one write.
const WRITE_SIZE: usize = 1 << 20;

/// Alignment for direct I/O, in memory and on any disk.
const ALIGNMENT: usize = 4096;

/// What is written.
const STALE: u8 = 0xaa;

/// A range of bytes on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// The sub-command `write-limit`.
pub(crate) fn run(options: &WriteLimit) -> Result<()> {
    let text = fs::read_to_string(&options.map).context("cannot read the map")?;
    write(&options.target, &parse_map(&text)?, options.writers)
}

/// Writes `ranges` with direct I/O, `writers` writes in flight, and flushes.
pub(crate) fn write(target: &Path, ranges: &[ByteRange], writers: usize) -> Result<()> {
    let shown = target.display();
    let file = File::options()
        .write(true)
        .custom_flags(O_DIRECT)
        .open(target)
        .with_context(|| format!("cannot open {shown}"))?;
    let (parts, next) = (split(ranges), AtomicUsize::new(0));
    let work = || -> std::io::Result<()> {
        let memory = vec![STALE; WRITE_SIZE + ALIGNMENT];
        let skip = memory.as_ptr().align_offset(ALIGNMENT);
        while let Some(range) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let length = usize::try_from(range.length).unwrap_or(WRITE_SIZE);
            let bytes = memory.get(skip..skip + length).unwrap_or_default();
            file.write_all_at(bytes, range.start)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..writers.max(1)).map(|_| scope.spawn(work)).collect();
        for writer in writers {
            let result = writer.join().map_err(|_| anyhow!("a writer panicked"))?;
            result.with_context(|| format!("cannot write to {shown}"))?;
        }
        file.sync_all()
            .with_context(|| format!("cannot flush {shown}"))
    })
}

/// The ranges cut into parts of at most [`WRITE_SIZE`].
fn split(ranges: &[ByteRange]) -> Vec<ByteRange> {
    let step = u64::try_from(WRITE_SIZE).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for range in ranges {
        let mut start = range.start;
        while start < range.start + range.length {
            let length = (range.start + range.length - start).min(step);
            parts.push(ByteRange { start, length });
            start += length;
        }
    }
    parts
}

/// Parses lines of offset and length.
fn parse_map(text: &str) -> Result<Vec<ByteRange>> {
    let parsed = text.lines().map(|line| {
        let (start, length) = line.split_once(' ')?;
        let range = ByteRange {
            start: start.parse().ok()?,
            length: length.parse().ok()?,
        };
        let aligned = |number: u64| number.is_multiple_of(4096);
        (aligned(range.start) && aligned(range.length)).then_some(range)
    });
    let ranges: Option<Vec<ByteRange>> = parsed.collect();
    ranges.context("a line of the map is not an offset and a length in multiples of 4096")
}

/// Writes lines that [`parse_map`] reads.
pub(crate) fn render_map(ranges: &[ByteRange]) -> String {
    ranges.iter().fold(String::new(), |text, range| {
        text + &format!("{} {}\n", range.start, range.length)
    })
}

/// The ranges of an image that are not zero, in units of `granule` bytes.
pub(crate) fn data_ranges(image: &Path, granule: usize) -> Result<Vec<ByteRange>> {
    let file = File::open(image).context("cannot open the image")?;
    let size = file.metadata()?.len();
    let mut ranges: Vec<ByteRange> = Vec::new();
    let (mut buffer, zeros) = (vec![0; WRITE_SIZE], vec![0; granule]);
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at)
            .unwrap_or(WRITE_SIZE)
            .min(WRITE_SIZE);
        let block = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(block, at)?;
        for part in block.chunks(granule) {
            let length = u64::try_from(part.len())?;
            // slices are compared by memcmp, which is fast in unoptimised builds too
            if zeros.get(..part.len()) != Some(part) {
                match ranges.last_mut() {
                    Some(range) if range.start + range.length == at => range.length += length,
                    _ => ranges.push(ByteRange { start: at, length }),
                }
            }
            at += length;
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, length: u64) -> ByteRange {
        ByteRange { start, length }
    }

    #[test]
    fn a_map_is_parsed_as_it_was_rendered() {
        let ranges = [range(0, 4096), range(1 << 20, 3 << 20)];
        assert_eq!(parse_map(&render_map(&ranges)).unwrap(), ranges);
        for wrong in ["x", "0 1", "4096", "0 -4096"] {
            assert!(parse_map(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_split_without_gaps() {
        let cut = split(&[range(4096, (2 << 20) + 4096), range(8 << 20, 4096)]);
        assert_eq!(
            cut,
            [
                range(4096, 1 << 20),
                range(4096 + (1 << 20), 1 << 20),
                range(4096 + (2 << 20), 4096),
                range(8 << 20, 4096)
            ]
        );
    }

    #[test]
    fn only_the_ranges_with_data_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let (image, target) = (folder.path().join("image"), folder.path().join("target"));
        let mut bytes = vec![0; 3 << 20];
        bytes[5000] = 1;
        bytes[(1 << 20) - 1] = 1;
        bytes[1 << 20] = 1;
        fs::write(&image, &bytes).unwrap();
        fs::write(&target, vec![0; 3 << 20]).unwrap();
        let ranges = data_ranges(&image, 4096).unwrap();
        assert_eq!(ranges, [range(4096, 4096), range((1 << 20) - 4096, 8192)]);
        write(&target, &ranges, 3).unwrap();
        let written = fs::read(&target).unwrap();
        for (block, at) in written.chunks(4096).zip((0..).step_by(4096)) {
            let inside = ranges
                .iter()
                .any(|range| range.start <= at && at < range.start + range.length);
            let expected = if inside { STALE } else { 0 };
            assert!(block.iter().all(|byte| *byte == expected), "at {at}");
        }
    }
}
