//! The YAML file of an image that Fuel's agents and `provision` read: sizes and digests of the raw data.

use os_image::hex;
use os_image::manifest::{Filesystem, System};
use os_image::metadata::{self, Image, Metadata, MetadataError};

use crate::file_digest::FileDigest;
use crate::pack::Done;

/// The document for an image in `NAME.img.zst` and, where that was made, `NAME.img.gz`.
///
/// `raw_sha256`, `raw_blake3` and `container_sha256` are additions, which upstream's agents ignore.
pub(crate) fn fuel_yaml(
    name: &str,
    packages: &[String],
    os: &System,
    filesystem: Option<&Filesystem>,
    done: &Done,
) -> Result<String, MetadataError> {
    let entry = |suffix: &str, container: &str, digest: &FileDigest| Image {
        container_name: format!("{name}.{suffix}"),
        container: Some(container.to_owned()),
        container_size: Some(digest.size),
        container_md5: digest.md5_text(),
        container_sha256: Some(digest.sha256_text()),
        format: filesystem.map(|filesystem| filesystem.kind.clone()),
        raw_name: None,
        raw_size: Some(done.raw.size),
        raw_md5: done.raw.md5_text(),
        raw_sha256: Some(done.raw.sha256_text()),
        raw_blake3: Some(hex::text(&done.raw.blake3)),
    };
    let gzip = done
        .gzip
        .as_ref()
        .map(|digest| entry("img.gz", "gzip", digest));
    let zstd = entry("img.zst", "zstd", &done.packed);
    let metadata = Metadata {
        system: system(os),
        packages: packages.to_vec(),
        images: gzip.into_iter().chain([zstd]).collect(),
        ..Metadata::default()
    };
    metadata.render()
}

/// Upstream's document has the first two numbers of the version in separate fields.
fn system(os: &System) -> Option<metadata::System> {
    if os.family.is_empty() {
        return None;
    }
    let mut letters = os.family.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let mut numbers = os.version.split('.');
    let mut number = || {
        numbers
            .next()
            .filter(|n| !n.is_empty())
            .unwrap_or("0")
            .to_owned()
    };
    Some(metadata::System {
        name: first.into_iter().chain(letters).collect(),
        major: number(),
        minor: number(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use os_image::index::IndexBuilder;

    fn done() -> Done {
        let digest = |n: u8| FileDigest {
            size: n.into(),
            sha256: [n; 32],
            blake3: [n; 32],
            md5: Some([n; 16]),
        };
        Done {
            index: IndexBuilder::new(0, 1 << 20, 0).unwrap().finish(0).unwrap(),
            raw: digest(1),
            gzip: Some(digest(2)),
            packed: digest(3),
        }
    }

    #[test]
    fn what_is_written_is_what_an_agent_reads() {
        let os = System {
            family: "debian".to_owned(),
            version: "12".to_owned(),
            ..System::default()
        };
        let filesystem = Filesystem {
            kind: "ext4".to_owned(),
            uuid: String::new(),
        };
        let done = done();
        let text = fuel_yaml(
            "debian-12",
            &["lvm2".to_owned()],
            &os,
            Some(&filesystem),
            &done,
        )
        .unwrap();
        let read = Metadata::parse(&text).unwrap();
        let system = read.system.as_ref().unwrap();
        assert_eq!(
            (
                system.name.as_str(),
                system.major.as_str(),
                system.minor.as_str()
            ),
            ("Debian", "12", "0")
        );
        let image = read.image("debian-12.img.zst").unwrap();
        assert_eq!(
            (image.raw_size, image.format.as_deref()),
            (Some(1), Some("ext4"))
        );
        assert_eq!(image.raw_sha256, Some(done.raw.sha256_text()));
        assert_eq!(image.raw_blake3, Some("01".repeat(32)));
        assert_eq!(image.container_md5, done.packed.md5_text());
        assert_eq!(
            read.image("debian-12.img.gz").unwrap().container_size,
            Some(2)
        );
    }

    #[test]
    fn nothing_is_said_of_a_form_that_was_not_made() {
        let done = Done {
            gzip: None,
            ..done()
        };
        let text = fuel_yaml("x", &[], &System::default(), None, &done).unwrap();
        let read = Metadata::parse(&text).unwrap();
        assert_eq!((read.images.len(), read.system), (1, None));
    }
}
