//! GRUB's platforms: which one a firmware starts, and where its files come from.

use super::node::Firmware;

/// A platform of GRUB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// BIOS, with a core image in its own partition or behind the MBR.
    Pc,
    /// UEFI on x86-64.
    Efi,
}

impl Platform {
    /// The one that a firmware starts.
    pub(crate) const fn of(firmware: Firmware) -> Self {
        match firmware {
            Firmware::Bios => Self::Pc,
            Firmware::Uefi => Self::Efi,
        }
    }

    /// Its name, which is also its folder's.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pc => "i386-pc",
            Self::Efi => "x86_64-efi",
        }
    }

    /// Debian package of its files.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Pc => "grub-pc-bin",
            Self::Efi => "grub-efi-amd64-bin",
        }
    }
}
