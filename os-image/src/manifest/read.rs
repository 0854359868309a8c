//! Reads a manifest as a stream: each entry goes into the binary index, nothing else is kept.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, BufReader, Read};

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::limited_reader::LimitedReader;
use super::raw::{Hex, Nullable, RawChunk, RawFilesystem, RawSystem, Words};
use super::{Filesystem, Image, Limits, Manifest, VERSION, check_sizes};
use crate::error::{InvalidManifest, ManifestError};
use crate::index::{Index, IndexBuilder};

/// The last key of the document.
const IMAGES: &str = "images";
/// The last key of an image.
const CHUNKS: &str = "chunks";

impl Manifest {
    /// Reads it as a stream, to the end. Memory is bounded by `limits` for any input, and every inconsistency is an
    /// error that names its place.
    ///
    /// The signature is not checked here: see [`crate::signature::read_signed`].
    pub fn read(reader: impl Read, limits: &Limits) -> Result<Self, ManifestError> {
        let walk = ManifestReader {
            limits,
            image: Cell::new(None),
            chunk: Cell::new(None),
            fault: RefCell::new(None),
            memory: Cell::new(limits.index),
        };
        let limited = BufReader::with_capacity(64 << 10, LimitedReader::new(reader, limits.text));
        let mut json = serde_json::Deserializer::from_reader(limited);
        let manifest = Top(&walk)
            .deserialize(&mut json)
            .and_then(|manifest| json.end().map(|()| manifest))
            .map_err(|error| walk.explain(error))?;
        manifest
            .check()
            .map_err(|(at, fault)| ManifestError::Wrong { at, fault })?;
        Ok(manifest)
    }
}

/// The current place, and the mistake found there.
struct ManifestReader<'l> {
    limits: &'l Limits,
    image: Cell<Option<usize>>,
    chunk: Cell<Option<usize>>,
    fault: RefCell<Option<InvalidManifest>>,
    /// Bytes of memory that further indexes may take.
    memory: Cell<usize>,
}

impl ManifestReader<'_> {
    /// Keeps `fault` for [`ManifestReader::explain`] and ends the parsing.
    fn fail<E: de::Error>(&self, fault: InvalidManifest) -> E {
        let error = E::custom(&fault);
        self.fault.replace(Some(fault));
        error
    }

    fn place(&self) -> String {
        match (self.image.get(), self.chunk.get()) {
            (Some(image), Some(chunk)) => format!("images[{image}].chunks[{chunk}]"),
            (Some(image), None) => format!("images[{image}]"),
            (None, _) => String::from("the top"),
        }
    }

    fn explain(&self, error: serde_json::Error) -> ManifestError {
        let at = self.place();
        if let Some(fault) = self.fault.take() {
            return ManifestError::Wrong { at, fault };
        }
        if !error.is_io() {
            let problem = error.to_string();
            return ManifestError::Malformed { at, problem };
        }
        match io::Error::from(error).downcast::<InvalidManifest>() {
            Ok(fault) => ManifestError::Wrong { at, fault },
            Err(error) => ManifestError::Io(error),
        }
    }

    /// Reads the value of a key that must not be repeated.
    fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
        &self,
        map: &mut A,
        key: &'static str,
        slot: &mut Option<T>,
    ) -> Result<(), A::Error> {
        if slot.is_some() {
            return Err(self.fail(InvalidManifest::Twice(key)));
        }
        *slot = Some(map.next_value()?);
        Ok(())
    }

    /// The value of a key that has to come before `last`.
    fn before<T, E: de::Error>(
        &self,
        slot: Option<T>,
        key: &'static str,
        last: &'static str,
    ) -> Result<T, E> {
        slot.ok_or_else(|| self.fail(InvalidManifest::Late { key, last }))
    }

    /// Fails if another key follows the last one.
    fn end<'de, A: MapAccess<'de>>(&self, map: &mut A, last: &'static str) -> Result<(), A::Error> {
        match map.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(self.fail(InvalidManifest::NotLast(last))),
        }
    }
}

/// Reads the object of a manifest.
struct Top<'w>(&'w ManifestReader<'w>);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Manifest;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Manifest, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Manifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
        let walk = self.0;
        let (mut version, mut release) = (None::<u64>, None::<u64>);
        let (mut name, mut architecture) = (None::<String>, None::<String>);
        let mut os = None::<RawSystem>;
        let (mut firmware, mut features) = (None::<Words>, None::<Words>);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => {
                    walk.once(&mut map, "version", &mut version)?;
                    if let Some(other) = version.filter(|version| *version != VERSION) {
                        return Err(walk.fail(InvalidManifest::Version(other)));
                    }
                }
                "name" => walk.once(&mut map, "name", &mut name)?,
                "release" => walk.once(&mut map, "release", &mut release)?,
                "os" => walk.once(&mut map, "os", &mut os)?,
                "architecture" => walk.once(&mut map, "architecture", &mut architecture)?,
                "firmware" => walk.once(&mut map, "firmware", &mut firmware)?,
                "features" => walk.once(&mut map, "features", &mut features)?,
                IMAGES => {
                    walk.before(version, "version", IMAGES)?;
                    let manifest = Manifest {
                        name: walk.before(name, "name", IMAGES)?,
                        release: walk.before(release, "release", IMAGES)?,
                        os: walk.before(os, "os", IMAGES)?.into(),
                        architecture: walk.before(architecture, "architecture", IMAGES)?,
                        firmware: walk.before(firmware, "firmware", IMAGES)?.0,
                        features: walk.before(features, "features", IMAGES)?.0,
                        images: map.next_value_seed(Images(walk))?,
                    };
                    walk.image.set(None);
                    walk.end(&mut map, IMAGES)?;
                    return Ok(manifest);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Err(walk.fail(InvalidManifest::Missing(IMAGES)))
    }
}

/// The list of images.
struct Images<'w>(&'w ManifestReader<'w>);

impl<'de> DeserializeSeed<'de> for Images<'_> {
    type Value = Vec<Image>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Image>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Images<'_> {
    type Value = Vec<Image>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of images")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Image>, A::Error> {
        let (walk, limit) = (self.0, self.0.limits.images);
        let mut images = Vec::new();
        walk.image.set(Some(0));
        while let Some(image) = seq.next_element_seed(OneImage(walk))? {
            if images.len() >= limit {
                return Err(walk.fail(InvalidManifest::TooMany { limit }));
            }
            images.push(image);
            walk.image.set(Some(images.len()));
        }
        Ok(images)
    }
}

/// One image.
struct OneImage<'w>(&'w ManifestReader<'w>);

impl<'de> DeserializeSeed<'de> for OneImage<'_> {
    type Value = Image;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Image, D::Error> {
        json.deserialize_map(self)
    }
}

/// The keys of an image before its chunks.
#[derive(Default)]
struct Head {
    file: Option<String>,
    mount: Option<Nullable<String>>,
    whole_disk: Option<bool>,
    filesystem: Option<Nullable<RawFilesystem>>,
    sector_size: Option<u32>,
    raw_size: Option<u64>,
    packed_size: Option<u64>,
    raw_sha256: Option<Hex<32>>,
    packed_sha256: Option<Hex<32>>,
    raw_md5: Option<Nullable<Hex<16>>>,
    chunk_size: Option<u32>,
}

impl Head {
    /// Reads the value of `key`; `false` if images have no such key.
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        walk: &ManifestReader<'_>,
        key: &str,
        map: &mut A,
    ) -> Result<bool, A::Error> {
        match key {
            "file" => walk.once(map, "file", &mut self.file)?,
            "mount" => walk.once(map, "mount", &mut self.mount)?,
            "whole_disk" => walk.once(map, "whole_disk", &mut self.whole_disk)?,
            "filesystem" => walk.once(map, "filesystem", &mut self.filesystem)?,
            "sector_size" => walk.once(map, "sector_size", &mut self.sector_size)?,
            "raw_size" => walk.once(map, "raw_size", &mut self.raw_size)?,
            "packed_size" => walk.once(map, "packed_size", &mut self.packed_size)?,
            "raw_sha256" => walk.once(map, "raw_sha256", &mut self.raw_sha256)?,
            "packed_sha256" => walk.once(map, "packed_sha256", &mut self.packed_sha256)?,
            "raw_md5" => walk.once(map, "raw_md5", &mut self.raw_md5)?,
            "chunk_size" => walk.once(map, "chunk_size", &mut self.chunk_size)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads the chunks, which are the next value of `map`, and returns the image.
    fn finish<'de, A: MapAccess<'de>>(
        self,
        walk: &ManifestReader<'_>,
        map: &mut A,
    ) -> Result<Image, A::Error> {
        let raw_size = walk.before(self.raw_size, "raw_size", CHUNKS)?;
        let packed_size = walk.before(self.packed_size, "packed_size", CHUNKS)?;
        let sector_size = walk.before(self.sector_size, "sector_size", CHUNKS)?;
        let chunk_size = walk.before(self.chunk_size, "chunk_size", CHUNKS)?;
        let file = walk.before(self.file, "file", CHUNKS)?;
        let mount = walk.before(self.mount, "mount", CHUNKS)?.0;
        let whole_disk = walk.before(self.whole_disk, "whole_disk", CHUNKS)?;
        let raw_sha256 = walk.before(self.raw_sha256, "raw_sha256", CHUNKS)?.0;
        let packed_sha256 = walk.before(self.packed_sha256, "packed_sha256", CHUNKS)?.0;
        let memory = walk.memory.get();
        let builder = check_sizes(raw_size, sector_size)
            .and_then(|()| IndexBuilder::new(raw_size, chunk_size, memory))
            .map_err(|fault| walk.fail(fault))?;
        walk.memory.set(memory.saturating_sub(builder.memory()));
        let chunks = Chunks {
            walk,
            builder,
            packed_size,
        };
        Ok(Image {
            file,
            mount,
            whole_disk,
            filesystem: self.filesystem.and_then(|it| it.0).map(Filesystem::from),
            sector_size,
            raw_size,
            packed_size,
            raw_sha256,
            packed_sha256,
            raw_md5: self.raw_md5.and_then(|it| it.0).map(|md5| md5.0),
            index: map.next_value_seed(chunks)?,
        })
    }
}

impl<'de> Visitor<'de> for OneImage<'_> {
    type Value = Image;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of an image")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Image, A::Error> {
        let walk = self.0;
        let mut head = Head::default();
        while let Some(key) = map.next_key::<String>()? {
            if key != CHUNKS {
                if !head.take(walk, &key, &mut map)? {
                    map.next_value::<IgnoredAny>()?;
                }
                continue;
            }
            let image = head.finish(walk, &mut map)?;
            walk.end(&mut map, CHUNKS)?;
            return Ok(image);
        }
        Err(walk.fail(InvalidManifest::Missing(CHUNKS)))
    }
}

/// The list of chunks.
struct Chunks<'w> {
    walk: &'w ManifestReader<'w>,
    builder: IndexBuilder,
    packed_size: u64,
}

impl<'de> DeserializeSeed<'de> for Chunks<'_> {
    type Value = Index;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Index, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Chunks<'_> {
    type Value = Index;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of chunks")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Index, A::Error> {
        let walk = self.walk;
        let mut number = 0_usize;
        walk.chunk.set(Some(number));
        while let Some(chunk) = seq.next_element::<RawChunk>()? {
            self.builder
                .push(&chunk.into())
                .map_err(|fault| walk.fail(fault))?;
            number = number.saturating_add(1);
            walk.chunk.set(Some(number));
        }
        walk.chunk.set(None);
        self.builder
            .finish(self.packed_size)
            .map_err(|fault| walk.fail(fault))
    }
}
