//! What a dialect makes of its disks, and the one way in which filesystems get into it.

use super::names;
use super::reader::{Diagnostics, redacted};
use crate::model::filesystem::FilesystemType;
use crate::model::index::FilesystemIndex;
use crate::model::storage::{BlockRef, FilesystemSpec, Mount, Storage};

/// The storage, and where the cloud-init data goes.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) storage: Storage,
    pub(super) configdrive: Option<BlockRef>,
    /// For each filesystem, what it comes from.
    origins: Vec<Origin>,
    /// Volumes with a mount point that are passed over because they have no size: mount point, path, size.
    pub(super) without_size: Vec<(String, String, i64)>,
}

/// Where a filesystem was asked for.
#[derive(Debug)]
pub(super) struct Origin {
    /// The path of what it comes from.
    pub(super) path: String,
    /// Key of the type in there.
    pub(super) kind_key: &'static str,
    /// Whether the type stands there; else it is the one that upstream takes.
    pub(super) is_kind_named: bool,
}

impl Origin {
    /// Path of the type.
    pub(super) fn kind_path(&self) -> String {
        format!("{}.{}", self.path, self.kind_key)
    }
}

/// What a filesystem is to be, and where it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) on: BlockRef,
    pub(super) path: &'a str,
    pub(super) mount: Option<&'a str>,
    /// Its type, where one is named.
    pub(super) kind: Option<&'a str>,
    /// Type where none is given.
    pub(super) default_kind: &'static str,
    /// The key that names the type in this dialect.
    pub(super) kind_key: &'static str,
    pub(super) label: &'a str,
}

impl Layout {
    /// Where a filesystem was asked for.
    #[expect(
        clippy::indexing_slicing,
        reason = "each filesystem is added together with its origin"
    )]
    pub(super) fn origin(&self, filesystem: FilesystemIndex) -> &Origin {
        &self.origins[filesystem.0]
    }

    /// Adds a filesystem, if its mount point and type do no harm.
    pub(super) fn add_filesystem(&mut self, place: Place<'_>, diagnostics: &mut Diagnostics) {
        let before = diagnostics.len();
        let kind = place.kind.unwrap_or(place.default_kind);
        let bad_mount = |mount| Some((mount, names::bad_mount(mount)?));
        if let Some((mount, why)) = place.mount.and_then(bad_mount) {
            diagnostics.add(
                format!("{}.mount", place.path),
                format!("`{}` {why}", redacted(mount)),
                "give an absolute path, `swap` or `none`",
            );
        }
        if let Some(why) = names::bad_filesystem(kind) {
            diagnostics.add(
                format!("{}.{}", place.path, place.kind_key),
                format!("`{}` {why}", redacted(kind)),
                format!("give {}", FilesystemType::listed(|_| true)),
            );
        }
        if diagnostics.len() > before {
            return;
        }
        self.origins.push(Origin {
            path: place.path.to_owned(),
            kind_key: place.kind_key,
            is_kind_named: place.kind.is_some(),
        });
        self.storage.filesystems.push(FilesystemSpec {
            on: place.on,
            mount: place.mount.map(Mount::from_text),
            kind: kind.into(),
            label: place.label.to_owned(),
            options: String::new(),
            keep_data: false,
        });
    }
}
