//! `image_data`: which image goes onto which filesystem.

use url::Url;

use super::layout::Layout;
use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};
use crate::model::digest::{Algorithm, DocumentedDigests};
use crate::model::filesystem::{FilesystemType, ImageFormat};
use crate::model::index::FilesystemIndex;
use crate::model::request::{Container, Dialect, ImageSpec};
use crate::model::storage::Mount;
use crate::model::url::RedactedUrl;

/// Reads `ks_meta.image_data`; its filesystems are looked up in `layout`, unless that has findings of its own.
pub(super) fn read(
    ks_meta: &JsonCursor<'_>,
    dialect: Dialect,
    layout: Option<&Layout>,
    diagnostics: &mut Diagnostics,
) -> Vec<ImageSpec> {
    let right = "an object from mount point to `{uri, format, container}`";
    let Some(data) = ks_meta.require("image_data", right, diagnostics) else {
        return Vec::new();
    };
    if !data.object(diagnostics) {
        return Vec::new();
    }
    data.require("/", "the image of the root filesystem", diagnostics);
    let mut images = Vec::new();
    for (mount, at) in data.entries(diagnostics) {
        images.extend(image(mount, &at, dialect, layout, diagnostics));
    }
    images
}

fn image(
    mount: &str,
    at: &JsonCursor<'_>,
    dialect: Dialect,
    layout: Option<&Layout>,
    diagnostics: &mut Diagnostics,
) -> Option<ImageSpec> {
    let url = at
        .required_text("uri", "the image's URL", diagnostics)
        .and_then(|text| url(text, &at.path_of("uri"), diagnostics));
    let format = at
        .required_text(
            "format",
            "the filesystem type inside the image, or `tar`",
            diagnostics,
        )
        .and_then(|text| format(text, &at.path_of("format"), diagnostics));
    let container = at
        .required_text("container", containers(dialect), diagnostics)
        .and_then(|text| container(text, dialect, &at.path_of("container"), diagnostics));
    let digests = digests(at, diagnostics);
    let layout = layout?;
    let filesystem = filesystem(mount, at, layout, diagnostics);
    let image = ImageSpec {
        mount: Mount::from_text(mount),
        filesystem: filesystem?,
        url: url?,
        format: format?,
        container: container?,
        digests: digests?,
    };
    if image.format == ImageFormat::Archive {
        archive(&image, at, layout, diagnostics);
    }
    Some(image)
}

/// The digests of the unpacked image: keys of ours, which Fuel's documents lack. `None` where one cannot be used.
fn digests(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<DocumentedDigests> {
    let mut digests = DocumentedDigests::default();
    let before = diagnostics.len();
    for algorithm in [Algorithm::Sha256, Algorithm::Blake3, Algorithm::Md5] {
        let name = algorithm.name();
        let Some(text) = at.optional_text(name, diagnostics) else {
            continue;
        };
        if algorithm.accepts(text) {
            *digests.place(algorithm) = Some(text.to_lowercase());
        } else {
            let digits = algorithm.digits();
            let what = format!("`{}` is not a {name} digest", redacted(text));
            let hint = format!("give the {digits} hexadecimal digits of the unpacked image");
            diagnostics.add(at.path_of(name), what, hint);
        }
    }
    (diagnostics.len() == before).then_some(digests)
}

/// An archive has no filesystem of its own: the layout has to name the type to make for it, and nothing is guessed.
fn archive(image: &ImageSpec, at: &JsonCursor<'_>, layout: &Layout, diagnostics: &mut Diagnostics) {
    if image.container == Container::Qcow2 {
        let what = "is `qcow2`, which wraps a disk and no archive";
        let hint = "use `raw`, `gzip`, `zstd`, `xz` or `bzip2`";
        diagnostics.add(at.path_of("container"), what, hint);
    }
    let kind = &layout.storage[image.filesystem].kind;
    let origin = layout.origin(image.filesystem);
    let made = FilesystemType::listed(|known| known.holds_files);
    let hint = format!("give {made}: it is made, and the archive unpacked into it");
    if image.mount == Mount::Swap || kind.is_swap() {
        let what = "is `tar`, and swap space holds no files";
        let hint = "give the archive a mount point that holds files";
        diagnostics.add(at.path_of("format"), what, hint);
    } else if !origin.is_kind_named {
        let what = format!(
            "is missing, and the archive for `{}` brings no filesystem of its own",
            image.mount.as_str()
        );
        diagnostics.add(origin.kind_path(), what, hint);
    } else if kind.capabilities().is_none() {
        let what = format!(
            "`{}` is not a filesystem that can be made, and the archive for `{}` contains none",
            redacted(kind.as_str()),
            image.mount.as_str()
        );
        diagnostics.add(origin.kind_path(), what, hint);
    }
}

/// The first filesystem that is mounted there, as upstream takes it.
fn filesystem(
    mount: &str,
    at: &JsonCursor<'_>,
    layout: &Layout,
    diagnostics: &mut Diagnostics,
) -> Option<FilesystemIndex> {
    let mounts = || {
        let filesystems = layout.storage.filesystems();
        filesystems.filter_map(|(index, fs)| Some((index, fs.mount.as_ref()?.as_str())))
    };
    let found = mounts().find(|(_, there)| *there == mount);
    if found.is_none() {
        let mounts: Vec<&str> = mounts().map(|(_, mount)| mount).collect();
        let what = format!("no filesystem is mounted on `{}`", redacted(mount));
        diagnostics.add(at.path(), what, hint(mount, layout, &mounts));
    }
    found.map(|(index, _)| index)
}

/// What would help: most often the volume is there, and the orchestrator found no room for it.
fn hint(mount: &str, layout: &Layout, mounts: &[&str]) -> String {
    let mut empty = layout.without_size.iter();
    if let Some((_, path, size)) = empty.find(|(there, ..)| there == mount) {
        return format!("its volume `{path}` has the size {size}: make room for it");
    }
    if mounts.is_empty() {
        return "give a volume that mount point and a size; none has one".to_owned();
    }
    let mounts: Vec<String> = mounts.iter().map(|mount| format!("`{mount}`")).collect();
    format!("the layout has {}", mounts.join(", "))
}

fn url(text: &str, path: &str, diagnostics: &mut Diagnostics) -> Option<RedactedUrl> {
    let hint = "give a URL like `http://10.20.0.2:8080/images/root.img.gz`";
    let parsed = Url::parse(text)
        .ok()
        .filter(|_| !names::has_control(text) && !text.contains(' '));
    let Some(url) = parsed else {
        // The text itself may hold a password, and may be anything.
        diagnostics.add(path, "is not a URL", hint);
        return None;
    };
    let complete = match url.scheme() {
        "http" | "https" => url.host_str().is_some_and(|host| !host.is_empty()),
        "file" => url
            .to_file_path()
            .is_ok_and(|path| path.file_name().is_some()),
        other => {
            let what = format!("has the scheme `{other}`");
            diagnostics.add(path, what, "use `http`, `https` or `file`");
            return None;
        }
    };
    if !complete {
        diagnostics.add(path, "names no host or no file", hint);
        return None;
    }
    Some(RedactedUrl::from(text))
}

fn format(text: &str, path: &str, diagnostics: &mut Diagnostics) -> Option<ImageFormat> {
    match names::bad_filesystem(text) {
        Some(why) => {
            let what = format!("`{}` {why}", redacted(text));
            diagnostics.add(
                path,
                what,
                "give `ext4`, `xfs` or what else is in the image; `tar` for a root archive",
            );
            None
        }
        None => Some(text.into()),
    }
}

fn container(
    text: &str,
    dialect: Dialect,
    path: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Container> {
    match text {
        "raw" => Some(Container::Raw),
        "gzip" => Some(Container::Gzip),
        // Not upstream's; what image-builder makes.
        "zstd" | "zst" => Some(Container::Zstd),
        // Fuel's orchestrator counts on a refusal of these: it is asked for them by mistake only.
        "xz" if dialect != Dialect::Nailgun => Some(Container::Xz),
        "bzip2" | "bz2" if dialect != Dialect::Nailgun => Some(Container::Bzip2),
        "qcow2" if dialect != Dialect::Nailgun => Some(Container::Qcow2),
        other => {
            let what = format!("is `{}`", redacted(other));
            diagnostics.add(path, what, format!("use {}", containers(dialect)));
            None
        }
    }
}

/// The words for a container, for a sentence.
const fn containers(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Nailgun => "`raw`, `gzip` or `zstd`",
        _ => "`raw`, `gzip`, `zstd`, `xz`, `bzip2` or `qcow2`",
    }
}
