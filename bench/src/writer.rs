//! How fast a device can be written at all: nothing is fetched, unpacked or looked at; the same bytes go to every
//! place.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::libc::O_DIRECT;

use crate::cli::WriteLimit;

/// Bytes in one write.
const PIECE: usize = 1 << 20;

/// What direct I/O asks of addresses in memory and on every disk.
const ALIGNMENT: usize = 4096;

/// What the target is filled with: no byte of it is zero.
const STALE: u8 = 0xaa;

/// A run of bytes on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// The hidden sub-command.
pub(crate) fn run(options: &WriteLimit) -> Result<()> {
    let text = fs::read_to_string(&options.map).context("cannot read the map")?;
    write(&options.target, &parse_map(&text)?, options.writers)
}

/// Writes all of `runs`, so many pieces at once, past the page cache, and flushes.
pub(crate) fn write(target: &Path, runs: &[Run], writers: usize) -> Result<()> {
    let shown = target.display();
    let file = File::options()
        .write(true)
        .custom_flags(O_DIRECT)
        .open(target)
        .with_context(|| format!("cannot open {shown}"))?;
    let (pieces, next) = (pieces(runs), AtomicUsize::new(0));
    let work = || -> std::io::Result<()> {
        let memory = vec![STALE; PIECE + ALIGNMENT];
        let skip = memory.as_ptr().align_offset(ALIGNMENT);
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let length = usize::try_from(piece.length).unwrap_or(PIECE);
            let bytes = memory.get(skip..skip + length).unwrap_or_default();
            file.write_all_at(bytes, piece.start)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..writers.max(1)).map(|_| scope.spawn(work)).collect();
        for writer in writers {
            let ended = writer.join().map_err(|_| anyhow!("a writer panicked"))?;
            ended.with_context(|| format!("cannot write to {shown}"))?;
        }
        file.sync_all()
            .with_context(|| format!("cannot flush {shown}"))
    })
}

/// The runs cut into pieces.
fn pieces(runs: &[Run]) -> Vec<Run> {
    let step = u64::try_from(PIECE).unwrap_or(u64::MAX);
    let mut pieces = Vec::new();
    for run in runs {
        let mut start = run.start;
        while start < run.start + run.length {
            let length = (run.start + run.length - start).min(step);
            pieces.push(Run { start, length });
            start += length;
        }
    }
    pieces
}

/// Reads lines of offset and length.
fn parse_map(text: &str) -> Result<Vec<Run>> {
    let parsed = text.lines().map(|line| {
        let (start, length) = line.split_once(' ')?;
        let run = Run {
            start: start.parse().ok()?,
            length: length.parse().ok()?,
        };
        let aligned = |number: u64| number.is_multiple_of(4096);
        (aligned(run.start) && aligned(run.length)).then_some(run)
    });
    let runs: Option<Vec<Run>> = parsed.collect();
    runs.context("a line of the map is not two numbers, multiples of 4096")
}

/// Writes lines that [`parse_map`] reads.
pub(crate) fn render_map(runs: &[Run]) -> String {
    runs.iter().fold(String::new(), |text, run| {
        text + &format!("{} {}\n", run.start, run.length)
    })
}

/// Where an image is not zero, in steps of `granule` bytes.
pub(crate) fn data_runs(image: &Path, granule: usize) -> Result<Vec<Run>> {
    let file = File::open(image).context("cannot open the image")?;
    let size = file.metadata()?.len();
    let mut runs: Vec<Run> = Vec::new();
    let (mut buffer, zeros) = (vec![0; PIECE], vec![0; granule]);
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let block = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(block, at)?;
        for part in block.chunks(granule) {
            let length = u64::try_from(part.len())?;
            // a comparison of memory, which is fast in unoptimised builds too
            if zeros.get(..part.len()) != Some(part) {
                match runs.last_mut() {
                    Some(run) if run.start + run.length == at => run.length += length,
                    _ => runs.push(Run { start: at, length }),
                }
            }
            at += length;
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u64, length: u64) -> Run {
        Run { start, length }
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        let runs = [run(0, 4096), run(1 << 20, 3 << 20)];
        assert_eq!(parse_map(&render_map(&runs)).unwrap(), runs);
        for wrong in ["x", "0 1", "4096", "0 -4096"] {
            assert!(parse_map(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn runs_are_cut_into_pieces_that_cover_them() {
        let cut = pieces(&[run(4096, (2 << 20) + 4096), run(8 << 20, 4096)]);
        assert_eq!(
            cut,
            [
                run(4096, 1 << 20),
                run(4096 + (1 << 20), 1 << 20),
                run(4096 + (2 << 20), 4096),
                run(8 << 20, 4096)
            ]
        );
    }

    #[test]
    fn data_is_found_and_written_to_its_places_only() {
        let folder = tempfile::tempdir().unwrap();
        let (image, target) = (folder.path().join("image"), folder.path().join("target"));
        let mut bytes = vec![0; 3 << 20];
        bytes[5000] = 1;
        bytes[(1 << 20) - 1] = 1;
        bytes[1 << 20] = 1;
        fs::write(&image, &bytes).unwrap();
        fs::write(&target, vec![0; 3 << 20]).unwrap();
        let runs = data_runs(&image, 4096).unwrap();
        assert_eq!(runs, [run(4096, 4096), run((1 << 20) - 4096, 8192)]);
        write(&target, &runs, 3).unwrap();
        let written = fs::read(&target).unwrap();
        for (block, at) in written.chunks(4096).zip((0..).step_by(4096)) {
            let inside = runs
                .iter()
                .any(|run| run.start <= at && at < run.start + run.length);
            let expected = if inside { STALE } else { 0 };
            assert!(block.iter().all(|byte| *byte == expected), "at {at}");
        }
    }
}
