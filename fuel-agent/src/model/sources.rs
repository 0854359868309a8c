//! What is known of the images: looked up read-only, read from a file, or unknown (`--offline`).

use std::collections::BTreeMap;

use host::units::Bytes;
use serde::{Deserialize, Serialize};

use super::digest::{Algorithm, Contradiction, DocumentedDigests, Origin, StatedDigest};
use super::operating_system::OperatingSystem;
use super::request::Container;
use super::url::RedactedUrl;

/// What is known of the images of a request, by URL.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Sources {
    /// Facts by image URL; a URL that is missing here is unknown.
    #[serde(default)]
    pub images: BTreeMap<RedactedUrl, SourceFacts>,
}

/// What is known of one image. `None` is unknown and prints as that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFacts {
    /// Size of what is transferred.
    pub size_bytes: Option<Bytes>,
    /// Size of what is written.
    pub raw_size_bytes: Option<Bytes>,
    /// Hexadecimal md5 of what is written (Fuel's YAML).
    pub raw_md5: Option<String>,
    /// Hexadecimal sha256 of what is written.
    pub raw_sha256: Option<String>,
    /// Hexadecimal BLAKE3 of what is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_blake3: Option<String>,
    /// Digests that have to be computed over what is written. The digest of the whole in the manifest of a packed image
    /// is only above: it is a claim, and what is checked of that manifest are its chunks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<StatedDigest>,
    /// Id of the trusted key that signed the metadata from which the digests in `stated` are. Of a packed image see
    /// [`PackedFacts::signed_by`].
    #[serde(skip)]
    pub signed_by: Option<String>,
    /// Container by its first bytes.
    pub container: Option<Container>,
    /// What is in it, by its first bytes out of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ImageContent>,
    /// Whether the server answers ranges.
    pub ranges: Option<bool>,
    /// A strong entity tag.
    pub etag: Option<String>,
    /// Operating system by Fuel's YAML.
    pub system: Option<OperatingSystem>,
    /// Contents of its manifest, where it is a packed image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed: Option<PackedFacts>,
    /// Why no digest is known, where that is so.
    pub no_digest: Option<String>,
    /// What went wrong while looking, where that is not fatal for planning (`run` refuses).
    pub problem: Option<String>,
    /// What to do about that, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_hint: Option<String>,
}

/// What an image holds, by its first bytes out of its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ImageContent {
    /// Another file: compressed once more, or a disk image of a virtual machine.
    File {
        /// Usual name of the format, such as `qcow2`.
        format: String,
    },
    /// A tar archive, by its first header.
    Archive,
    /// A disk with its partition table.
    Disk {
        /// `gpt` or `dos`.
        table: String,
        /// Bytes in the sectors that its table counts.
        sector_size_bytes: Bytes,
        /// Whether a BIOS finds boot code in it.
        bios: bool,
        /// Whether UEFI firmware finds a system partition in it.
        uefi: bool,
        /// Size of the disk that its partition table was made for, if the table has it.
        size_bytes: Option<Bytes>,
    },
    /// One filesystem, or a member of something.
    Filesystem {
        /// Its type, as blkid names it.
        filesystem: String,
        /// Bytes in the largest sectors of a disk from which it can be mounted.
        sector_size_max_bytes: Bytes,
        /// Length that the filesystem states in its superblock, if it is read.
        size_bytes: Option<Bytes>,
    },
    /// Nothing that is known.
    Unknown,
}

impl ImageContent {
    /// Length that the image states itself, if it is read.
    pub const fn size(&self) -> Option<Bytes> {
        match self {
            Self::Disk { size_bytes, .. } | Self::Filesystem { size_bytes, .. } => *size_bytes,
            Self::File { .. } | Self::Archive | Self::Unknown => None,
        }
    }
}

/// The manifest of a packed image, without its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PackedFacts {
    /// File name of the manifest, in the folder of the image.
    pub manifest: String,
    /// Address at which it was found, without secrets; empty where the facts are from a file.
    #[serde(skip)]
    pub found_at: String,
    /// Lower-case hexadecimal sha256 of the manifest: what is written has to have the same.
    pub manifest_sha256: String,
    /// The key that signed the manifest; `None` where no key is trusted.
    pub signed_by: Option<String>,
    /// Name of the image.
    pub name: String,
    /// Its release: grows with every one of this name.
    pub release: u64,
    /// What it runs on, like `x86_64`.
    pub architecture: String,
    /// Firmware that it can boot from: `bios`, `uefi`.
    pub firmware: Vec<String>,
    /// What the system in it can do, in words like `lvm`.
    pub features: Vec<String>,
    /// Type of the filesystem in it.
    pub filesystem: Option<String>,
    /// UUID of the filesystem in it, as blkid writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem_uuid: Option<String>,
    /// Whether it is a disk with its partition table rather than one filesystem.
    pub whole_disk: bool,
    /// Bytes in a sector of the disks that it was made for.
    pub sector_size_bytes: Bytes,
    /// Size of a chunk.
    pub chunk_size_bytes: Bytes,
    /// Number of chunks.
    pub chunks: usize,
    /// What a full write fetches: all chunks that are not zero.
    pub fetch_bytes: Bytes,
    /// What a full write writes: the same unpacked.
    pub data_bytes: Bytes,
}

impl Sources {
    /// Every digest in it without a source is stated by `document`, and computed: a file does not record whether a
    /// manifest stated it first. The requester gives the
    /// file, and so states all of its digests.
    #[must_use]
    pub fn stated_by(mut self, document: &str) -> Self {
        for facts in self.images.values_mut() {
            if facts.stated.is_empty() {
                facts.stated = facts.stated_by(document).into_iter().collect();
            }
            for stated in &mut facts.stated {
                stated.origin = Origin::Requester;
            }
        }
        self
    }
}

impl SourceFacts {
    /// Notes what went wrong, and what to do about it, unless something has gone wrong already.
    pub fn complain(&mut self, why: String, hint: Option<String>) {
        if self.problem.is_none() {
            (self.problem, self.problem_hint) = (Some(why), hint);
        }
    }

    /// What to do about `problem`; empty without one.
    pub fn problem_hint(&self) -> &str {
        let general =
            "check that the image is where the request says, and reachable from this node";
        self.problem_hint.as_deref().unwrap_or(general)
    }

    /// The least length of the unpacked image: from its metadata, or else from the image itself.
    pub fn least_size(&self) -> Option<Bytes> {
        let own = || self.content.as_ref().and_then(ImageContent::size);
        self.raw_size_bytes.or_else(own)
    }

    /// Length that the filesystem in it states, where that is more than there is.
    pub fn cut_off(&self) -> Option<(Bytes, Bytes)> {
        let size = self.raw_size_bytes?;
        match &self.content {
            Some(ImageContent::Filesystem {
                size_bytes: Some(says),
                ..
            }) if *says > size => Some((size, *says)),
            _ => None,
        }
    }

    /// Whether the image was not looked up: at most its digests are known.
    pub fn is_unknown(&self) -> bool {
        let rest = Self {
            raw_sha256: None,
            raw_blake3: None,
            raw_md5: None,
            stated: Vec::new(),
            ..self.clone()
        };
        rest == Self::default()
    }

    /// Whether a digest of the written bytes is known.
    pub const fn has_digest(&self) -> bool {
        self.raw_md5.is_some()
            || self.raw_sha256.is_some()
            || self.raw_blake3.is_some()
            || !self.stated.is_empty()
    }

    /// The digests of what is written that are known.
    pub fn digests(&self) -> DocumentedDigests {
        DocumentedDigests {
            sha256: self.raw_sha256.clone(),
            blake3: self.raw_blake3.clone(),
            md5: self.raw_md5.clone(),
        }
    }

    /// The known digest of what is written by `algorithm`.
    pub const fn digest_mut(&mut self, algorithm: Algorithm) -> &mut Option<String> {
        match algorithm {
            Algorithm::Sha256 => &mut self.raw_sha256,
            Algorithm::Blake3 => &mut self.raw_blake3,
            Algorithm::Md5 => &mut self.raw_md5,
        }
    }

    /// The digest that has to be computed where `document` is what states those of the whole.
    pub fn stated_by(&self, document: &str) -> Option<StatedDigest> {
        self.digests().stated_by(document, self.packed.is_some())
    }

    /// Adds the digests that the requester states in `given_by`, such as `the request`. Each is compared with what the
    /// server states of the image, and the cheapest strong one is computed besides: a server that repeats it proves
    /// nothing.
    pub fn require(
        &mut self,
        digests: &DocumentedDigests,
        given_by: &str,
    ) -> Result<(), Contradiction> {
        for (algorithm, given) in digests.iter() {
            let by_server =
                |it: &&StatedDigest| (it.algorithm, it.origin) == (algorithm, Origin::Server);
            let stated = self.stated.iter().find(by_server);
            let known = match stated {
                Some(stated) => Some((stated.digest.clone(), stated.stated_by.clone())),
                None => (self.digest_mut(algorithm).clone())
                    .map(|known| (known.to_lowercase(), self.describing_document())),
            };
            match known {
                Some((known, known_by)) if known != given => {
                    return Err(Contradiction {
                        algorithm,
                        known,
                        known_by,
                        given: given.to_owned(),
                        given_by: given_by.to_owned(),
                    });
                }
                _ => *self.digest_mut(algorithm) = Some(given.to_owned()),
            }
        }
        if let Some(stated) = digests.stated_by(given_by, self.packed.is_some()) {
            self.stated.retain(|other| !other.is_same(&stated));
            self.stated.push(stated.requested());
        }
        Ok(())
    }

    /// The document that states the digests of the whole, for a message.
    fn describing_document(&self) -> String {
        match (&self.packed, self.stated.first()) {
            (Some(_), _) => "its manifest".to_owned(),
            (None, Some(stated)) => stated.stated_by.clone(),
            (None, None) => "its metadata".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(sha256: Option<&str>, blake3: Option<&str>, md5: Option<&str>) -> DocumentedDigests {
        let long = |digit: &str| digit.repeat(64);
        DocumentedDigests {
            sha256: sha256.map(long),
            blake3: blake3.map(long),
            md5: md5.map(|digit| digit.repeat(32)),
        }
    }

    fn algorithms(facts: &SourceFacts) -> Vec<(Algorithm, Origin)> {
        let stated = facts.stated.iter();
        stated.map(|it| (it.algorithm, it.origin)).collect()
    }

    #[test]
    fn a_digest_that_the_server_repeats_is_the_requesters_and_computed() {
        let mut facts = SourceFacts {
            raw_md5: Some("0".repeat(32)),
            ..SourceFacts::default()
        };
        facts.stated = facts.stated_by("http://h/x.yaml").into_iter().collect();
        let given = digests(Some("1"), None, Some("0"));
        facts.require(&given, "the request").unwrap();
        assert_eq!(
            algorithms(&facts),
            [
                (Algorithm::Md5, Origin::Server),
                (Algorithm::Sha256, Origin::Requester)
            ]
        );
        let given = digests(None, None, Some("0"));
        facts.require(&given, "--digest").unwrap();
        assert_eq!(
            algorithms(&facts),
            [
                (Algorithm::Sha256, Origin::Requester),
                (Algorithm::Md5, Origin::Requester)
            ]
        );
    }

    #[test]
    fn any_digest_that_the_server_contradicts_is_an_error_that_names_both() {
        let mut facts = SourceFacts {
            raw_sha256: Some("a".repeat(64)),
            raw_md5: Some("0".repeat(32)),
            ..SourceFacts::default()
        };
        facts.stated = facts.stated_by("http://h/x.yaml").into_iter().collect();
        for given in [
            digests(Some("1"), None, None),
            digests(Some("a"), None, Some("1")),
            digests(None, Some("1"), Some("1")),
        ] {
            let error = facts.clone().require(&given, "the request").unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("http://h/x.yaml says "), "{text}");
            assert!(text.contains(", the request says 11111"), "{text}");
        }
        facts.packed = Some(PackedFacts::default());
        facts.stated.clear();
        let given = digests(Some("1"), None, None);
        let error = facts.require(&given, "--digest").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("its manifest says sha256 aaaa"), "{text}");
    }

    #[test]
    fn of_a_packed_image_blake3_is_computed_where_the_requester_states_it() {
        let mut facts = SourceFacts {
            packed: Some(PackedFacts::default()),
            ..SourceFacts::default()
        };
        let given = digests(Some("1"), Some("2"), Some("3"));
        facts.require(&given, "the request").unwrap();
        assert_eq!(algorithms(&facts), [(Algorithm::Blake3, Origin::Requester)]);
    }

    #[test]
    fn what_a_file_of_sources_states_is_the_requesters() {
        let facts = SourceFacts {
            raw_md5: Some("0".repeat(32)),
            ..SourceFacts::default()
        };
        let sources = Sources {
            images: [("http://h/x".into(), facts)].into(),
        };
        let sources = sources.stated_by("/tmp/sources.json");
        let facts = &sources.images["http://h/x"];
        assert_eq!(algorithms(facts), [(Algorithm::Md5, Origin::Requester)]);
    }
}
