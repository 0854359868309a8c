//! Opens the source of `pack`: a raw image is read in place, others are unpacked first.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::ioctl::block;
use os_image::codec::is_zero;
use os_image::container::{FileFormat, HEAD_LENGTH, ZSTD_WINDOW_LOG_MAX};
use os_image::disk::{DiskImage, Qcow2, SIZE_MAX, Vmdk};
use os_image::members;
use tracing::info;

use super::probe;
use crate::error::{Interrupted, refused};

/// Bytes per read while unpacking.
const PIECE: usize = 1 << 20;
/// Runs of zeros of this length become holes.
const GRANULE: usize = 64 << 10;
/// Memory limit of the xz decoder in bytes; `xz -9 --extreme` needs 65 MiB.
const XZ_MEMORY: u64 = 1 << 30;

/// A raw image that can be read at any offset.
#[derive(Debug)]
pub(crate) struct Source {
    /// The open file or device.
    pub(crate) file: File,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its absolute path, for programs.
    pub(crate) path: PathBuf,
    /// Size and time of the file when it was opened, to detect a later change.
    watched: Option<(u64, i64, i64)>,
    /// The unpacked file; removed when dropped.
    _unpacked: Option<tempfile::TempPath>,
}

/// Opens `path` and, unless it is raw, unpacks it into a file in `work`. `force` overrides the detected format.
pub(crate) fn open(
    path: &Path,
    force: Option<FileFormat>,
    work: &Path,
    cancel: &Cancel,
) -> Result<Source> {
    let what = || format!("cannot open {}", path.display());
    // programs run in another folder, and links may change
    let path = &path.canonicalize().with_context(what)?;
    let kind = std::fs::metadata(path).with_context(what)?.file_type();
    if kind.is_block_device() {
        return open_device(path);
    }
    if !kind.is_file() {
        return Err(refused(
            format!("{} is neither a file nor a block device", path.display()),
            "give an image file, or a disk that is not in use",
        ));
    }
    let file = File::open(path).with_context(what)?;
    let length = file.metadata().with_context(what)?.len();
    let mut head = vec![0; HEAD_LENGTH.min(usize::try_from(length).unwrap_or(HEAD_LENGTH))];
    file.read_exact_at(&mut head, 0).with_context(what)?;
    let found = force.unwrap_or_else(|| FileFormat::by(&head));
    if found == FileFormat::Raw {
        let watched = Some(stamp(&file).with_context(what)?);
        return checked(Source {
            file,
            size: length,
            path: path.to_owned(),
            watched,
            _unpacked: None,
        });
    }
    info!("unpacking {found}");
    let (goal, goal_path) = tempfile::Builder::new()
        .prefix("unpacked.")
        .tempfile_in(work)
        .with_context(|| format!("cannot make a work file in {}", work.display()))?
        .into_parts();
    let size = unpack(found, file, &goal, cancel)
        .with_context(|| format!("cannot unpack {} ({found})", path.display()))?;
    checked(Source {
        file: goal,
        size,
        path: goal_path
            .canonicalize()
            .context("cannot find the work file")?,
        watched: None,
        _unpacked: Some(goal_path),
    })
}

fn open_device(path: &Path) -> Result<Source> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => refused(
                format!(
                    "{} is in use: mounted, or part of md, LVM or swap",
                    path.display()
                ),
                "unmount or release it first: an image must not change while it is packed",
            ),
            _ => error.into(),
        })
        .with_context(|| format!("cannot open {}", path.display()))?;
    let size = block::size(&file).with_context(|| format!("cannot measure {}", path.display()))?;
    checked(Source {
        file,
        size: size.0,
        path: path.to_owned(),
        watched: None,
        _unpacked: None,
    })
}

fn checked(source: Source) -> Result<Source> {
    if source.size == 0 {
        bail!("the image is empty");
    }
    if !source.size.is_multiple_of(512) {
        return Err(refused(
            format!(
                "the image has {} bytes, which is not a whole number of sectors",
                source.size
            ),
            "give a complete image of a disk or filesystem: this file is truncated, or not an image",
        ));
    }
    Ok(source)
}

/// Size and modification time.
fn stamp(file: &File) -> io::Result<(u64, i64, i64)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

impl Source {
    /// The first [`probe::HEAD_LENGTH`] bytes of `part`, or all of it where it is shorter.
    pub(crate) fn head(&self, part: &Range<u64>) -> Result<Vec<u8>> {
        let length = part.end.saturating_sub(part.start);
        let length =
            usize::try_from(length).map_or(probe::HEAD_LENGTH, |n| n.min(probe::HEAD_LENGTH));
        let mut head = vec![0; length];
        let read = self.file.read_exact_at(&mut head, part.start);
        read.context("cannot read the image")?;
        Ok(head)
    }

    /// Fails if the file was changed since it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match self.watched {
            Some(before) if stamp(&self.file)? != before => Err(refused(
                format!("{} was changed while it was packed", self.path.display()),
                "stop the program that writes to it, and pack it again",
            )),
            _ => Ok(()),
        }
    }
}

/// Unpacks `file` into `goal`, with holes for zeros; returns the unpacked size in bytes.
fn unpack(found: FileFormat, file: File, goal: &File, cancel: &Cancel) -> Result<u64> {
    let input = || BufReader::with_capacity(PIECE, &file);
    match found {
        FileFormat::Gzip => stream(members::gzip(input()), goal, cancel),
        FileFormat::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            stream(decoder, goal, cancel)
        }
        FileFormat::Xz => {
            use liblzma::stream::{CONCATENATED, Stream};
            let decoder = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            let decoder = liblzma::bufread::XzDecoder::new_stream(input(), decoder);
            stream(decoder, goal, cancel)
        }
        FileFormat::Bzip2 => stream(members::bzip2(input()), goal, cancel),
        FileFormat::Qcow2 => disk(&mut Qcow2::open(file)?, goal, cancel),
        FileFormat::Vmdk => disk(&mut Vmdk::open(file)?, goal, cancel),
        FileFormat::WebPage => Err(refused(
            "it is a web page".to_owned(),
            "check the address that it was downloaded from",
        )),
        FileFormat::Raw
        | FileFormat::Lz4
        | FileFormat::Zip
        | FileFormat::Tar
        | FileFormat::Foreign(_) => Err(refused(
            format!("it is a {found} file"),
            "unpack or convert it first; raw, gz, xz, zst, bz2, qcow2 and VMDK are supported",
        )),
    }
}

fn stream(mut input: impl Read, goal: &File, cancel: &Cancel) -> Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut at = 0_u64;
    loop {
        if cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        let filled = fill(&mut input, &mut buffer)?;
        if filled == 0 {
            break;
        }
        let length = u64::try_from(filled)?;
        if at + length > SIZE_MAX {
            return Err(refused(
                format!("it unpacks to more than {SIZE_MAX} bytes"),
                "check the file: it is damaged or malicious, or larger than supported",
            ));
        }
        write_data(&buffer[..filled], goal, at)?;
        at += length;
    }
    goal.set_len(at)?;
    Ok(at)
}

/// Reads until `buffer` is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn write_data(bytes: &[u8], goal: &File, at: u64) -> io::Result<()> {
    let mut at = at;
    for granule in bytes.chunks(GRANULE) {
        if !is_zero(granule) {
            goal.write_all_at(granule, at)?;
        }
        at += u64::try_from(granule.len()).map_err(io::Error::other)?;
    }
    Ok(())
}

fn disk(image: &mut dyn DiskImage, goal: &File, cancel: &Cancel) -> Result<u64> {
    goal.set_len(image.size())?;
    let mut buffer = vec![0; usize::try_from(image.piece_size())?];
    for number in 0..image.pieces() {
        if number % 1024 == 0 && cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        let piece = &mut buffer[..image.piece_length(number)];
        if image.piece(number, piece)? {
            write_data(piece, goal, number * u64::from(image.piece_size()))?;
        }
    }
    Ok(image.size())
}
