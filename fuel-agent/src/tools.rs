//! The programs that the agent starts.

use host::exec::Program;

/// A program that the agent starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Asks a device what is on it.
    Blkid,
    /// Device-mapper, for crypt targets on a chosen disk.
    Dmsetup,
    /// Checks an ext filesystem.
    E2fsck,
    /// Makes a GRUB core image.
    GrubMkimage,
    /// LVM: `lvm SUBCOMMAND`.
    Lvm,
    /// Linux software RAID.
    Mdadm,
    /// Makes ext2.
    MkfsExt2,
    /// Makes ext3.
    MkfsExt3,
    /// Makes ext4.
    MkfsExt4,
    /// Makes xfs.
    MkfsXfs,
    /// Makes swap space.
    Mkswap,
    /// Grows an ext filesystem.
    Resize2fs,
    /// Waits for udev's queue.
    Udevadm,
    /// Grows a mounted xfs.
    XfsGrowfs,
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Blkid => Self::new("blkid", "util-linux"),
            Tool::Dmsetup => Self::new("dmsetup", "dmsetup").on_devices(),
            Tool::E2fsck => Self::new("e2fsck", "e2fsprogs"),
            Tool::GrubMkimage => Self::new("grub-mkimage", "grub-common"),
            Tool::Lvm => Self::new("lvm", "lvm2").on_devices(),
            Tool::Mdadm => Self::new("mdadm", "mdadm").on_devices(),
            Tool::MkfsExt2 => Self::new("mkfs.ext2", "e2fsprogs"),
            Tool::MkfsExt3 => Self::new("mkfs.ext3", "e2fsprogs"),
            Tool::MkfsExt4 => Self::new("mkfs.ext4", "e2fsprogs"),
            Tool::MkfsXfs => Self::new("mkfs.xfs", "xfsprogs"),
            Tool::Mkswap => Self::new("mkswap", "util-linux"),
            Tool::Resize2fs => Self::new("resize2fs", "e2fsprogs"),
            Tool::Udevadm => Self::new("udevadm", "udev"),
            Tool::XfsGrowfs => Self::new("xfs_growfs", "xfsprogs"),
        }
    }
}
