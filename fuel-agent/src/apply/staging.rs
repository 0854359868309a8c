//! A filesystem in a sparse file of its own: what mkfs and resize2fs work on where a disk is a file, for they have no
//! option for an offset in one. It is copied to and from its extent with its holes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use host::blockdev::{Access, BlockDevice};
use host::cancel::Cancel;
use host::move_tree::next_data;
use host::units::{Bytes, Extent};

use super::context::{Context, disk_error};
use crate::model::error::Error;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// A file of the size of a volume; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    file: File,
}

impl Staging {
    /// An empty one, as large as what is behind `node`.
    pub(super) fn empty(context: &Context<'_>, node: &Path) -> Result<Self, Error> {
        let device = context.open(node, Access::Read, "look at")?;
        Self::new(&context.options.work, device.size()).map_err(failed("for", node))
    }

    /// A copy of what is behind `node`.
    pub(super) fn copy_of(context: &Context<'_>, node: &Path) -> Result<Self, Error> {
        let staging = Self::empty(context, node)?;
        if let Some((file, extent)) = context.host.devices.backing(node) {
            let copied = File::open(file).and_then(|source| {
                let to = &staging.file;
                segments(&source, extent, &context.host.cancel, |bytes, at| {
                    to.write_all_at(bytes, at.0)
                })
            });
            copied.map_err(failed("of", node))?;
        }
        Ok(staging)
    }

    fn new(folder: &Path, size: Bytes) -> io::Result<Self> {
        let path = folder.join("filesystem.img");
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.set_len(size.0)?;
        Ok(Self { path, file })
    }

    /// Path of the staging file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies it over what is behind `node`: tools take the holes of a regular file for zeros, so zeros they become.
    pub(super) fn write_to(&self, context: &Context<'_>, node: &Path) -> Result<(), Error> {
        let mut device = context.open(node, Access::Write, "open for writing a filesystem to")?;
        let written = self.write(device.as_mut(), &context.host.cancel);
        let what = format!("cannot write a filesystem to {}", node.display());
        written.map_err(disk_error(what, node))
    }

    fn write(&self, device: &mut dyn BlockDevice, cancel: &Cancel) -> io::Result<()> {
        let whole = Extent {
            start: Bytes::ZERO,
            length: device.size(),
        };
        device.zero(whole)?;
        segments(&self.file, whole, cancel, |bytes, at| {
            device.write_at(bytes, at)
        })?;
        device.flush()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The folder is removed as a whole at the end; this only frees the room earlier.
        let _ = fs::remove_file(&self.path);
    }
}

fn failed<'a>(word: &'a str, node: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| {
        let what = format!("cannot make a file {word} {}", node.display());
        disk_error(what, node)(source)
    }
}

/// Gives `sink` everything within `extent` of `file` that is no hole and not zeros, with its place in the extent.
fn segments(
    file: &File,
    extent: Extent,
    cancel: &Cancel,
    mut sink: impl FnMut(&[u8], Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = extent.start.0;
    let end = extent.end().0;
    while let Some((start, stop)) = next_data(file, at, end)? {
        at = start;
        while at < stop {
            if cancel.is_cancelled() {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            let length = usize::try_from(stop - at).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(piece, at)?;
            if piece.iter().any(|byte| *byte != 0) {
                sink(piece, Bytes(at - extent.start.0))?;
            }
            at += u64::try_from(length).unwrap_or(stop);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_is_copied_and_it_keeps_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path(), Bytes(8 << 20)).unwrap();
        staging.file.write_all_at(b"begin", 1 << 20).unwrap();
        staging.file.write_all_at(b"end", (6 << 20) - 3).unwrap();
        staging.file.write_all_at(b"beyond", 7 << 20).unwrap();
        let extent = Extent::new(Bytes(1 << 20), Bytes(5 << 20)).unwrap();
        let mut copy = vec![0_u8; 5 << 20];
        let mut copied = 0;
        segments(&staging.file, extent, &Cancel::new(), |bytes, at| {
            let at = usize::try_from(at.0).unwrap();
            copy[at..at + bytes.len()].copy_from_slice(bytes);
            copied += bytes.len();
            Ok(())
        })
        .unwrap();
        assert_eq!(
            (&copy[..5], &copy[(5 << 20) - 3..]),
            (&b"begin"[..], &b"end"[..])
        );
        assert!(copied <= 2 << 20, "{copied}");
        let path = staging.path().to_owned();
        drop(staging);
        assert!(!path.exists());
    }

    #[test]
    fn a_sink_that_fails_and_a_wish_to_stop_end_it() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path(), Bytes(1 << 20)).unwrap();
        staging.file.write_all_at(b"data", 0).unwrap();
        let extent = Extent::new(Bytes::ZERO, Bytes(1 << 20)).unwrap();
        let full = |_: &[u8], _| Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(segments(&staging.file, extent, &Cancel::new(), full).is_err());
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(segments(&staging.file, extent, &cancel, |_, _| Ok(())).is_err());
    }
}
