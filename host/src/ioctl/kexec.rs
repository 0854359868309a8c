//! Loading a kernel that is started without the firmware: `kexec_file_load(2)`.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Loads a kernel and its initial ramdisk, replacing any that was loaded before; it starts with the next
/// `LINUX_REBOOT_CMD_KEXEC`. Both files may be closed and unmounted afterwards: the kernel has copies.
pub(crate) fn load(
    kernel: BorrowedFd<'_>,
    initrd: BorrowedFd<'_>,
    command_line: &CStr,
) -> io::Result<()> {
    let text = command_line.to_bytes_with_nul();
    // SAFETY: the call reads `text.len()` bytes at `text`, the terminating zero among them as it asks, and keeps no
    // pointer; both descriptors are open for as long as they are borrowed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            text.len(),
            text.as_ptr(),
            libc::c_ulong::from(0_u32),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
