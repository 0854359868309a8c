//! zstd: short frames that state their unpacked length are unpacked in parallel, all others one after the other.
//!
//! A frame does not state its packed length; it is found by walking the headers of its blocks. Layout by RFC 8878,
//! sections 3.1.1 and 3.1.2.

use std::collections::VecDeque;
use std::io::{self, BufRead, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use crossbeam_channel as channel;
use os_image::container::ZSTD_WINDOW_LOG_MAX;
use os_image::members::Trailing;

use super::{DecodeError, Outlet, cores};
use crate::pool::{Buffer, Pool};
use crate::stream::BLOCK_LENGTH;
use crate::stream::error::StreamError;
use crate::stream::slice::Slice;

/// Longest frame, unpacked, that is read in one piece and unpacked by a thread.
const FRAME_LENGTH: usize = 4 * BLOCK_LENGTH;

/// Bound of the packed length of such a frame: zstd's `compressBound`, and headers.
const PACKED_LENGTH: usize = FRAME_LENGTH + FRAME_LENGTH / 256 + 64;

/// Longest block that RFC 8878 allows.
const LONGEST_BLOCK: usize = 128 * 1024;

/// Threads that unpack. The digest stage is a single thread and slower than two of these.
const THREADS: usize = 2;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Unpacks the whole input.
pub(super) fn unpack(input: &mut impl BufRead, outlet: &mut Outlet<'_>) -> Result<(), DecodeError> {
    let mut packed = Vec::new();
    match next(input, &mut packed)? {
        Next::End => return Ok(()),
        Next::Frame(length) => {
            let rest = parallel(input, packed, length, outlet)?;
            packed = match rest {
                Some(rest) => rest,
                None => return Ok(()),
            };
        }
        Next::Other => {}
    }
    serial(&mut Cursor::new(packed).chain(input), outlet)
}

fn serial(input: &mut impl BufRead, outlet: &mut Outlet<'_>) -> Result<(), DecodeError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    outlet.drain(&mut decoder)
}

/// What the input continues with.
enum Next {
    /// End of the input.
    End,
    /// A frame, read completely, and its unpacked length in bytes.
    Frame(usize),
    /// A frame for the serial decoder; its beginning has been read.
    Other,
}

/// Reads the next frame into `packed` if it can be unpacked by a thread; skips frames without data.
fn next(input: &mut impl BufRead, packed: &mut Vec<u8>) -> io::Result<Next> {
    loop {
        packed.clear();
        match input.fill_buf()?.first() {
            None => return Ok(Next::End),
            Some(0x28 | 0x50..=0x5f) => {}
            // the first frame was checked by `check_head`
            Some(_) => return Err(Trailing::Other.error()),
        }
        take(input, packed, MAGIC.len())?;
        if !matches!(packed[..], [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
            break;
        }
        let length = little_endian(take(input, packed, 4)?);
        if io::copy(&mut input.take(length), &mut io::sink())? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if packed[..] != MAGIC {
        return Ok(Next::Other);
    }
    let descriptor = take(input, packed, 1)?.first().copied();
    let descriptor = descriptor.unwrap_or_default();
    let single_segment = descriptor & 0b10_0000 != 0;
    let dictionary = match descriptor & 0b11 {
        0b11 => 4,
        short => usize::from(short),
    };
    let width = match descriptor >> 6 {
        0 => usize::from(single_segment),
        more => 1 << more,
    };
    take(input, packed, usize::from(!single_segment))?;
    take(input, packed, dictionary)?;
    let length = little_endian(take(input, packed, width)?);
    // two bytes hold the length minus 256: smaller ones are written in one byte
    let length = length.checked_add(if width == 2 { 256 } else { 0 });
    match length.map(usize::try_from) {
        Some(Ok(length)) if width > 0 && is_parallel(length) => {
            let checksum = if descriptor & 0b100 == 0 { 0 } else { 4 };
            let whole = blocks(input, packed, checksum)?;
            Ok(if whole {
                Next::Frame(length)
            } else {
                Next::Other
            })
        }
        _ => Ok(Next::Other),
    }
}

/// Whether a frame of this unpacked length goes to a thread. Whole blocks only, so that the next frame begins at an
/// offset where direct I/O can write.
const fn is_parallel(length: usize) -> bool {
    length > 0 && length <= FRAME_LENGTH && length.is_multiple_of(BLOCK_LENGTH)
}

/// Reads the blocks of a frame and its checksum; `false` if it exceeds the bound or is malformed.
fn blocks(input: &mut impl BufRead, packed: &mut Vec<u8>, checksum: usize) -> io::Result<bool> {
    loop {
        let header = little_endian(take(input, packed, 3)?);
        let (last, kind) = (header & 1 == 1, header >> 1 & 0b11);
        let length = match (kind, usize::try_from(header >> 3)) {
            (1, _) => 1,
            (0 | 2, Ok(length)) if length <= LONGEST_BLOCK => length,
            _ => return Ok(false),
        };
        if packed.len().saturating_add(length) > PACKED_LENGTH {
            return Ok(false);
        }
        take(input, packed, length)?;
        if last {
            take(input, packed, checksum)?;
            return Ok(true);
        }
    }
}

/// Appends exactly `count` bytes, and returns them.
fn take<'a>(
    input: &mut impl BufRead,
    packed: &'a mut Vec<u8>,
    count: usize,
) -> io::Result<&'a [u8]> {
    let start = packed.len();
    packed.resize(start.saturating_add(count), 0);
    let (_, taken) = packed.split_at_mut(start);
    input.read_exact(taken)?;
    Ok(taken)
}

fn little_endian(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A frame for a thread, with the buffer for its content and the channel for the reply.
struct Task {
    packed: Vec<u8>,
    length: usize,
    buffer: Buffer,
    reply: SyncSender<Done>,
}

/// The unpacked frame, and the buffer of its packed form for reuse.
struct Done {
    buffer: io::Result<Buffer>,
    packed: Vec<u8>,
}

/// Unpacks frames in parallel, beginning with the one in `packed`. Returns what was read of the first frame that needs
/// the serial decoder, or `None` at the end.
fn parallel(
    input: &mut impl BufRead,
    packed: Vec<u8>,
    length: usize,
    outlet: &mut Outlet<'_>,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let threads = cores().min(THREADS);
    let in_flight = threads.saturating_add(1);
    // the stages behind this one hold buffers too: in their channels, and the head
    let pool = Pool::new(in_flight.saturating_add(3), FRAME_LENGTH);
    thread::scope(|scope| {
        let (tasks, work) = channel::bounded(in_flight);
        for _ in 0..threads {
            spawn(scope, work.clone())?;
        }
        let mut queue = FrameQueue {
            pool,
            tasks,
            in_flight: VecDeque::new(),
            most: in_flight,
            outlet,
        };
        let (mut packed, mut length) = (packed, length);
        loop {
            let mut spare = queue.begin(packed, length)?.unwrap_or_default();
            length = match next(input, &mut spare)? {
                Next::Frame(length) => length,
                Next::End => break queue.finish().map(|()| None),
                Next::Other => break queue.finish().map(|()| Some(spare)),
            };
            packed = spare;
        }
    })
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: channel::Receiver<Task>,
) -> Result<(), StreamError> {
    let thread = thread::Builder::new().name("zstd".to_owned());
    let spawned = thread.spawn_scoped(scope, move || {
        let mut decompressor = zstd::bulk::Decompressor::new();
        for mut task in work {
            let unpacked = match &mut decompressor {
                Ok(decompressor) => {
                    decompressor.decompress_to_buffer(&task.packed, task.buffer.spare())
                }
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            let buffer = unpacked.and_then(|count| {
                if count != task.length {
                    let why = format!("a frame holds {count} bytes, not {}", task.length);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                task.buffer.grow(count);
                Ok(task.buffer)
            });
            let packed = task.packed;
            // the receiver is gone if another frame has failed
            let _ = task.reply.send(Done { buffer, packed });
        }
    });
    spawned.map_err(|source| StreamError::Thread { source })?;
    Ok(())
}

/// Frames in progress, in the order of the image.
struct FrameQueue<'a, 'o> {
    pool: Pool,
    tasks: channel::Sender<Task>,
    in_flight: VecDeque<Receiver<Done>>,
    most: usize,
    outlet: &'a mut Outlet<'o>,
}

impl FrameQueue<'_, '_> {
    /// Starts a frame. If too many are in progress, waits for the oldest, passes it on and returns its packed buffer.
    fn begin(&mut self, packed: Vec<u8>, length: usize) -> Result<Option<Vec<u8>>, DecodeError> {
        let spare = if self.in_flight.len() < self.most {
            None
        } else {
            self.finish_oldest()?
        };
        // buffers are taken in the order of the image, so frames waiting for the oldest never hold the buffer that it
        // needs
        let buffer = self.pool.take();
        let (reply, done) = sync_channel(1);
        let task = Task {
            packed,
            length,
            buffer,
            reply,
        };
        self.tasks.send(task).map_err(|_| StreamError::Panicked)?;
        self.in_flight.push_back(done);
        Ok(spare)
    }

    fn finish(mut self) -> Result<(), DecodeError> {
        while !self.in_flight.is_empty() {
            self.finish_oldest()?;
        }
        Ok(())
    }

    /// Waits for the oldest frame and passes it on; returns its packed buffer.
    fn finish_oldest(&mut self) -> Result<Option<Vec<u8>>, DecodeError> {
        let Some(oldest) = self.in_flight.pop_front() else {
            return Ok(None);
        };
        let done = oldest.recv().map_err(|_| StreamError::Panicked)?;
        let frame = Slice::from(done.buffer?);
        for block in frame.parts(BLOCK_LENGTH) {
            self.outlet.send(block)?;
        }
        Ok(Some(done.packed))
    }
}
