//! The programs that image-builder starts.

use host::exec::Program;

/// A program that image-builder starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Reads files of an unmounted ext filesystem, and changes their times.
    Debugfs,
    /// Reads Debian packages.
    DpkgDeb,
    /// Lists the free blocks of an ext filesystem.
    Dumpe2fs,
    /// Checks an ext filesystem.
    E2fsck,
    /// Makes an ext filesystem from a folder.
    Mke2fs,
    /// Makes the root filesystem of a Debian system.
    Mmdebstrap,
    /// Lists the free blocks of an XFS filesystem.
    XfsDb,
    /// Checks an XFS filesystem.
    XfsRepair,
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Debugfs => Self::new("debugfs", "e2fsprogs"),
            Tool::DpkgDeb => Self::new("dpkg-deb", "dpkg"),
            Tool::Dumpe2fs => Self::new("dumpe2fs", "e2fsprogs"),
            Tool::E2fsck => Self::new("e2fsck", "e2fsprogs"),
            Tool::Mke2fs => Self::new("mke2fs", "e2fsprogs"),
            Tool::Mmdebstrap => Self::new("mmdebstrap", "mmdebstrap"),
            Tool::XfsDb => Self::new("xfs_db", "xfsprogs"),
            Tool::XfsRepair => Self::new("xfs_repair", "xfsprogs"),
        }
    }
}
