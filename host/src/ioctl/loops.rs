//! Loop devices: files as block devices, for tests and the testbed, and for tools that need a device for a part of a
//! file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::libc::c_int;

use crate::units::{Bytes, Extent};

nix::ioctl_none_bad!(
    /// LOOP_CTL_GET_FREE: the number of an unused loop device, created if necessary.
    loop_get_free, 0x4C82
);
nix::ioctl_write_ptr_bad!(
    /// LOOP_CONFIGURE: file, block size and flags at once.
    loop_configure, 0x4C0A, LoopConfig
);
nix::ioctl_none_bad!(
    /// LOOP_CLR_FD: detach the file.
    loop_clear, 0x4C01
);

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    descriptor: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const READ_ONLY: u32 = 1;
/// Without this flag the kernel refuses partitions on a loop device, BLKPG included.
const PARTITIONS: u32 = 8;
const DIRECT_IO: u32 = 16;

/// How a file is attached.
#[derive(Clone, Copy, Debug)]
pub struct LoopOptions {
    /// Logical sector size: 512 or 4096.
    pub sector_size: Bytes,
    /// Bypass the page cache of the file, where its filesystem supports that.
    pub direct_io: bool,
    /// Refuse writes.
    pub read_only: bool,
    /// The part of the file that becomes the device; the whole file where `None`.
    pub part: Option<Extent>,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            sector_size: Bytes(512),
            direct_io: false,
            read_only: false,
            part: None,
        }
    }
}

/// An attached loop device; detached when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches `file` to an unused loop device.
    pub fn attach(file: &File, options: LoopOptions) -> io::Result<Self> {
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")?;
        // Another process may take the free device first: try the next one.
        for _ in 0..64 {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument; `control` is open for the length of the call.
            let number = unsafe { loop_get_free(control.as_raw_fd()) }?;
            match Self::take(number, file, options) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {}
                other => return other,
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    fn take(number: c_int, file: &File, options: LoopOptions) -> io::Result<Self> {
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&path)?;
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let mut flags = PARTITIONS;
        if options.read_only {
            flags |= READ_ONLY;
        }
        if options.direct_io {
            flags |= DIRECT_IO;
        }
        let config = LoopConfig {
            descriptor: file.as_fd().as_raw_fd().try_into().map_err(invalid)?,
            block_size: options.sector_size.0.try_into().map_err(invalid)?,
            info: LoopInfo {
                device: 0,
                inode: 0,
                rdevice: 0,
                offset: options.part.map_or(0, |part| part.start.0),
                // 0: to the end of the file
                size_limit: options.part.map_or(0, |part| part.length.0),
                number: 0,
                encrypt_type: 0,
                encrypt_key_size: 0,
                flags,
                file_name: [0; 64],
                crypt_name: [0; 64],
                encrypt_key: [0; 32],
                init: [0; 2],
            },
            reserved: [0; 8],
        };
        // SAFETY: LOOP_CONFIGURE reads `config`, laid out as linux/loop.h declares it, which outlives the call; both
        // descriptors are open for its length, and the kernel takes a reference of its own to the file.
        unsafe { loop_configure(device.as_raw_fd(), &raw const config) }?;
        Ok(Self { device, path })
    }

    /// Path of the loop device, like `/dev/loop0`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // Numbers up to the kernel's limit for partitions of a disk; unknown ones are no error.
        for number in 1..=255 {
            let _ = super::block::delete_partition(&self.device, number);
        }
        // SAFETY: LOOP_CLR_FD takes no argument; `device` is open for the length of the call.
        if let Err(error) = unsafe { loop_clear(self.device.as_raw_fd()) } {
            tracing::warn!(device = %self.path.display(), %error, "cannot detach the loop device");
        }
    }
}
