//! Small documents, read completely: metadata, a pulled request.

use std::time::Duration;

use super::file;
use crate::http::address::Address;
use crate::http::client::{Client, Request};
use crate::http::error::HttpError;
use crate::http::retry::Retry;
use crate::model::request::Container;
use crate::model::url::redacted;

/// Fetches `url`, up to `limit` bytes; retried within the budget of the settings.
pub fn document(client: &Client, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
    document_within(client, url, limit, client.settings().retry_budget)
}

/// [`document`] with another retry budget.
pub(super) fn document_within(
    client: &Client,
    url: &str,
    limit: u64,
    budget: Duration,
) -> Result<Vec<u8>, HttpError> {
    let web = match Address::parse(url)? {
        Address::Web(web) => web,
        Address::File(path) => return file::read(&client.settings().files, &path, limit),
    };
    let name = redacted(url);
    let retry = Retry::new(client, &name, budget);
    retry.until_done(client, || {
        let response = client.send(Request::document(client, web.clone(), limit))?;
        match response.head.status {
            200 => {
                response.head.check_encoding(&name, Container::Raw)?;
                response.bytes(&name, limit)
            }
            _ => Err(response.head.refusal(&name)),
        }
    })
}
