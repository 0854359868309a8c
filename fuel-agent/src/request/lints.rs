//! What upstream accepts unchecked, and what cannot work: planned with a warning, or refused by `run`.

use super::layout::{Layout, Origin};
use super::reader::{Diagnostics, redacted};
use crate::model::filesystem::FilesystemType;
use crate::model::request::ImageSpec;
use crate::model::storage::{FilesystemSpec, Mount};

/// Checks a finished layout.
pub(super) fn look(layout: &Layout, images: &[ImageSpec], diagnostics: &mut Diagnostics) {
    for (index, filesystem) in layout.storage.filesystems() {
        let origin = layout.origin(index);
        let image = images.iter().find(|image| image.filesystem == index);
        kind(filesystem, &origin.kind_path(), image, diagnostics);
        if let Some(Mount::Path(mount)) = &filesystem.mount {
            let path = format!("{}.mount", origin.path);
            let mut earlier = layout.storage.filesystems();
            let twin = earlier.find(|(_, other)| other.mount == filesystem.mount);
            let twin = twin.filter(|(twin, _)| *twin < index);
            let twin = twin.map(|(twin, _)| layout.origin(twin));
            mount_point(mount, path, twin, diagnostics);
        }
    }
}

/// A mount point that another filesystem has, or that fstab or a shell would take for another.
fn mount_point(mount: &str, path: String, twin: Option<&Origin>, diagnostics: &mut Diagnostics) {
    if let Some(twin) = twin {
        let what = format!(
            "`{}` is the mount point of `{}` too",
            redacted(mount),
            twin.path
        );
        diagnostics.refuse(path, what, "give each filesystem its own mount point");
    } else if mount.contains("//") || (mount.len() > 1 && mount.ends_with('/')) {
        let what = format!("`{}` has a slash too many", redacted(mount));
        diagnostics.refuse(path, what, "write it like `/var/log`");
    }
}

/// A filesystem that no tool here can make, or that cannot be mounted at its mount point.
fn kind(
    filesystem: &FilesystemSpec,
    at: &str,
    image: Option<&ImageSpec>,
    diagnostics: &mut Diagnostics,
) {
    let kind = &filesystem.kind;
    let hint = format!("give {}", FilesystemType::listed(|_| true));
    if kind.capabilities().is_none() {
        diagnostics.refuse(
            at,
            format!("`{kind}` is not a filesystem that can be made"),
            hint.as_str(),
        );
    }
    let swap = kind.is_swap();
    match &filesystem.mount {
        Some(Mount::Path(mount)) if swap => {
            diagnostics.refuse(
                at,
                format!("is swap space, which cannot be mounted on `{mount}`"),
                hint.as_str(),
            );
        }
        None if swap => {
            let what = "is swap space, which needs the mount point `swap` to be used";
            diagnostics.refuse(at, what, "give `swap` as mount point, or another type");
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::request::{Driver, load};

    /// What `run` refuses of a request with two volumes like these beside its root.
    fn refused(first: &Value, second: &Value) -> Vec<String> {
        let base = include_str!("../../../testdata/requests/no-boot-volume.json");
        let mut request: Value = serde_json::from_str(base).unwrap();
        let volumes = &mut request["ks_meta"]["pm_data"]["ks_spaces"][0]["volumes"];
        for (volume, name) in [(first, "a"), (second, "b")] {
            let mut volume = volume.clone();
            volume["type"] = "partition".into();
            volume["size"] = 400.into();
            volume["name"] = name.into();
            volumes.as_array_mut().unwrap().push(volume);
        }
        let request = load(&request.to_string(), Driver::Nailgun).unwrap();
        request.refusals.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_planned_and_never_run_is_refused_once_and_with_its_path() {
        let good = json!({"mount": "/a", "file_system": "ext4"});
        let at = "ks_meta.pm_data.ks_spaces[0].volumes[3]";
        assert_eq!(
            refused(&good, &json!({"mount": "/b", "file_system": "xfs"})),
            [""; 0]
        );
        for (mount, kind, what) in [
            (
                "/b",
                "btrfs",
                ".file_system: `btrfs` is not a filesystem that can be made",
            ),
            (
                "/b",
                "swap",
                ".file_system: is swap space, which cannot be mounted on `/b`",
            ),
            (
                "swap",
                "ext4",
                ".file_system: is `ext4`, which cannot be swapped to",
            ),
            ("/b/", "ext4", ".mount: `/b/` has a slash too many"),
            ("/b//c", "ext4", ".mount: `/b//c` has a slash too many"),
        ] {
            let second = json!({"mount": mount, "file_system": kind});
            assert_eq!(refused(&good, &second), [format!("{at}{what}")]);
        }
        let twin = format!(
            "{at}.mount: `/a` is the mount point of `ks_meta.pm_data.ks_spaces[0].volumes[2]` too"
        );
        assert_eq!(refused(&good, &good), [twin]);
    }
}
