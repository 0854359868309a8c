//! The newer version of a packed image: its changes, and what an update has to transfer and write at least.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One of so many chunks that are not zero is changed.
const ONE_IN: usize = 20;

/// Bytes that are changed, in the middle of a chunk.
const CHANGED: usize = 4096;

/// A chunk of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    raw_offset: u64,
    raw_length: u64,
    packed_length: u64,
    raw_digest: String,
    zero: bool,
}

/// The chunks that an update changes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Unpacked.
    pub(crate) raw: u64,
    /// Packed.
    pub(crate) packed: u64,
}

/// Changes the unpacked image in `file`: 4 KiB in the middle of every twentieth chunk of `manifest` that is not zero.
pub(crate) fn change(manifest: &Path, file: &Path) -> Result<()> {
    let chunks = read(manifest)?;
    let image = File::options()
        .read(true)
        .write(true)
        .open(file)
        .context("cannot open the newer image")?;
    let data = chunks.iter().filter(|chunk| !chunk.zero);
    for chunk in data.skip(ONE_IN / 2).step_by(ONE_IN) {
        let length = CHANGED.min(usize::try_from(chunk.raw_length).unwrap_or(CHANGED));
        let mut bytes = vec![0; length];
        let at = chunk.raw_offset + chunk.raw_length / 2 / 4096 * 4096;
        let at = at.min(chunk.raw_offset + chunk.raw_length - u64::try_from(length)?);
        image.read_exact_at(&mut bytes, at)?;
        for byte in &mut bytes {
            *byte ^= 0x5a;
        }
        image.write_all_at(&bytes, at)?;
    }
    Ok(())
}

/// The chunks of the newer image that the older one does not have.
pub(crate) fn difference(older: &Path, newer: &Path) -> Result<Difference> {
    let older = read(older)?;
    let mut sum = Difference::default();
    for chunk in read(newer)? {
        let same = older.iter().find(|old| old.raw_offset == chunk.raw_offset);
        if same.is_none_or(|old| old.raw_digest != chunk.raw_digest) {
            sum.raw += chunk.raw_length;
            sum.packed += chunk.packed_length;
        }
    }
    Ok(sum)
}

fn read(manifest: &Path) -> Result<Vec<Chunk>> {
    let shown = manifest.display();
    let text = fs::read(manifest).with_context(|| format!("cannot read {shown}"))?;
    let json: Value =
        serde_json::from_slice(&text).with_context(|| format!("{shown} is not valid JSON"))?;
    let chunks = json["images"][0]["chunks"].as_array();
    let chunks = chunks.with_context(|| format!("{shown} has no chunks"))?;
    let parsed = chunks.iter().map(|chunk| {
        Some(Chunk {
            raw_offset: chunk["raw_offset"].as_u64()?,
            raw_length: chunk["raw_length"].as_u64()?,
            packed_length: chunk["packed_length"].as_u64()?,
            raw_digest: chunk["raw_blake3"].as_str()?.to_owned(),
            zero: chunk["zero"].as_bool().unwrap_or(false),
        })
    });
    let parsed: Option<Vec<Chunk>> = parsed.collect();
    parsed.with_context(|| format!("{shown} has chunks without lengths or digests"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(folder: &Path, name: &str, digests: &[&str]) -> std::path::PathBuf {
        let chunks: Vec<Value> = digests
            .iter()
            .zip(0_u64..)
            .map(|(digest, index)| {
                json!({"raw_offset": index * 8192, "raw_length": 8192, "packed_offset": 0,
                    "packed_length": 100, "raw_blake3": digest, "zero": *digest == "zero"})
            })
            .collect();
        let path = folder.join(name);
        fs::write(&path, json!({"images": [{"chunks": chunks}]}).to_string()).unwrap();
        path
    }

    #[test]
    fn every_twentieth_chunk_is_changed_and_no_zero_one() {
        let folder = tempfile::tempdir().unwrap();
        let digests: Vec<&str> = (0..80)
            .map(|index| if index < 20 { "zero" } else { "data" })
            .collect();
        let path = manifest(folder.path(), "m.json", &digests);
        let file = folder.path().join("image");
        fs::write(&file, vec![0; 80 * 8192]).unwrap();
        change(&path, &file).unwrap();
        let content = fs::read(&file).unwrap();
        let touched: Vec<usize> = content
            .chunks(8192)
            .enumerate()
            .filter(|(_, chunk)| chunk.iter().any(|byte| *byte != 0))
            .map(|(index, _)| index)
            .collect();
        assert_eq!(touched, [30, 50, 70]);
    }

    #[test]
    fn the_difference_counts_changed_and_new_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let older = manifest(folder.path(), "a", &["1", "2", "zero"]);
        let newer = manifest(folder.path(), "b", &["1", "x", "zero", "4"]);
        let found = difference(&older, &newer).unwrap();
        assert_eq!((found.raw, found.packed), (2 * 8192, 200));
    }
}
