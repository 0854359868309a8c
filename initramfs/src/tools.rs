//! The programs that the ramdisk is made with.

use host::exec::Program;

/// A program that the ramdisk is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Asks apt's package lists.
    AptCache,
    /// Downloads packages, and answers what apt would install.
    AptGet,
    /// Makes a module index.
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
