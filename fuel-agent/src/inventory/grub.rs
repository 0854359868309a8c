//! GRUB's files, as the ramdisk has them.

use std::path::Path;

use crate::model::error::{Error, Kind};
use crate::model::grub::Platform;

/// Whether GRUB's folder holds the files of a platform.
pub(crate) fn present(platform: Platform, grub: &Path) -> Result<(), Error> {
    let folder = grub.join(platform.name());
    if folder.join("normal.mod").is_file() {
        return Ok(());
    }
    let what = format!(
        "GRUB's files for {} are not in {}",
        platform.name(),
        folder.display()
    );
    let hint = format!("install the package `{}`", platform.package());
    Err(Error::new(Kind::Tool, what).hint(hint))
}
