//! qcow2: each cluster of the disk is looked up in the image's tables and read from its place in the file.

use std::sync::mpsc::SyncSender;

use host::units::Bytes;
use os_image::container::HEAD_LENGTH;
use os_image::disk::{DiskImage, DiskImageError, Qcow2};

use super::{DecodeError, Outlet, RequestedImage, end};
use crate::model::request::Container;
use crate::pool::Pool;
use crate::source::check::check_head;
use crate::source::reader::Reader;
use crate::stream::error::StreamError;
use crate::stream::input::Unpacked;
use crate::stream::slice::Slice;
use crate::stream::{BLOCK_COUNT, BLOCK_LENGTH, StreamMessage};

/// Reads the whole disk, in order.
pub(in crate::stream) fn run(
    reader: &Reader<'_>,
    wanted: RequestedImage<'_>,
    pool: &Pool,
    out: &SyncSender<StreamMessage>,
) -> Result<(), StreamError> {
    let url = wanted.url;
    let mut outlet = Outlet {
        wanted,
        pool,
        out,
        raw: Unpacked::default(),
    };
    match unpack(reader, url, &mut outlet) {
        Ok(()) => end(&outlet),
        Err(DecodeError::Stream(error)) => Err(error),
        Err(DecodeError::Io(error)) => Err(match reader.broken() {
            Some(broken) => broken.into(),
            None => StreamError::DiskImage {
                url: url.to_owned(),
                raw: Bytes(outlet.raw.get()),
                source: error.into(),
            },
        }),
    }
}

fn unpack(reader: &Reader<'_>, url: &str, outlet: &mut Outlet<'_>) -> Result<(), DecodeError> {
    let mut head = [0; HEAD_LENGTH];
    let length = reader.read_start(&mut head, 0)?;
    let format = outlet.wanted.format;
    let head = head.get(..length).unwrap_or_default();
    check_head(head, Container::Qcow2, format).map_err(|why| StreamError::Mismatch {
        url: url.to_owned(),
        why,
    })?;
    let failed = |source, outlet: &Outlet<'_>| match source {
        DiskImageError::Io(error) => DecodeError::Io(error),
        source => DecodeError::Stream(StreamError::DiskImage {
            url: url.to_owned(),
            raw: Bytes(outlet.raw.get()),
            source,
        }),
    };
    let mut image = Qcow2::open(reader).map_err(|source| failed(source, outlet))?;
    let piece = usize::try_from(image.piece_size()).unwrap_or(BLOCK_LENGTH);
    // a cluster may be longer than a block, and is read in one piece
    let wide = (piece > BLOCK_LENGTH).then(|| Pool::new(BLOCK_COUNT, piece));
    let mut next = 0_u64;
    while next < image.pieces() {
        let mut buffer = wide.as_ref().unwrap_or(outlet.pool).take();
        while next < image.pieces() {
            let length = image.piece_length(next);
            let Some(room) = buffer
                .spare()
                .get_mut(..length)
                .filter(|room| !room.is_empty())
            else {
                break;
            };
            if !image
                .piece(next, room)
                .map_err(|source| failed(source, outlet))?
            {
                room.fill(0);
            }
            buffer.grow(length);
            next = next.saturating_add(1);
        }
        let read = Slice::from(buffer);
        for block in read.parts(BLOCK_LENGTH) {
            outlet.send(block)?;
        }
    }
    Ok(())
}
