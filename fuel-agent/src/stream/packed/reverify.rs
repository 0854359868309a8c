//! Compares what a disk holds with a packed image that was written to it before; writes nothing.

use std::time::{Duration, Instant};

use host::blockdev::BlockDevice;
use host::units::Bytes;
use os_image::index::Index;

use super::super::error::StreamError;
use super::check::{PIECE, holds};
use super::meter::Meter;
use super::{Packed, check_policy, fetch_manifest, listed};
use crate::events::{Event, Events};
use crate::http::{Client, address};
use crate::model::report::ComparedChunks;
use crate::model::stage::Stage;
use crate::model::url::redacted;
use crate::pool::Pool;

/// Interval of progress events.
const TICK: Duration = Duration::from_millis(500);

/// Compares each chunk of the image at `url` with the disk: the manifest has to be the one that the plan was made with,
/// and to meet the policy of this node. A chunk that cannot be read differs.
pub fn reverify(
    url: &str,
    packed: Packed<'_>,
    device: &dyn BlockDevice,
    node: &str,
    client: &Client,
    events: &dyn Events,
) -> Result<ComparedChunks, StreamError> {
    let found = fetch_manifest(client, url, packed)?;
    check_policy(packed.rules, &found, packed.facts, url)?;
    let image = listed(&found, url, packed.facts)?;
    let raw_size = Bytes(image.raw_size);
    if raw_size > device.size() {
        return Err(StreamError::TooLarge {
            url: redacted(url),
            device: node.to_owned(),
            size: device.size(),
            needed: Some(raw_size),
        });
    }
    let read = |room: &mut [u8], at| {
        let read = device.read_at(room, Bytes(at));
        read.map_err(|source| StreamError::Disk {
            doing: "read",
            device: node.to_owned(),
            offset: at,
            source,
        })
    };
    compare(&image.index, read, &address::base_name(url), client, events)
}

fn compare(
    index: &Index,
    read: impl Fn(&mut [u8], u64) -> Result<(), StreamError>,
    name: &str,
    client: &Client,
    events: &dyn Events,
) -> Result<ComparedChunks, StreamError> {
    let mut buffer = Pool::new(1, PIECE).take();
    let meter = Meter::default();
    let mut compared = ComparedChunks::default();
    let mut told: Option<Instant> = None;
    for number in 0..index.len() {
        if client.is_cancelled() {
            return Err(StreamError::Cancelled);
        }
        let Some(chunk) = index.chunk(number) else {
            return Err(StreamError::HungUp);
        };
        let length = Bytes(chunk.raw_length.into());
        compared.chunks += 1;
        compared.bytes = compared.bytes.saturating_add(length);
        if !holds(&chunk, &read, &mut buffer, &meter, None) {
            compared.differing_chunks += 1;
            compared.differing_bytes = compared.differing_bytes.saturating_add(length);
        }
        if told.is_none_or(|at| at.elapsed() >= TICK) || number + 1 == index.len() {
            told = Some(Instant::now());
            events.emit(&Event::Progress {
                stage: Stage::Validate,
                what: format!("comparing {name}"),
                done_bytes: compared.bytes.0,
                total_bytes: Some(index.raw_size()),
            });
        }
    }
    Ok(compared)
}
