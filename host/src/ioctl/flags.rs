//! Inode flags. efivarfs sets "immutable" on variables, so that `rm -r` cannot break the firmware.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{c_int, c_long};

// The request numbers are declared with `long`, but the kernel reads and writes an int, as these pointers do.
nix::ioctl_read_bad!(
    /// FS_IOC_GETFLAGS.
    fs_get_flags, nix::request_code_read!(b'f', 1, size_of::<c_long>()), c_int
);
nix::ioctl_write_ptr_bad!(
    /// FS_IOC_SETFLAGS.
    fs_set_flags, nix::request_code_write!(b'f', 2, size_of::<c_long>()), c_int
);

/// `FS_IMMUTABLE_FL`.
const IMMUTABLE: c_int = 0x10;

/// Sets or clears the flag that forbids any change of the file; returns whether it was set before.
pub fn set_immutable(file: &impl AsFd, immutable: bool) -> io::Result<bool> {
    let descriptor = file.as_fd().as_raw_fd();
    let mut flags: c_int = 0;
    // SAFETY: FS_IOC_GETFLAGS writes one int through the pointer, which outlives the call; `file` is open for its
    // length.
    unsafe { fs_get_flags(descriptor, &raw mut flags) }?;
    let before = flags & IMMUTABLE != 0;
    if before != immutable {
        flags ^= IMMUTABLE;
        // SAFETY: FS_IOC_SETFLAGS reads one int through the pointer, which outlives the call; `file` is open.
        unsafe { fs_set_flags(descriptor, &raw const flags) }?;
    }
    Ok(before)
}
