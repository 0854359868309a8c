//! The programs that initramfs starts.

use host::exec::Program;

/// A program that initramfs starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Makes module indexes.
    Depmod,
    /// Unpacks Debian packages.
    DpkgDeb,
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Depmod => Self::new("depmod", "kmod"),
            Tool::DpkgDeb => Self::new("dpkg-deb", "dpkg"),
        }
    }
}
