//! The pipes of a child: fed and drained side by side, so that neither end ever waits for the other for good.

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

    /// Takes more. Twice the size is held for a moment, so that a byte is moved once and not at every call.
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

    /// The bytes as text, and whether there had been more.
    pub(super) fn finish(mut self) -> (String, bool) {
        self.trim();
        (String::from_utf8_lossy(&self.bytes).into_owned(), self.cut)
    }
}

/// Our end of a pipe that the child writes to.
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

    /// The descriptor to wait on, while it is open.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there now, at most one MiB, so that a chatterbox cannot keep us from looking at the clock.
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

/// Our end of the pipe that the child reads from.
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

    /// The descriptor to wait on, while there is something left to give.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Gives what the pipe takes now; closes it after the last byte. A child that closes its input early has read as
    /// much as it wanted: its exit status says whether that was well.
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

/// Only for our end: the two ends of a pipe have flags of their own.
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
