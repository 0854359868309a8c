//! An image in a file on this machine, read ahead by a thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Meter, Source, SourceEvent, TransferContext};
use crate::http::LocalFiles;
use crate::http::client::PART_COUNT;
use crate::http::error::HttpError;
use crate::pool::{Buffer, Pool};

/// A file that is read from its beginning to its end.
pub(super) struct FileSource {
    parts: Receiver<Result<Option<Buffer>, HttpError>>,
    meter: Meter,
}

/// Opens a regular file, if it is one of `files`, and returns its length; other kinds might block for ever.
pub(super) fn open(files: &LocalFiles, path: &Path) -> Result<(File, u64), HttpError> {
    let file = files.open(path)?;
    let length = file.metadata().map_err(|source| HttpError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok((file, length.len()))
}

/// Reads a file of up to `limit` bytes.
pub(super) fn read(files: &LocalFiles, path: &Path, limit: u64) -> Result<Vec<u8>, HttpError> {
    let (file, length) = open(files, path)?;
    if length > limit {
        return Err(HttpError::TooLong {
            url: path.display().to_string(),
            limit,
        });
    }
    read_start(&file, usize::try_from(length).unwrap_or(0)).map_err(|source| HttpError::File {
        path: path.to_owned(),
        source,
    })
}

/// The first `length` bytes of a file, or all of it if it is shorter.
pub(super) fn read_start(file: &File, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0_usize;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = u64::try_from(filled).unwrap_or(u64::MAX);
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl FileSource {
    pub(super) fn open(
        files: &LocalFiles,
        path: &Path,
        context: TransferContext<'_>,
    ) -> Result<Self, HttpError> {
        let (file, length) = open(files, path)?;
        let TransferContext {
            pool, meter, stop, ..
        } = context;
        meter.set_total(Some(length));
        let (sender, parts) = sync_channel(PART_COUNT);
        let path = path.to_owned();
        let work = move || {
            let ended = read_all(&file, length, &pool, &sender, || stop.is_cancelled());
            let last = ended.map(|()| None).map_err(|source| {
                if source.kind() == io::ErrorKind::Interrupted {
                    HttpError::Cancelled
                } else {
                    HttpError::File { path, source }
                }
            });
            drop(sender.send(last));
        };
        thread::Builder::new()
            .name("file".to_owned())
            .spawn(work)
            .map_err(|_| HttpError::Gone)?;
        Ok(Self { parts, meter })
    }
}

fn read_all(
    file: &File,
    length: u64,
    pool: &Pool,
    sender: &SyncSender<Result<Option<Buffer>, HttpError>>,
    stopped: impl Fn() -> bool,
) -> io::Result<()> {
    let mut at = 0_u64;
    loop {
        if stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut buffer = pool.take();
        while !buffer.is_full() {
            match file.read_at(buffer.spare(), at) {
                Ok(0) => break,
                Ok(count) => {
                    buffer.grow(count);
                    at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let ended = !buffer.is_full();
        if !buffer.is_empty() && sender.send(Ok(Some(buffer))).is_err() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if ended {
            break;
        }
    }
    if at != length {
        let why = format!("it was {length} bytes long and is now {at}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(())
}

impl Source for FileSource {
    fn next(&mut self) -> Result<SourceEvent, HttpError> {
        match self.parts.recv() {
            Ok(Ok(Some(buffer))) => {
                self.meter.add_fetched(buffer.len());
                Ok(SourceEvent::Bytes(buffer))
            }
            Ok(Ok(None)) => Ok(SourceEvent::End),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(HttpError::Gone),
        }
    }
}
