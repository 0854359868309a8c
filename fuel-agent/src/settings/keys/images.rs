//! Which images are trusted, and where they come from.

use super::{PLAIN, SWITCH};
use crate::settings::key::{Key, Layers};
use crate::settings::value::{put_keys, put_min_release, put_mirrors, yes};
use crate::source::policy::DeltaPolicy;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "trust",
        value: "warn|strict",
        default: "warn",
        layers: Layers::Strictest("strict"),
        help: "What comes of an image of which an md5 is all that vouches for it, or which comes by plain http with \
              neither a digest in the request nor a signature: a warning, or a refusal (5). `strict` also refuses \
              what `allow_unverified` allows, and holds if any layer sets it.",
        set: |settings, value| {
            settings.packed.images.strict = match value {
                "strict" => true,
                "warn" => false,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "require_signature",
        layers: Layers::Strictest("yes"),
        default: "`yes` where there is a `trusted_key`",
        help: "Write only images that a trusted key signed. `yes` holds if any layer sets it; `no` counts in the \
              layer of `trusted_key` only.",
        set: |settings, value| {
            settings.packed.images.require_signature = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
    Key {
        name: "trusted_key",
        value: "BASE64[,BASE64]",
        many: true,
        layers: Layers::Weakest,
        help: "Public keys of minisign (the line that begins with `RW`), one of which has to have signed every \
              image: its manifest, or the metadata beside it. The ramdisk's file takes precedence over the kernel's \
              command line, and that over the command line of `provision`: keys cannot be added to those of the \
              ramdisk.",
        set: |settings, value| put_keys(&mut settings.packed.keys, value),
        ..PLAIN
    },
    Key {
        name: "min_release",
        value: "[NAME:]NUMBER[,[NAME:]NUMBER]",
        many: true,
        layers: Layers::United,
        default: "0",
        help: "Oldest release of a packed image that is written, of all images or of those of this name. The largest \
              of all layers counts.",
        set: |settings, value| put_min_release(&mut settings.packed.images.min_release, value),
        ..PLAIN
    },
    Key {
        name: "images_dir",
        value: "FOLDER",
        default: "the folder of the request's file; none for a request that is fetched by http",
        layers: Layers::Weakest,
        help: "Folder of the node below which a request may name images as `file://`, with the metadata, manifests and \
              signatures beside them. Any other file is refused (5), also where a link leads to it. Empty: none. The \
              ramdisk's file takes precedence, as for `trusted_key`. `provision write` reads any file.",
        set: |settings, value| {
            let folder = std::path::PathBuf::from(value);
            if !value.is_empty() && !folder.is_absolute() {
                return Err(format!("`{value}` is not an absolute path"));
            }
            settings.images_dir = Some(folder);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "mirrors",
        value: "URL[,URL]",
        many: true,
        help: "Folders on other servers with the same packed images. All servers are used at once; a faster one \
              serves more.",
        set: |settings, value| put_mirrors(&mut settings.packed.mirrors, value),
        ..PLAIN
    },
    Key {
        name: "delta",
        value: "auto|always|never",
        default: "auto",
        help: "Whether to read the disk and to fetch and write only the chunks of a packed image that it does not \
              hold yet. `auto`: if it holds some of them and reading is faster.",
        set: |settings, value| {
            settings.packed.delta = match value {
                "auto" => DeltaPolicy::Auto,
                "always" => DeltaPolicy::Always,
                "never" => DeltaPolicy::Never,
                _ => return Err(format!("`{value}` is not one of the valid values")),
            };
            Ok(())
        },
        ..PLAIN
    },
];
