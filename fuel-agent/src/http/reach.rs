//! Whether a server answers at all: asked before anything is touched, so that a name that leads nowhere or a
//! certificate that is not trusted is told of before the work, and not only when all of it is done.

use reqwest::Method;

use super::address::Address;
use super::client::{Client, Request};
use super::error::HttpError;
use crate::pool::Pool;

/// Asks the server of `url` once for its front page, and not for `url` itself, which may do something. Any answer will
/// do.
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
        // Where it leads is not the question; and whoever was told to stop finds that out elsewhere.
        Ok(_) | Err(HttpError::Redirect { .. } | HttpError::Cancelled) => Ok(()),
        Err(error) => Err(error),
    }
}
