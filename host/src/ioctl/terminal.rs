//! The size of a terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::winsize;

nix::ioctl_read_bad!(
    /// TIOCGWINSZ.
    get_window_size, nix::libc::TIOCGWINSZ, winsize
);

/// Number of columns; 0 where unknown, as on a serial line. An error where it is not a terminal.
pub(crate) fn columns(terminal: &impl AsFd) -> io::Result<usize> {
    let mut size = winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize through the pointer, which outlives the call; `terminal` is open for its
    // length.
    unsafe { get_window_size(terminal.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok(size.ws_col.into())
}
