//! The identity stamp: which request was installed, from which images, when. It is before the first partition of each
//! disk that got boot code, so that a later run, or `status`, can read it without mounting anything.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use host::blockdev::{Access, BlockDevice};
use host::units::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::context::Context;
use super::outcome::Outcome;
use super::{bootcode, disk_region};
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::plan::STAMP;
use crate::model::plan::{Plan, PlannedImage};
use crate::model::sources::SourceFacts;
use crate::model::trust::Trust;
use crate::model::url::RedactedUrl;

/// What it begins with; the last byte is the version of this layout: magic, length, JSON, sha256 of the JSON.
const MAGIC: [u8; 16] = *b"provision stamp\x01";
const LENGTH: usize = 4;
const DIGEST: usize = 32;

/// Contents of a stamp: the installation it was written for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Version of the agent that wrote it.
    pub agent: String,
    /// Identity of the request.
    pub request_digest: String,
    /// Generation of the request, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// `instance-id` of the installation.
    pub instance_id: String,
    /// Images that were written, in the order of the plan.
    pub images: Vec<StampedImage>,
    /// Seconds since 1970, by the ramdisk's clock.
    pub written_at: u64,
    /// Serial numbers or wwns of the disks that got boot code, in the plan's order.
    pub armed: Vec<String>,
}

/// An image that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampedImage {
    /// Address of the image, without secrets.
    pub url: String,
    /// sha256 of what was written.
    pub sha256: String,
    /// md5 of what was written, where its source names one: often all that a source names.
    #[serde(default)]
    pub md5: Option<String>,
    /// BLAKE3 of what was written, where its source names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// What it was trusted by; `None` in stamps of older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

impl Stamp {
    /// Whether this is what the plan would install: the same request in the same generation, and images that their
    /// sources still name by the digests of what was written. An image whose source names no digest may be another one
    /// by now.
    pub fn is_of(&self, plan: &Plan) -> bool {
        let written = |image: &PlannedImage| self.holds(&image.url, &image.facts) == Some(true);
        self.request_digest == plan.request_digest
            && self.generation == plan.generation
            && self.images.len() == plan.images.len()
            && plan.images.iter().all(written)
    }

    /// Whether the image at `url` was installed as its source names it now; `None` where the source names no digest.
    pub fn holds(&self, url: &RedactedUrl, facts: &SourceFacts) -> Option<bool> {
        // A stamp holds addresses without what is secret in them; two may be equal then.
        let shown = url.to_string();
        let mut stamped = self.images.iter().filter(|it| it.url == shown);
        match (&facts.raw_sha256, &facts.raw_blake3, &facts.raw_md5) {
            (Some(sha256), _, _) => Some(stamped.any(|it| *sha256 == it.sha256)),
            (None, Some(blake3), _) => Some(stamped.any(|it| Some(blake3) == it.blake3.as_ref())),
            (None, None, Some(md5)) => Some(stamped.any(|it| Some(md5) == it.md5.as_ref())),
            (None, None, None) => None,
        }
    }
}

pub(super) fn write(context: &mut Context<'_>, disk: DiskIndex) -> Result<Outcome, Error> {
    if let Some(skipped) = bootcode::without_configuration(context) {
        return Ok(skipped);
    }
    let stamp = made(context);
    let device = &context.plan[disk].device;
    let place = |source: io::Error| {
        Error::new(
            Kind::Disk,
            format!("cannot write the identity stamp to {device}"),
        )
        .device(device)
        .because(source)
    };
    let mut device = context
        .host
        .devices
        .open(device.as_ref(), Access::Write)
        .map_err(place)?;
    put(device.as_mut(), &stamp).map_err(place)?;
    Ok(Outcome::Changed)
}

fn made(context: &Context<'_>) -> Stamp {
    let plan = context.plan;
    let images = context.state.images.values();
    let images = images.map(|image| StampedImage {
        url: image.url.clone(),
        sha256: image.raw_sha256.clone(),
        md5: image.raw_md5.clone(),
        blake3: image.raw_blake3.clone(),
        trust: Some(image.trust),
    });
    let armed = plan.disks.iter().filter(|disk| disk.bootloader);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Stamp {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        request_digest: plan.request_digest.clone(),
        generation: plan.generation.clone(),
        instance_id: plan.instance_id.to_string(),
        images: images.collect(),
        written_at: now.map_or(0, |now| now.as_secs()),
        armed: armed.map(|disk| disk.disk_id.clone()).collect(),
    }
}

/// Writes a stamp and reads it back.
fn put(device: &mut dyn BlockDevice, stamp: &Stamp) -> io::Result<()> {
    let json = serde_json::to_vec(stamp)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(&json);
    bytes.extend(Sha256::digest(&json));
    let sector = usize::try_from(device.sector_size().0).map_err(io::Error::other)?;
    bytes.resize(bytes.len().next_multiple_of(sector), 0);
    if Bytes(u64::try_from(bytes.len()).map_err(io::Error::other)?) > STAMP.length {
        return Err(io::Error::other("the stamp is longer than its place"));
    }
    disk_region::write_and_check(device, &bytes, STAMP.start)
}

/// The stamp on a disk; `None` where there is none, or one that is damaged: both mean that nothing is known.
pub fn read(device: &dyn BlockDevice) -> io::Result<Option<Stamp>> {
    if device.size() < STAMP.end() {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(STAMP.length.0).map_err(io::Error::other)?];
    device.read_at(&mut bytes, STAMP.start)?;
    Ok(parse(&bytes))
}

/// The stamp that the bytes of its place hold, whole and unspoilt.
pub fn parse(bytes: &[u8]) -> Option<Stamp> {
    let rest = bytes.strip_prefix(MAGIC.as_slice())?;
    let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let json = rest.get(..length)?;
    let digest = rest.get(length..)?.get(..DIGEST)?;
    if Sha256::digest(json).as_slice() != digest {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// Removes a stamp, whole or damaged, and returns whether there was one. What does not begin like a stamp is not
/// touched: it may be data that is kept.
pub(super) fn clear(device: &mut dyn BlockDevice) -> io::Result<bool> {
    if device.size() < STAMP.end() {
        return Ok(false);
    }
    let mut head = [0; MAGIC.len()];
    device.read_at(&mut head, STAMP.start)?;
    // any version of it
    let ours = MAGIC
        .split_last()
        .is_some_and(|(_, any)| head.starts_with(any));
    if ours {
        device.zero(STAMP)?;
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::blockdev::Devices;
    use host::fake::{FakeDevices, Fault};

    #[test]
    fn an_installation_is_known_by_request_and_digests() {
        let mut plan = crate::testing::sample_plan::plan();
        plan.request_digest = "00ff".to_owned();
        plan.images.truncate(1);
        plan.images[0].url = stamp().images[0].url.as_str().into();
        let facts = |plan: &mut Plan, sha256: Option<&str>, md5: Option<&str>| {
            plan.images[0].facts.raw_sha256 = sha256.map(str::to_owned);
            plan.images[0].facts.raw_md5 = md5.map(str::to_owned);
        };
        let mut stamp = stamp();
        let digest = stamp.images[0].sha256.clone();
        for (sha256, md5, same) in [
            (Some(digest.as_str()), None, true),
            (Some("cd"), Some("00"), false),
            (None, Some("00"), true),
            (None, Some("01"), false),
            (None, None, false),
        ] {
            facts(&mut plan, sha256, md5);
            stamp.images[0].md5 = Some("00".to_owned());
            assert_eq!(stamp.is_of(&plan), same, "{sha256:?} {md5:?}");
        }
        facts(&mut plan, Some(&digest), None);
        stamp.generation = Some("7".to_owned());
        assert!(!stamp.is_of(&plan), "the request has none");
        plan.generation = Some("7".to_owned());
        assert!(stamp.is_of(&plan));
        plan.generation = Some("8".to_owned());
        assert!(!stamp.is_of(&plan));
        stamp.generation.clone_from(&plan.generation);
        stamp.request_digest = "00fe".to_owned();
        assert!(!stamp.is_of(&plan));
    }

    #[test]
    fn an_address_with_secrets_or_a_default_port_is_still_known() {
        for url in [
            "http://10.20.0.2/root.img.gz",
            "http://10.20.0.2:80/root.img.gz",
            "http://user:pw@10.20.0.2/root.img.gz",
            "http://10.20.0.2/root.img.gz?token=s3cret",
            "HTTP://10.20.0.2/root.img.gz#1",
        ] {
            let mut plan = crate::testing::sample_plan::plan();
            plan.request_digest = "00ff".to_owned();
            plan.images.truncate(1);
            plan.images[0].url = url.into();
            let mut stamp = stamp();
            plan.images[0].facts.raw_sha256 = Some(stamp.images[0].sha256.clone());
            stamp.images[0].url = crate::model::url::redacted(url);
            // an entry of an equal address that is another image must not hide it
            let mut twin = stamp.images[0].clone();
            twin.sha256 = "cd".repeat(32);
            assert!(stamp.is_of(&plan), "{url}");
            plan.images.push(plan.images[0].clone());
            stamp.images.insert(0, twin);
            plan.images[0].facts.raw_sha256 = Some(stamp.images[0].sha256.clone());
            assert!(stamp.is_of(&plan), "{url}");
            plan.images[0].url = "http://10.20.0.3/root.img.gz".into();
            assert!(!stamp.is_of(&plan), "{url}");
        }
    }

    fn stamp() -> Stamp {
        Stamp {
            agent: "0.1.0".to_owned(),
            request_digest: "00ff".to_owned(),
            generation: None,
            instance_id: "8f0f6a3a".to_owned(),
            images: vec![StampedImage {
                url: "http://10.20.0.2/root.img.gz".to_owned(),
                sha256: "ab".repeat(32),
                md5: None,
                blake3: None,
                trust: Some(Trust::Request),
            }],
            written_at: 1_795_000_000,
            armed: vec!["disk-1".to_owned()],
        }
    }

    fn open(disks: &FakeDevices) -> Box<dyn BlockDevice> {
        disks.open("/dev/sda".as_ref(), Access::Write).unwrap()
    }

    #[test]
    fn what_is_written_is_read_on_both_sector_sizes() {
        for sector in [512, 4096] {
            let disks = FakeDevices::new().with_sectors("/dev/sda", Bytes::MIB, Bytes(sector));
            let mut device = open(&disks);
            assert_eq!(read(device.as_ref()).unwrap(), None);
            put(device.as_mut(), &stamp()).unwrap();
            assert_eq!(read(device.as_ref()).unwrap(), Some(stamp()));
            assert!(clear(device.as_mut()).unwrap());
            assert_eq!(read(device.as_ref()).unwrap(), None);
            assert!(!clear(device.as_mut()).unwrap());
        }
    }

    #[test]
    fn a_damaged_stamp_says_nothing_and_is_still_cleared() {
        let disks = FakeDevices::new().with("/dev/sda", Bytes::MIB);
        let mut device = open(&disks);
        put(device.as_mut(), &stamp()).unwrap();
        disks
            .put("/dev/sda", Bytes(STAMP.start.0 + 40), b"X")
            .unwrap();
        assert_eq!(read(device.as_ref()).unwrap(), None);
        assert!(clear(device.as_mut()).unwrap());
        assert_eq!(disks.content("/dev/sda", STAMP).unwrap(), vec![0; 64 << 10]);
    }

    #[test]
    fn other_data_in_its_place_is_left_alone() {
        let disks = FakeDevices::new().with("/dev/sda", Bytes::MIB);
        disks.put("/dev/sda", STAMP.start, b"kept data").unwrap();
        assert!(!clear(open(&disks).as_mut()).unwrap());
        assert!(
            disks
                .log()
                .iter()
                .all(|done| matches!(done.what, host::fake::What::Open(_)))
        );
    }

    #[test]
    fn a_disk_too_small_for_one_has_none() {
        let disks = FakeDevices::new().with("/dev/sda", Bytes(4096));
        assert_eq!(read(open(&disks).as_ref()).unwrap(), None);
        assert!(!clear(open(&disks).as_mut()).unwrap());
    }

    #[test]
    fn a_fault_is_heard_of() {
        for fault in [
            Fault::Write(0),
            Fault::HalfWrite(0),
            Fault::Flush(0),
            Fault::ReadAt(STAMP.start),
        ] {
            let disks = FakeDevices::new()
                .with("/dev/sda", Bytes::MIB)
                .failing(fault);
            assert!(put(open(&disks).as_mut(), &stamp()).is_err(), "{fault:?}");
        }
    }

    #[test]
    fn nothing_of_what_is_read_is_trusted() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(parse(&bytes), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&MAGIC), None);
    }
}
