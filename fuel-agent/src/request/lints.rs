//! What upstream accepts without a look, and what cannot end well: planned with a warning, or refused by `run`.

use super::layout::Layout;
use super::reader::Diagnostics;
use crate::model::request::ImageSpec;
use crate::model::storage::{FilesystemSpec, Mount};

/// Filesystems that can be made here.
const MADE: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "swap"];

/// Looks at a finished layout.
pub(super) fn look(layout: &Layout, images: &[ImageSpec], diagnostics: &mut Diagnostics) {
    let filesystems = &layout.storage.filesystems;
    for (index, filesystem) in filesystems.iter().enumerate() {
        let Some(origin) = layout.origins.get(index) else {
            continue;
        };
        let image = images.iter().find(|image| image.filesystem == index);
        kind(filesystem, &origin.kind_path(), image, diagnostics);
        let same =
            |other: &FilesystemSpec| other.mount.is_some() && other.mount == filesystem.mount;
        if matches!(filesystem.mount, Some(Mount::Path(_))) && filesystems[..index].iter().any(same)
        {
            let path = &origin.path;
            diagnostics.warn(format!("`{path}.mount`: another filesystem is mounted there too, and hides this one or is hidden"));
        }
    }
}

/// A filesystem that nobody can make, or that cannot be mounted where it shall be.
fn kind(
    filesystem: &FilesystemSpec,
    at: &str,
    image: Option<&ImageSpec>,
    diagnostics: &mut Diagnostics,
) {
    let kind = filesystem.kind.as_str();
    let hint = "give `ext2`, `ext3`, `ext4`, `xfs` or `swap`";
    if kind == "none" || (image.is_none() && !MADE.contains(&kind)) {
        diagnostics.refuse(
            at,
            format!("`{kind}` is no filesystem that can be made"),
            hint,
        );
    }
    let swap = kind == "swap";
    match &filesystem.mount {
        Some(Mount::Path(mount)) if swap => {
            diagnostics.refuse(
                at,
                format!("is swap space, which cannot be mounted on `{mount}`"),
                hint,
            );
        }
        Some(Mount::Swap) if !swap => {
            diagnostics.refuse(
                at,
                format!("is `{kind}`, which cannot be swapped to"),
                "give `swap`, or another mount point",
            );
        }
        _ => {}
    }
    if image.is_some() && swap {
        diagnostics.warn(format!("`{at}`: an image is written onto swap space"));
    }
}
