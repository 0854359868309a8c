//! The pipes of a child, fed and drained alternately, so that parent and child never deadlock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

/// The last bytes of a stream, however long it is.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    keep: usize,
    cut: bool,
}

impl Tail {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            bytes: Vec::new(),
            keep,
            cut: false,
        }
    }

    /// Appends. Up to twice the limit is held before trimming, so that each byte is moved at most once.
    pub(super) fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        if self.bytes.len() > self.keep.saturating_mul(2) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.keep);
        if surplus > 0 {
            self.bytes.drain(..surplus);
            self.cut = true;
        }
    }

    /// The bytes as text, and whether earlier ones were dropped.
    pub(super) fn finish(mut self) -> (String, bool) {
        self.trim();
        (String::from_utf8_lossy(&self.bytes).into_owned(), self.cut)
    }
}

/// The parent's end of a pipe that the child writes to.
#[derive(Debug)]
pub(super) struct OutputCapture {
    pipe: Option<OwnedFd>,
    pub(super) tail: Tail,
}

impl OutputCapture {
    pub(super) fn new(pipe: OwnedFd, keep: usize) -> io::Result<Self> {
        do_not_block(&pipe)?;
        Ok(Self {
            pipe: Some(pipe),
            tail: Tail::new(keep),
        })
    }

    /// The descriptor to poll, while it is open.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is available, at most 1 MiB, so that a child that writes without pause cannot delay the time-out.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 8 << 10];
        for _ in 0..128 {
            let Some(pipe) = &self.pipe else {
                return Ok(());
            };
            match read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => self.tail.push(buffer.get(..n).unwrap_or_default()),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}

/// The parent's end of the pipe that the child reads from.
#[derive(Debug)]
pub(super) struct StdinPump<'a> {
    pipe: Option<OwnedFd>,
    left: &'a [u8],
}

impl<'a> StdinPump<'a> {
    pub(super) fn new(pipe: Option<OwnedFd>, bytes: &'a [u8]) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            do_not_block(pipe)?;
        }
        Ok(Self { pipe, left: bytes })
    }

    /// The descriptor to poll, while there are bytes left to write.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Writes what the pipe takes now; closes it after the last byte. A child may close its input early: its exit
    /// status tells whether that was a failure.
    pub(super) fn feed(&mut self) -> io::Result<()> {
        while let Some(pipe) = &self.pipe {
            if self.left.is_empty() {
                self.pipe = None;
                break;
            }
            match write(pipe, self.left) {
                Ok(n) => self.left = self.left.get(n..).unwrap_or_default(),
                Err(Errno::EPIPE) => self.pipe = None,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}

/// For the parent's end only: the two ends of a pipe have separate flags.
fn do_not_block(pipe: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tail_is_the_end_of_what_was_pushed(
            pieces in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..40), 0..40),
            keep in 0_usize..100,
        ) {
            let whole: Vec<u8> = pieces.concat();
            let mut tail = Tail::new(keep);
            for piece in &pieces {
                tail.push(piece);
                prop_assert!(tail.bytes.len() <= 2 * keep);
            }
            let (text, cut) = tail.finish();
            let from = whole.len().saturating_sub(keep);
            prop_assert_eq!(text.as_bytes(), &whole[from..]);
            prop_assert_eq!(cut, whole.len() > keep);
        }
    }
}
