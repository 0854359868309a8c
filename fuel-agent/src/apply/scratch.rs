//! Sparse files in which the tools work on a filesystem that lies in a part of a regular file: none of them can be told
//! where in a file to begin.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use host::blockdev::{Access, BlockDevice};
use host::units::{Bytes, Extent};

use super::{Context, table};
use crate::error::Error;

/// What is copied at once.
const PIECE: usize = 1 << 20;

/// A sparse file of the length of `node`.
pub(super) fn empty(context: &Context<'_>, node: &Path) -> Result<PathBuf, Error> {
    let failed = |source| table::failed("make room for the filesystem of", node, source);
    let device = context
        .host
        .devices
        .open(node, Access::Read)
        .map_err(failed)?;
    let path = context.options.work.join("scratch");
    let file = File::create(&path).map_err(failed)?;
    file.set_len(device.size().0).map_err(failed)?;
    Ok(path)
}

/// A sparse file with what is on `node`.
pub(super) fn copy_of(context: &Context<'_>, node: &Path) -> Result<PathBuf, Error> {
    let path = empty(context, node)?;
    let failed = |source| table::failed("copy the filesystem of", node, source);
    let device = context
        .host
        .devices
        .open(node, Access::Read)
        .map_err(failed)?;
    let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
    each_piece(device.size(), |extent, buffer| {
        device.read_at(buffer, extent.start)?;
        if buffer.iter().any(|byte| *byte != 0) {
            file.write_all_at(buffer, extent.start.0)
        } else {
            Ok(())
        }
    })
    .map_err(failed)?;
    Ok(path)
}

/// Makes `node` read as the file does, zeros as holes, and removes the file.
pub(super) fn copy_back(context: &Context<'_>, path: &Path, node: &Path) -> Result<(), Error> {
    let failed = |source| table::failed("copy the filesystem to", node, source);
    let mut device = context
        .host
        .devices
        .open(node, Access::Write)
        .map_err(failed)?;
    let file = File::open(path).map_err(failed)?;
    let size = device.size();
    put(device.as_mut(), &file, size).map_err(failed)?;
    std::fs::remove_file(path).map_err(failed)
}

fn put(device: &mut dyn BlockDevice, file: &File, size: Bytes) -> io::Result<()> {
    each_piece(size, |extent, buffer| {
        file.read_exact_at(buffer, extent.start.0)?;
        if buffer.iter().any(|byte| *byte != 0) {
            device.write_at(buffer, extent.start)
        } else {
            device.zero(extent)
        }
    })?;
    device.flush()
}

/// Calls `act` for each piece of `size` bytes, with a buffer of the piece's length.
fn each_piece(
    size: Bytes,
    mut act: impl FnMut(Extent, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let piece = Bytes(u64::try_from(PIECE).map_err(io::Error::other)?);
    let mut at = Bytes::ZERO;
    while at < size {
        let length = Bytes(piece.0.min(size.0 - at.0));
        let extent = Extent { start: at, length };
        act(
            extent,
            &mut buffer[..usize::try_from(length.0).map_err(io::Error::other)?],
        )?;
        at = extent.end();
    }
    Ok(())
}
