//! The YAML that Fuel publishes beside the image of the root filesystem: operating system, packages, sizes, digests.
//!
//! Reading is as lenient as upstream's agents: only the fields that they use are examined, all others may be missing or
//! malformed. Writing gives the fields of upstream's builder in its order, and `raw_sha256`, `raw_blake3` and
//! `container_sha256`, which only `provision` reads.

use serde::{Deserialize, Serialize};

/// The whole document. One covers all images of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The operating system inside.
    #[serde(rename = "os", skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// Requested packages; not read back.
    pub packages: Vec<String>,
    /// Package sources that were used; not read back.
    pub repos: Vec<Repository>,
    /// One entry per file.
    pub images: Vec<Image>,
}

/// An operating system and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct System {
    /// Name, like `Ubuntu`.
    pub name: String,
    /// First part of its version, like `14`.
    #[serde(serialize_with = "as_a_number")]
    pub major: String,
    /// Second part of its version, like `4`.
    #[serde(serialize_with = "as_a_number")]
    pub minor: String,
}

/// Upstream writes versions as numbers; other versions stay text.
fn as_a_number<S: serde::Serializer>(text: &String, serializer: S) -> Result<S::Ok, S::Error> {
    match text.parse::<u32>() {
        Ok(number) if number.to_string() == *text => serializer.serialize_u32(number),
        _ => serializer.serialize_str(text),
    }
}

/// A package source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// `deb` or `rpm`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Name of the repository, like `debian`.
    pub(crate) name: String,
    /// Its URL; must not contain a password.
    pub(crate) uri: String,
    /// The suite, for `deb`.
    pub(crate) suite: Option<String>,
    /// The components, for `deb`, separated by spaces.
    pub(crate) section: Option<String>,
    /// apt's pin priority.
    pub(crate) priority: Option<u32>,
}

/// An image in one container. Raw sizes and digests are those of the unpacked image, `container_` ones those of the
/// file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Name of the file: links an image's URL to its entry.
    pub container_name: String,
    /// `gzip`, `zstd` or `raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Length of the file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_size: Option<u64>,
    /// Hexadecimal md5 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_md5: Option<String>,
    /// Hexadecimal sha256 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_sha256: Option<String>,
    /// Filesystem type, like `ext4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Always null.
    pub raw_name: Option<String>,
    /// Length of the unpacked image in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_size: Option<u64>,
    /// Hexadecimal md5 of the unpacked image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_md5: Option<String>,
    /// Hexadecimal sha256 of the unpacked image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_sha256: Option<String>,
    /// Hexadecimal BLAKE3 of the unpacked image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_blake3: Option<String>,
}

/// The text is not such a document.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It is not valid YAML, or a value has the wrong type.
    #[error("not the metadata of an image: {0}")]
    Malformed(String),
}

/// The fields that are read; everything else is skipped.
#[derive(Deserialize)]
struct RawMetadata {
    #[serde(default)]
    os: Option<RawSystem>,
    #[serde(default)]
    images: Vec<RawImage>,
}

#[derive(Deserialize)]
struct RawSystem {
    name: String,
    major: String,
    minor: String,
}

#[derive(Deserialize)]
struct RawImage {
    container_name: String,
    #[serde(default)]
    container: Option<String>,
    #[serde(default)]
    container_size: Option<u64>,
    #[serde(default)]
    container_md5: Option<String>,
    #[serde(default)]
    container_sha256: Option<String>,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    raw_size: Option<u64>,
    #[serde(default)]
    raw_md5: Option<String>,
    #[serde(default)]
    raw_sha256: Option<String>,
    #[serde(default)]
    raw_blake3: Option<String>,
}

impl Metadata {
    /// Reads the document.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let raw: RawMetadata = serde_saphyr::from_str(text).map_err(|error| {
            // the parser quotes several lines of text around the error; one line is enough here
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            MetadataError::Malformed(line.trim().to_owned())
        })?;
        Ok(Self {
            system: raw.os.map(|os| System {
                name: os.name,
                major: os.major,
                minor: os.minor,
            }),
            images: raw.images.into_iter().map(Image::from).collect(),
            ..Self::default()
        })
    }

    /// Writes the document; `PyYAML` reads the same values back.
    pub fn render(&self) -> Result<String, MetadataError> {
        serde_saphyr::to_string(self).map_err(|error| MetadataError::Malformed(error.to_string()))
    }

    /// The entry of the file `name`; the first one if there are several.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images
            .iter()
            .find(|image| image.container_name == name)
    }
}

impl From<RawImage> for Image {
    fn from(raw: RawImage) -> Self {
        Self {
            container_name: raw.container_name,
            container: raw.container,
            container_size: raw.container_size,
            container_md5: raw.container_md5,
            container_sha256: raw.container_sha256,
            format: raw.format,
            raw_name: None,
            raw_size: raw.raw_size,
            raw_md5: raw.raw_md5,
            raw_sha256: raw.raw_sha256,
            raw_blake3: raw.raw_blake3,
        }
    }
}

/// Name of the document that belongs to the image with file name `name`: up to its *first* dot, then `.yaml`.
pub fn file_name(name: &str) -> String {
    let stem = name.split('.').next().unwrap_or_default();
    format!("{stem}.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: &str = "\
images:
- container: gzip
  container_md5: ac1bb33b5ef2e4c45b9c94de5ec1e8b5
  container_name: env_1_ubuntu_1404_amd64.img.gz
  container_size: 301
  format: ext4
  raw_md5: 12345678901234567890123456789012
  raw_name: null
  raw_size: 1048576
- container_name: boot.img.gz
  raw_md5: '1e345678901234567890123456789012'
  raw_sha256: 9e107d9d372bb6826bd81d3542a419d69e107d9d372bb6826bd81d3542a419d6
  surprise: [1, {a: b}]
os: {major: 14, minor: 4, name: Ubuntu}
packages: [acl, {not: text}]
repos: 7
";

    #[test]
    fn upstream_documents_are_read_and_unused_fields_may_be_malformed() {
        let metadata = Metadata::parse(UPSTREAM).unwrap();
        assert_eq!(metadata.system.as_ref().unwrap().name, "Ubuntu");
        assert_eq!(metadata.system.as_ref().unwrap().minor, "4");
        let root = metadata.image("env_1_ubuntu_1404_amd64.img.gz").unwrap();
        assert_eq!(root.raw_size, Some(1_048_576));
        // digits without quotes still read as text
        assert_eq!(
            root.raw_md5.as_deref(),
            Some("12345678901234567890123456789012")
        );
        let boot = metadata.image("boot.img.gz").unwrap();
        assert_eq!(
            boot.raw_md5.as_deref(),
            Some("1e345678901234567890123456789012")
        );
        assert!(boot.raw_sha256.is_some() && boot.raw_size.is_none());
        assert_eq!(metadata.image("boot.img"), None);
    }

    #[test]
    fn json_is_read_too() {
        let text =
            r#"{"images": [{"container_name": "a.img.gz", "raw_md5": "00", "raw_size": 1}]}"#;
        assert_eq!(
            Metadata::parse(text)
                .unwrap()
                .image("a.img.gz")
                .unwrap()
                .raw_size,
            Some(1)
        );
    }

    #[test]
    fn what_is_not_such_a_document_is_an_error() {
        for text in [
            "<html>not found</html>",
            "images: 7",
            "images: [{raw_size: 1}]",
            "images: [{container_name: x, raw_size: -1}]",
            "images: [{container_name: x, raw_size: [}",
            "os: {name: Ubuntu}",
            "\0",
            "a: &a [*a, *a]",
        ] {
            let got = Metadata::parse(text);
            assert!(got.is_err(), "{text}: {got:?}");
        }
        assert!(
            !Metadata::parse("images: 7")
                .unwrap_err()
                .to_string()
                .contains('\n')
        );
    }

    #[test]
    fn a_document_with_an_alias_bomb_is_an_error() {
        let deep = "[".repeat(500_000);
        let nested = format!("images: {}", "{a: ".repeat(100_000));
        let laughs = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            let before = n - 1;
            text + &format!("a{n}: &a{n} [*a{before}, *a{before}]\n")
        });
        for text in [deep, nested, laughs + "images: [*a39]\n"] {
            assert!(Metadata::parse(&text).is_err());
        }
    }

    #[test]
    fn an_empty_document_has_no_entries() {
        for text in ["{}", "images: []", "packages: [a]"] {
            assert_eq!(
                Metadata::parse(text).unwrap(),
                Metadata::default(),
                "{text}"
            );
        }
    }

    #[test]
    fn written_documents_keep_digests_text_for_every_yaml_reader() {
        let metadata = Metadata {
            system: Some(System {
                name: "Debian".to_owned(),
                major: "12".to_owned(),
                minor: "0".to_owned(),
            }),
            packages: vec!["lvm2".to_owned(), "yes".to_owned()],
            repos: vec![Repository {
                kind: "deb".to_owned(),
                name: "debian".to_owned(),
                uri: "http://mirror.example/debian".to_owned(),
                suite: Some("bookworm".to_owned()),
                section: Some("main".to_owned()),
                priority: None,
            }],
            images: vec![Image {
                container_name: "debian-12.img.gz".to_owned(),
                container: Some("gzip".to_owned()),
                container_size: Some(3),
                container_md5: Some("12345678901234567890123456789012".to_owned()),
                raw_md5: Some("1e345678901234567890123456789012".to_owned()),
                raw_size: Some(4),
                raw_sha256: Some("0".repeat(64)),
                format: Some("ext4".to_owned()),
                ..Image::default()
            }],
        };
        let text = metadata.render().unwrap();
        insta::assert_snapshot!(text, @r#"
        os:
          name: Debian
          major: 12
          minor: 0
        packages:
        - lvm2
        - "yes"
        repos:
        - type: deb
          name: debian
          uri: http://mirror.example/debian
          suite: bookworm
          section: main
          priority: null
        images:
        - container_name: debian-12.img.gz
          container: gzip
          container_size: 3
          container_md5: "12345678901234567890123456789012"
          format: ext4
          raw_name: null
          raw_size: 4
          raw_md5: "1e345678901234567890123456789012"
          raw_sha256: "0000000000000000000000000000000000000000000000000000000000000000"
        "#);
        let back = Metadata::parse(&text).unwrap();
        assert_eq!(back.images, metadata.images);
        assert_eq!(back.system, metadata.system);
    }

    #[test]
    fn the_document_is_named_after_the_image_up_to_the_first_dot() {
        for (image, yaml) in [
            (
                "env_1_ubuntu_1604_amd64.img.gz",
                "env_1_ubuntu_1604_amd64.yaml",
            ),
            ("ubuntu-14.04.img.gz", "ubuntu-14.yaml"),
            ("image", "image.yaml"),
            ("", ".yaml"),
        ] {
            assert_eq!(file_name(image), yaml);
        }
    }
}
