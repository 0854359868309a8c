//! Whether what the disks of this node hold is what is asked for: the request, and the images as their servers have
//! them now.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::cancel::Cancel;
use serde_json::{Value, json};

use super::context::Places;
use crate::apply::stamp::{self, Stamp};
use crate::cli::{StatusOptions, UPLOADED};
use crate::http;
use crate::inventory::{self, Reader};
use crate::model::error::Error;
use crate::model::plan::STAMP;
use crate::model::request::ImageSpec;
use crate::model::sources::{SourceFacts, Sources};
use crate::request::{self, Context};
use crate::source;

/// How long servers may go on failing: an orchestrator that asks for the state needs an answer soon.
const LOOKUP_BUDGET: Duration = Duration::from_secs(5);

/// What an image of the request is, compared with the one that was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// Its source names the digest of what was installed.
    Same,
    /// Its source names another one: there is a newer release, for example.
    Other,
    /// It was not compared, for this reason.
    Unknown(String),
}

/// What was found on the disks, compared with the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Whether a stamp is there, of the request where one is known.
    pub(super) stamped: bool,
    /// Digest of the request that was compared; `None` where any installation counts.
    pub(super) request: Option<String>,
    /// Each image of the request, by its address as it can be shown.
    pub(super) images: Vec<(String, Image)>,
}

impl Comparison {
    /// Why the node has to be installed again, where it has to.
    pub(super) fn difference(&self) -> Option<String> {
        if !self.stamped {
            return Some("no stamp of such an installation is on its disks".to_owned());
        }
        let (url, _) = self
            .images
            .iter()
            .find(|(_, image)| *image == Image::Other)?;
        Some(format!(
            "{url} is another image now than the one that was installed"
        ))
    }

    /// Lines for people: what was compared and what was not.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.request {
            Some(digest) => format!("request  {digest}"),
            None => "request  none is known, so any installation counts".to_owned(),
        }];
        lines.extend(self.images.iter().map(|(url, image)| match image {
            Image::Same => format!("image    {url}: as installed"),
            Image::Other => format!("image    {url}: another one than was installed"),
            Image::Unknown(why) => format!("image    {url}: not compared, {why}"),
        }));
        lines
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Value {
        let image = |(url, image): &(String, Image)| {
            let (state, why) = match image {
                Image::Same => ("same", None),
                Image::Other => ("other", None),
                Image::Unknown(why) => ("unknown", Some(why)),
            };
            json!({"url": url, "state": state, "why": why})
        };
        let images: Vec<Value> = self.images.iter().map(image).collect();
        json!({"request_digest": self.request, "images": images})
    }
}

/// The request that the node should be installed by.
#[derive(Default)]
struct Requested {
    digest: Option<String>,
    images: Vec<ImageSpec>,
}

/// Reads the disks, and asks the servers of the images. `digest` is that of the last run's request. A request that
/// cannot be read is one that nothing was installed by.
pub(super) fn compare(
    options: &StatusOptions,
    places: &Places,
    digest: Option<&str>,
) -> Comparison {
    let Some(requested) = requested(options, digest) else {
        return Comparison::default();
    };
    let Some(stamp) = stamp_of(requested.digest.as_deref()) else {
        return Comparison {
            request: requested.digest,
            ..Comparison::default()
        };
    };
    let sources = if requested.images.is_empty() {
        Ok(Sources::default())
    } else {
        look(options, places, &requested.images)
    };
    Comparison {
        stamped: true,
        request: requested.digest,
        images: images(&stamp, &requested.images, &sources),
    }
}

fn requested(options: &StatusOptions, digest: Option<&str>) -> Option<Requested> {
    let file = options.input_data_file.clone().or_else(|| {
        let uploaded = PathBuf::from(UPLOADED);
        uploaded.exists().then_some(uploaded)
    });
    let Some(file) = file else {
        return Some(Requested {
            digest: digest.map(str::to_owned),
            images: Vec::new(),
        });
    };
    let bytes = fs::read(file).ok()?;
    let value = request::parse(request::utf8(&bytes).ok()?).ok()?;
    let checked = request::check(&value, Context::default());
    Some(Requested {
        digest: Some(request::digest(&value)),
        images: checked.map_or_else(|_| Vec::new(), |request| request.images),
    })
}

/// The stamp of that request on a disk of this node, or any stamp where none is known.
fn stamp_of(digest: Option<&str>) -> Option<Stamp> {
    let mut reader = Reader::real(&Cancel::new());
    let inventory = inventory::probe(&mut reader).ok()?;
    inventory.disks.iter().find_map(|disk| {
        let stamp = stamp_on(&reader, Path::new(&disk.path))?;
        digest
            .is_none_or(|digest| digest == stamp.request_digest)
            .then_some(stamp)
    })
}

fn stamp_on(reader: &Reader, disk: &Path) -> Option<Stamp> {
    let mut bytes = vec![0; usize::try_from(STAMP.length.0).ok()?];
    reader.read_at(disk, &mut bytes, STAMP.start).ok()?;
    stamp::parse(&bytes)
}

/// Facts from the sources now, or why they were not asked.
fn look(options: &StatusOptions, places: &Places, images: &[ImageSpec]) -> Result<Sources, String> {
    if options.offline {
        return Err("as `--offline` says".to_owned());
    }
    let ask = || -> Result<Sources, Error> {
        let (mut settings, _) = places.settings(Vec::new())?;
        let budget = &mut settings.http.retry_budget;
        *budget = (*budget).min(LOOKUP_BUDGET);
        let cancel = Cancel::new();
        super::install::on_signals(&cancel)?;
        let client = http::Client::new(&settings.http, cancel)?;
        let probe_options = source::ProbeOptions {
            keys: &settings.packed.keys,
            mirrors: &settings.packed.mirrors,
        };
        Ok(source::probe_images(&client, images, probe_options)?)
    };
    ask().map_err(|error| error.what)
}

fn images(
    stamp: &Stamp,
    requested: &[ImageSpec],
    sources: &Result<Sources, String>,
) -> Vec<(String, Image)> {
    let nothing = SourceFacts::default();
    let compared = requested.iter().map(|image| {
        let state = match sources {
            Err(why) => Image::Unknown(why.clone()),
            Ok(sources) => {
                let facts = sources.images.get(&image.url).unwrap_or(&nothing);
                match stamp.holds(&image.url, facts) {
                    Some(true) => Image::Same,
                    Some(false) => Image::Other,
                    None => Image::Unknown(
                        facts
                            .problem
                            .clone()
                            .unwrap_or_else(|| "its source names no digest".to_owned()),
                    ),
                }
            }
        };
        (image.url.to_string(), state)
    });
    compared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::stamp::StampedImage;
    use crate::testing::sample_request::{URL, lvm_request};

    fn stamp() -> Stamp {
        Stamp {
            images: vec![StampedImage {
                url: crate::model::url::redacted(URL),
                sha256: "ab".repeat(32),
                md5: None,
                blake3: None,
            }],
            ..Stamp::default()
        }
    }

    fn compared(facts: SourceFacts) -> Comparison {
        let sources = Sources {
            images: [(URL.into(), facts)].into(),
        };
        Comparison {
            stamped: true,
            request: Some("00ff".to_owned()),
            images: images(&stamp(), &lvm_request().images, &Ok(sources)),
        }
    }

    #[test]
    fn a_node_whose_image_has_a_newer_release_is_not_as_asked() {
        let with = |sha256: &str| {
            compared(SourceFacts {
                raw_sha256: Some(sha256.repeat(32)),
                ..SourceFacts::default()
            })
        };
        let (same, other) = (with("ab"), with("cd"));
        assert_eq!(same.difference(), None);
        insta::assert_snapshot!(other.difference().unwrap(), @"http://10.20.0.2:8080/targetimages/ubuntu.img.gz is another image now than the one that was installed");
        insta::assert_snapshot!(same.lines().join("\n"), @r"
        request  00ff
        image    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: as installed
        ");
        assert_eq!(other.json()["images"][0]["state"], "other");
        let bare = Comparison::default();
        insta::assert_snapshot!(bare.difference().unwrap(), @"no stamp of such an installation is on its disks");
    }

    #[test]
    fn an_image_that_cannot_be_looked_up_is_said_not_to_be_compared() {
        let down = compared(SourceFacts {
            problem: Some("connection refused".to_owned()),
            ..SourceFacts::default()
        });
        assert_eq!(down.difference(), None);
        insta::assert_snapshot!(down.lines().join("\n"), @r"
        request  00ff
        image    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: not compared, connection refused
        ");
        let nameless = compared(SourceFacts::default());
        assert_eq!(
            nameless.images[0].1,
            Image::Unknown("its source names no digest".to_owned())
        );
        let offline = images(
            &stamp(),
            &lvm_request().images,
            &Err("as `--offline` says".to_owned()),
        );
        assert_eq!(
            offline[0].1,
            Image::Unknown("as `--offline` says".to_owned())
        );
    }
}
