//! Whether a callback server is reachable: checked before anything is touched, so that a wrong name or an untrusted
//! certificate is reported before the work and not after it.

use reqwest::Method;

use super::address::Address;
use super::client::{Client, Request};
use super::error::HttpError;
use crate::pool::Pool;

/// Requests `/` of the server once, not `url` itself, which may have an effect. Any status will do.
pub fn answers(client: &Client, url: &str) -> Result<(), HttpError> {
    let mut front = match Address::parse(url)? {
        Address::Web(url) => url,
        Address::File(_) => return Ok(()),
    };
    front.set_path("/");
    front.set_query(None);
    front.set_fragment(None);
    let mut request = Request::get(front).pool(&Pool::new(1, 16 * 1024));
    request.method = Method::HEAD;
    match client.send(request) {
        // a redirect need not be followed, and a cancellation is noticed elsewhere
        Ok(_) | Err(HttpError::Redirect { .. } | HttpError::Cancelled) => Ok(()),
        Err(error) => Err(error),
    }
}
