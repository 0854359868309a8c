//! The programs that initramfs starts.

use host::exec::Program;

/// A program that initramfs starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Reads apt's package lists.
    AptCache,
    /// Downloads packages, and lists what apt would install.
    AptGet,
    /// Makes module indexes.
    Depmod,
    /// Unpacks Debian packages.
    DpkgDeb,
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::AptCache => Self::new("apt-cache", "apt"),
            Tool::AptGet => Self::new("apt-get", "apt"),
            Tool::Depmod => Self::new("depmod", "kmod"),
            Tool::DpkgDeb => Self::new("dpkg-deb", "dpkg"),
        }
    }
}
