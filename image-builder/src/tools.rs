//! The programs that image-builder starts.

use host::exec::Program;

/// A program that image-builder starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Looks into an ext filesystem that is not mounted.
    Debugfs,
    /// Lists what an ext filesystem does not use.
    Dumpe2fs,
    /// Checks an ext filesystem.
    E2fsck,
    /// Makes ext from a folder.
    Mke2fs,
    /// Makes a Debian root.
    Mmdebstrap,
    /// Looks into an xfs that is not mounted.
    XfsDb,
    /// Checks an xfs.
    XfsRepair,
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Debugfs => Self::new("debugfs", "e2fsprogs"),
            Tool::Dumpe2fs => Self::new("dumpe2fs", "e2fsprogs"),
            Tool::E2fsck => Self::new("e2fsck", "e2fsprogs"),
            Tool::Mke2fs => Self::new("mke2fs", "e2fsprogs"),
            Tool::Mmdebstrap => Self::new("mmdebstrap", "mmdebstrap"),
            Tool::XfsDb => Self::new("xfs_db", "xfsprogs"),
            Tool::XfsRepair => Self::new("xfs_repair", "xfsprogs"),
        }
    }
}
