//! Whether what the disks of this node hold is what is asked for: the request, and the images as their servers have
//! them now.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::cancel::Cancel;
use serde_json::{Value, json};

use super::context::{Places, local_files};
use crate::apply::stamp::{self, Stamp, StampedImage};
use crate::cli::{StatusOptions, UPLOADED};
use crate::http;
use crate::inventory::{self, Reader};
use crate::model::digest::DocumentedDigests;
use crate::model::error::Error;
use crate::model::plan::STAMP;
use crate::model::request::{ImageSpec, STATED_BY_REQUEST};
use crate::model::sources::{SourceFacts, Sources};
use crate::model::trust::Trust;
use crate::request::{self, Context};
use crate::sequence::request_source::Input;
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
    /// The stamp on the disks: that of the request, else any.
    pub(super) stamp: Option<Stamp>,
    /// Digest of the request that was compared; `None` where any installation counts.
    pub(super) request: Option<String>,
    /// Generation of the request, where it has one.
    pub(super) generation: Option<String>,
    /// Each image of the request, by its address as it can be shown.
    pub(super) images: Vec<(String, Image)>,
}

impl Comparison {
    /// Why the node has to be installed again, where it has to.
    pub(super) fn difference(&self) -> Option<String> {
        let Some(stamp) = &self.stamp else {
            return Some("no stamp of an installation is on its disks".to_owned());
        };
        if self
            .request
            .as_ref()
            .is_some_and(|digest| *digest != stamp.request_digest)
        {
            let of = |generation: &Option<String>| generation.clone().unwrap_or("none".to_owned());
            let (found, asked) = (of(&stamp.generation), of(&self.generation));
            let other = "its disks hold the installation of another request";
            return Some(if found == asked {
                other.to_owned()
            } else {
                format!("{other} (generation {found}, not {asked})")
            });
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
        if let Some(stamp) = &self.stamp {
            let generation = stamp.generation.as_ref();
            let generation = generation.map_or_else(String::new, |it| format!(", generation {it}"));
            lines.push(format!(
                "stamp    instance {}{generation}",
                stamp.instance_id
            ));
            let digests = stamp.images.iter().flat_map(digests);
            lines.extend(digests.map(|line| format!("stamp    {line}")));
        }
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
        json!({
            "request_digest": self.request,
            "generation": self.generation,
            "images": images,
            "stamp": self.stamp,
        })
    }
}

/// What a stamp says of an image, a line for each digest and one for what it was trusted by.
fn digests(image: &StampedImage) -> impl Iterator<Item = String> {
    let all = [
        ("sha256", Some(&image.sha256)),
        ("blake3", image.blake3.as_ref()),
        ("md5", image.md5.as_ref()),
    ];
    let digests = all.into_iter().filter_map(|(algorithm, digest)| {
        let digest = digest.filter(|digest| !digest.is_empty())?;
        Some(format!("{}: {algorithm} {digest}", image.url))
    });
    let trust = image.trust.map(Trust::name);
    digests.chain(trust.map(|trust| format!("{}: trusted by: {trust}", image.url)))
}

/// The request that the node should be installed by.
#[derive(Default)]
struct Requested {
    digest: Option<String>,
    generation: Option<String>,
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
    let stamp = stamp_of(requested.digest.as_deref());
    let of_request = stamp
        .as_ref()
        .filter(|stamp| (requested.digest.as_ref()).is_none_or(|it| *it == stamp.request_digest));
    let Some(found) = of_request else {
        return Comparison {
            stamp,
            request: requested.digest,
            generation: requested.generation,
            images: Vec::new(),
        };
    };
    let sources = if requested.images.is_empty() {
        Ok(Sources::default())
    } else {
        look(options, places, &requested.images)
    };
    let images = images(found, &requested.images, &sources);
    Comparison {
        stamp,
        request: requested.digest,
        generation: requested.generation,
        images,
    }
}

/// The file that the request is in, where there is one.
fn request_file(options: &StatusOptions) -> Option<PathBuf> {
    options.input_data_file.clone().or_else(|| {
        let uploaded = PathBuf::from(UPLOADED);
        uploaded.exists().then_some(uploaded)
    })
}

fn requested(options: &StatusOptions, digest: Option<&str>) -> Option<Requested> {
    let Some(file) = request_file(options) else {
        return Some(Requested {
            digest: digest.map(str::to_owned),
            ..Requested::default()
        });
    };
    let bytes = fs::read(file).ok()?;
    let value = request::parse(request::utf8(&bytes).ok()?).ok()?;
    let checked = request::check(&value, Context::default());
    let (generation, images) = checked
        .map(|request| (request.generation, request.images))
        .unwrap_or_default();
    Some(Requested {
        digest: Some(request::digest(&value)),
        generation,
        images,
    })
}

/// The stamp of that request on a disk of this node, else the first stamp.
fn stamp_of(digest: Option<&str>) -> Option<Stamp> {
    let mut reader = Reader::real(&Cancel::new());
    let inventory = inventory::probe(&mut reader).ok()?;
    let paths = inventory.disks.iter().map(|disk| Path::new(&disk.path));
    let mut stamps: Vec<Stamp> = paths.filter_map(|path| stamp_on(&reader, path)).collect();
    let asked = stamps
        .iter()
        .position(|stamp| digest == Some(&stamp.request_digest));
    (!stamps.is_empty()).then(|| stamps.swap_remove(asked.unwrap_or(0)))
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
        if let Some(file) = request_file(options) {
            settings.http.files = local_files(&Input::File(file), &settings);
        }
        let budget = &mut settings.http.retry_budget;
        *budget = (*budget).min(LOOKUP_BUDGET);
        let cancel = Cancel::new();
        super::install::on_signals(&cancel)?;
        let client = http::Client::new(&settings.http, cancel)?;
        let probe_options = source::ProbeOptions {
            signers: settings.packed.signers(),
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
        let state = match (sources, &image.digests) {
            (_, requested) if *requested != DocumentedDigests::default() => {
                // the request decides, whatever its server has by now
                let mut facts = SourceFacts::default();
                match facts.require(requested, STATED_BY_REQUEST) {
                    Ok(()) => state(stamp, image, &facts),
                    Err(contradiction) => Image::Unknown(contradiction.to_string()),
                }
            }
            (Err(why), _) => Image::Unknown(why.clone()),
            (Ok(sources), _) => state(
                stamp,
                image,
                sources.images.get(&image.url).unwrap_or(&nothing),
            ),
        };
        (image.url.to_string(), state)
    });
    compared.collect()
}

/// The image of the request, compared with the one that was installed.
fn state(stamp: &Stamp, image: &ImageSpec, facts: &SourceFacts) -> Image {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_request::{URL, lvm_request};

    fn stamp() -> Stamp {
        Stamp {
            request_digest: "00ff".to_owned(),
            instance_id: "i-7".to_owned(),
            generation: Some("7".to_owned()),
            images: vec![StampedImage {
                url: crate::model::url::redacted(URL),
                sha256: "ab".repeat(32),
                md5: None,
                blake3: None,
                trust: Some(Trust::Signature),
            }],
            ..Stamp::default()
        }
    }

    fn compared(facts: SourceFacts) -> Comparison {
        let sources = Sources {
            images: [(URL.into(), facts)].into(),
        };
        Comparison {
            stamp: Some(stamp()),
            request: Some("00ff".to_owned()),
            generation: Some("7".to_owned()),
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
        stamp    instance i-7, generation 7
        stamp    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: sha256 abababababababababababababababababababababababababababababababab
        stamp    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: trusted by: signature
        image    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: as installed
        ");
        assert_eq!(same.json()["stamp"]["images"][0]["trust"], "signature");
        assert_eq!(other.json()["images"][0]["state"], "other");
        let bare = Comparison::default();
        insta::assert_snapshot!(bare.difference().unwrap(), @"no stamp of an installation is on its disks");
    }

    #[test]
    fn another_request_or_generation_is_named() {
        let asked = |digest: &str, generation: Option<&str>| Comparison {
            request: Some(digest.to_owned()),
            generation: generation.map(str::to_owned),
            ..compared(SourceFacts::default())
        };
        let why = |comparison: Comparison| comparison.difference().unwrap();
        insta::assert_snapshot!(why(asked("00fe", Some("8"))), @"its disks hold the installation of another request (generation 7, not 8)");
        insta::assert_snapshot!(why(asked("00fe", None)), @"its disks hold the installation of another request (generation 7, not none)");
        insta::assert_snapshot!(why(asked("00fe", Some("7"))), @"its disks hold the installation of another request");
        assert_eq!(asked("00ff", Some("7")).difference(), None);
        let json = asked("00ff", Some("7")).json();
        assert_eq!(json["stamp"]["generation"], "7");
        assert_eq!(json["stamp"]["images"][0]["sha256"], "ab".repeat(32));
    }

    #[test]
    fn where_the_request_has_a_digest_it_decides_whatever_the_server_says() {
        let mut request = lvm_request();
        let compare = |request: &crate::model::request::Request| {
            images(
                &stamp(),
                &request.images,
                &Err("as `--offline` says".to_owned()),
            )[0]
            .1
            .clone()
        };
        request.images[0].digests.sha256 = Some("ab".repeat(32));
        assert_eq!(compare(&request), Image::Same);
        request.images[0].digests.sha256 = Some("cd".repeat(32));
        assert_eq!(compare(&request), Image::Other);
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
        stamp    instance i-7, generation 7
        stamp    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: sha256 abababababababababababababababababababababababababababababababab
        stamp    http://10.20.0.2:8080/targetimages/ubuntu.img.gz: trusted by: signature
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
