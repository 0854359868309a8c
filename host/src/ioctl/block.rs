//! Block devices: sizes, flags, caches, and the kernel's list of partitions.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{c_int, c_longlong, c_uint, c_void};

use crate::units::{Bytes, Extent};

nix::ioctl_read!(
    /// BLKGETSIZE64. The header declares `size_t`, the kernel writes 64 bits.
    blk_get_size, 0x12, 114, u64
);
nix::ioctl_read_bad!(
    /// BLKSSZGET: the logical sector size.
    blk_sector_size, nix::request_code_none!(0x12, 104), c_int
);
nix::ioctl_read_bad!(
    /// BLKPBSZGET: the physical sector size.
    blk_physical_sector_size, nix::request_code_none!(0x12, 123), c_uint
);
nix::ioctl_read_bad!(
    /// BLKROGET: whether it is read-only.
    blk_read_only, nix::request_code_none!(0x12, 94), c_int
);
nix::ioctl_read!(
    /// BLKGETDISKSEQ: which of all disks that the kernel has found since it started (Linux 5.15).
    blk_disk_sequence, 0x12, 128, u64
);
nix::ioctl_none_bad!(
    /// BLKRRPART: read the partition table again.
    blk_reread, nix::request_code_none!(0x12, 95)
);
nix::ioctl_none_bad!(
    /// BLKFLSBUF: write out and drop the device's page cache.
    blk_flush, nix::request_code_none!(0x12, 97)
);
nix::ioctl_write_ptr_bad!(
    /// BLKPG: add, delete or resize one partition.
    blk_partition, nix::request_code_none!(0x12, 105), BlkpgArgument
);

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgArgument {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *mut c_void,
}

/// `struct blkpg_partition` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgPartition {
    start: c_longlong,
    length: c_longlong,
    number: c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// Operation of BLKPG; the numbers are the kernel's.
#[derive(Clone, Copy)]
enum Operation {
    Add = 1,
    Delete = 2,
    Resize = 3,
}

/// Size of the device in bytes.
pub fn size(device: &impl AsFd) -> io::Result<Bytes> {
    let mut size = 0_u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, which outlives the call; `device` is open for its
    // length.
    unsafe { blk_get_size(device.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok(Bytes(size))
}

/// Logical sector size: the unit that the device is addressed in.
pub fn sector_size(device: &impl AsFd) -> io::Result<Bytes> {
    let mut size: c_int = 0;
    // SAFETY: BLKSSZGET writes one int through the pointer, which outlives the call; `device` is open for its length.
    unsafe { blk_sector_size(device.as_fd().as_raw_fd(), &raw mut size) }?;
    u64::try_from(size)
        .map(Bytes)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Physical sector size: the unit that the medium is written in.
pub fn physical_sector_size(device: &impl AsFd) -> io::Result<Bytes> {
    let mut size: c_uint = 0;
    // SAFETY: BLKPBSZGET writes one unsigned int through the pointer, which outlives the call; `device` is open.
    unsafe { blk_physical_sector_size(device.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok(Bytes(u64::from(size)))
}

/// Sequence number of the disk that the device is or is on: no other disk has the same until the next boot. `None`
/// where the kernel is older than 5.15.
pub fn disk_sequence(device: &impl AsFd) -> io::Result<Option<u64>> {
    let mut sequence = 0_u64;
    // SAFETY: BLKGETDISKSEQ writes one u64 through the pointer, which outlives the call; `device` is open for its
    // length.
    match unsafe { blk_disk_sequence(device.as_fd().as_raw_fd(), &raw mut sequence) } {
        Ok(_) => Ok(Some(sequence)),
        Err(nix::errno::Errno::ENOTTY | nix::errno::Errno::EINVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the kernel refuses writes to the device.
pub fn read_only(device: &impl AsFd) -> io::Result<bool> {
    let mut flag: c_int = 0;
    // SAFETY: BLKROGET writes one int through the pointer, which outlives the call; `device` is open for its length.
    unsafe { blk_read_only(device.as_fd().as_raw_fd(), &raw mut flag) }?;
    Ok(flag != 0)
}

/// Makes the kernel read the partition table again. `EBUSY` while a partition is in use; a kernel without a parser for
/// the kind of table drops all partitions.
pub fn reread_partitions(device: &impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument; `device` is open for the length of the call.
    unsafe { blk_reread(device.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Writes out and drops the device's page cache, so that the next read comes from the medium.
pub fn flush_buffers(device: &impl AsFd) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument; `device` is open for the length of the call.
    unsafe { blk_flush(device.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Adds a partition to the kernel's list. `EBUSY` where it overlaps another one in the list.
pub fn add_partition(disk: &impl AsFd, number: u32, extent: Extent) -> io::Result<()> {
    partition(disk, Operation::Add, number, extent)
}

/// Removes a partition from the kernel's list. `ENXIO` where there is none of that number, `EBUSY` while it is in use.
pub(crate) fn delete_partition(disk: &impl AsFd, number: u32) -> io::Result<()> {
    let nothing = Extent {
        start: Bytes::ZERO,
        length: Bytes::ZERO,
    };
    partition(disk, Operation::Delete, number, nothing)
}

/// Changes the length of a partition in the kernel's list; its start must not change.
pub fn resize_partition(disk: &impl AsFd, number: u32, extent: Extent) -> io::Result<()> {
    partition(disk, Operation::Resize, number, extent)
}

fn partition(
    disk: &impl AsFd,
    operation: Operation,
    number: u32,
    extent: Extent,
) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = BlkpgPartition {
        start: extent.start.0.try_into().map_err(invalid)?,
        length: extent.length.0.try_into().map_err(invalid)?,
        number: number.try_into().map_err(invalid)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = BlkpgArgument {
        #[expect(clippy::as_conversions, reason = "the enum's numbers are the kernel's")]
        operation: operation as c_int,
        flags: 0,
        length: size_of::<BlkpgPartition>().try_into().map_err(invalid)?,
        data: (&raw mut partition).cast(),
    };
    // SAFETY: BLKPG reads `argument` and, through its pointer, `length` bytes of `partition`; both are laid out as
    // linux/blkpg.h declares them and outlive the call; `disk` is open for its length.
    unsafe { blk_partition(disk.as_fd().as_raw_fd(), &raw const argument) }?;
    Ok(())
}
