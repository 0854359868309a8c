//! One reading of a raw image that gives everything made of it: its digests, its zstd form and its gzip form.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use host::units::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};

/// How much is read at once and handed to every consumer.
const PIECE: usize = 1 << 20;
/// How many pieces a slow consumer may lie behind before the reading waits for it.
const WAITING: usize = 8;

/// What one file is: its size and its digests in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Its size.
    pub(crate) size: Bytes,
    /// Its md5, which Fuel's agents compare.
    pub(crate) md5: String,
    /// Its sha256, which ours compare.
    pub(crate) sha256: String,
}

/// The tallies of an image and of its two packed forms.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// Of the raw image.
    pub(crate) raw: Tally,
    /// Of the gzip form.
    pub(crate) gz: Tally,
    /// Of the zstd form.
    pub(crate) zst: Tally,
}

/// A writer that counts and digests what passes through it.
struct Digesting<W> {
    inner: W,
    size: u64,
    md5: Md5,
    sha256: Sha256,
}

impl<W: Write> Digesting<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            size: 0,
            md5: Md5::new(),
            sha256: Sha256::new(),
        }
    }

    fn finish(self) -> (W, Tally) {
        let tally = Tally {
            size: Bytes(self.size),
            md5: hex(&self.md5.finalize()),
            sha256: hex(&self.sha256.finalize()),
        };
        (self.inner, tally)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let bytes = &bytes[..written];
        self.size = self
            .size
            .saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
        self.md5.update(bytes);
        self.sha256.update(bytes);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Packs `raw` as `gz` and `zst` at once and digests all three. Both files are flushed to the disk when this returns.
pub(crate) fn pack(raw: &Path, gz: &Path, zst: &Path, level: i32) -> Result<Tallies> {
    let (to_gz, gz_pieces) = sync_channel::<Arc<[u8]>>(WAITING);
    let (to_zst, zst_pieces) = sync_channel::<Arc<[u8]>>(WAITING);
    thread::scope(|scope| {
        let gz = scope.spawn(move || gzip(&gz_pieces, gz));
        let zst = scope.spawn(move || zstandard(&zst_pieces, zst, level));
        let raw = read(raw, |piece| {
            to_gz.send(Arc::clone(piece)).is_ok() && to_zst.send(Arc::clone(piece)).is_ok()
        });
        // their ends of the channels close, and so the packers end
        drop((to_gz, to_zst));
        let gz = gz
            .join()
            .map_err(|_| anyhow!("the gzip thread panicked"))??;
        let zst = zst
            .join()
            .map_err(|_| anyhow!("the zstd thread panicked"))??;
        Ok(Tallies { raw: raw?, gz, zst })
    })
}

/// Reads a file piece by piece and digests it; stops early where `send` says that somebody has gone.
fn read(path: &Path, mut send: impl FnMut(&Arc<[u8]>) -> bool) -> Result<Tally> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut digest = Digesting::new(io::sink());
    let mut buffer = vec![0; PIECE];
    loop {
        let mut filled = 0;
        while filled < PIECE {
            let n = file
                .read(&mut buffer[filled..])
                .with_context(|| format!("cannot read {}", path.display()))?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        if filled == 0 {
            return Ok(digest.finish().1);
        }
        digest.write_all(&buffer[..filled])?;
        if !send(&Arc::from(&buffer[..filled])) {
            return Ok(digest.finish().1); // the packer's own error says why
        }
    }
}

fn gzip(pieces: &Receiver<Arc<[u8]>>, path: &Path) -> Result<Tally> {
    let out = Digesting::new(create(path)?);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(6));
    for piece in pieces {
        encoder
            .write_all(&piece)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (file, tally) = encoder
        .finish()
        .with_context(|| format!("cannot write {}", path.display()))?
        .finish();
    close(file, path)?;
    Ok(tally)
}

fn zstandard(pieces: &Receiver<Arc<[u8]>>, path: &Path, level: i32) -> Result<Tally> {
    let what = || format!("cannot write {}", path.display());
    let mut encoder =
        zstd::Encoder::new(Digesting::new(create(path)?), level).with_context(what)?;
    encoder.include_checksum(true).with_context(what)?;
    for piece in pieces {
        encoder.write_all(&piece).with_context(what)?;
    }
    let (file, tally) = encoder.finish().with_context(what)?.finish();
    close(file, path)?;
    Ok(tally)
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(
        PIECE,
        File::create(path).with_context(|| format!("cannot create {}", path.display()))?,
    ))
}

fn close(file: BufWriter<File>, path: &Path) -> Result<()> {
    let file = file
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.sync_all()
        .with_context(|| format!("cannot flush {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_image_back_and_the_digests_are_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let raw: Vec<u8> = (0..3_300_000u32)
            .map(|n| {
                if n % 100_000 < 60_000 {
                    0
                } else {
                    n.to_le_bytes()[0]
                }
            })
            .collect();
        std::fs::write(at("raw"), &raw).unwrap();
        let tallies = pack(&at("raw"), &at("gz"), &at("zst"), 3).unwrap();
        assert_eq!(tallies.raw.size, Bytes(3_300_000));
        assert_eq!(tallies.raw.sha256, hex(&Sha256::digest(&raw)));
        assert_eq!(
            tallies.gz.md5,
            hex(&Md5::digest(std::fs::read(at("gz")).unwrap()))
        );
        assert_eq!(
            tallies.zst.sha256,
            hex(&Sha256::digest(std::fs::read(at("zst")).unwrap()))
        );
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(File::open(at("gz")).unwrap())
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == raw);
        assert!(zstd::decode_all(File::open(at("zst")).unwrap()).unwrap() == raw);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw");
        std::fs::write(&raw, vec![1; 20 << 20]).unwrap();
        let nowhere = folder.path().join("nowhere/x.zst");
        let error = pack(&raw, &folder.path().join("gz"), &nowhere, 1).unwrap_err();
        assert!(format!("{error:#}").contains("nowhere/x.zst"), "{error:#}");
    }
}
