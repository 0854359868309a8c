//! A door for the fuzzer: heads of responses.

use std::sync::OnceLock;
use std::time::Duration;

use host::cancel::Cancel;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::HttpSettings;
use super::client::Client;
use super::head::Head;
use super::retry::Retry;
use crate::model::request::Container;

const BUDGET: Duration = Duration::from_mins(1);

/// Retries take their limits from a client; nothing is ever sent.
static CLIENT: OnceLock<Option<Client>> = OnceLock::new();

/// Reads a head as the client would, with `lines` like `Retry-After: 5`, and does with it all that the agent does.
pub fn head(status: u16, length: Option<u64>, lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = HeaderName::from_bytes(name.trim_ascii());
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let head = Head::of(status, length, &headers);
    let identity = head.identity();
    let _ = (identity.validator(), identity.mismatch(&head));
    for container in [Container::Raw, Container::Gzip, Container::Zstd] {
        let _ = head.check_encoding("u", container);
    }
    if let Ok(part) = head.check_part(head.range.map_or(0, |range| range.start)) {
        assert!(part.start < part.end, "an empty part");
        assert!(
            part.total.is_none_or(|total| part.end <= total),
            "a part beyond the end"
        );
    }
    let _ = host::error::one_line(&head.refusal("u"));
    let client = CLIENT.get_or_init(|| Client::new(&HttpSettings::default(), Cancel::new()).ok());
    let Some(client) = client else {
        return;
    };
    let mut retry = Retry::new(client, "http://h/i", BUDGET);
    for _ in 0..3 {
        if let Some(pause) = retry.spend(client, head.retry_after) {
            assert!(pause <= BUDGET, "a pause of {pause:?}");
        }
    }
}
