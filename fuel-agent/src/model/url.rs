//! Addresses that may hold a secret: of images, of a pulled request, of callbacks, of mirrors.
//!
//! What may be secret in an address is its user, its password, and all that follows its path: presigned addresses have
//! their signature there, callbacks their token. None of it is ever printed: [`Display`](fmt::Display),
//! [`Debug`](fmt::Debug) and [`Serialize`] all give the redacted form. [`RedactedUrl::reveal`] is for the code that
//! connects, and for nothing else.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

/// An address, or the template of one, that prints redacted.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct RedactedUrl(String);

impl RedactedUrl {
    /// Takes any text: whether it is an address that can be fetched is found out where it is.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address as it was given, secrets included.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The last part of its path, for where there is no room for more; empty where the path has none.
    pub fn file_name(&self) -> String {
        let plain = redacted(&self.0);
        let path = plain.split('?').next().unwrap_or(&plain);
        path.rsplit('/').next().unwrap_or(path).to_owned()
    }

    /// For `#[serde(serialize_with)]`, where the address is kept to be called later in a file that only root reads.
    pub(crate) fn serialize_revealed<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redacted(&self.0), f)
    }
}

impl Serialize for RedactedUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&redacted(&self.0))
    }
}

impl Borrow<str> for RedactedUrl {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RedactedUrl {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for RedactedUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

/// `url` without what may be secret in it: user, password, query, fragment. A query is shown as `?...`.
pub fn redacted(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() || parsed.scheme() == "file" => {
            let query = parsed.query().is_some();
            // neither fails where there is a host, and a file has no user
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.set_query(None);
            parsed.set_fragment(None);
            let mut text = String::from(parsed);
            if query {
                text.push_str("?...");
            }
            text
        }
        _ => guessed(url),
    }
}

/// Not a valid address, so where a secret begins is unknown: of what may be its authority only what follows the last
/// `@` is kept, of the rest nothing from the first `?` or `#` on.
fn guessed(text: &str) -> String {
    let after = text.split_once("//").map_or(text, |(_, rest)| rest);
    let authority = after.split('/').next().unwrap_or(after);
    let rest = match authority.rsplit_once('@') {
        Some((login, _)) => after
            .get(login.len().saturating_add(1)..)
            .unwrap_or_default(),
        None => text,
    };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    plain.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_printed_in_no_form() {
        for (url, text) in [
            (
                "https://user:secret@host:8443/a/b.img.gz?token=secret#secret",
                "https://host:8443/a/b.img.gz?...",
            ),
            ("http://secret@host/x", "http://host/x"),
            ("https://a:secret@b:secret@host", "https://host/"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://[fd00::1]:8080/x", "http://[fd00::1]:8080/x"),
            ("http://host/{mac}?t=secret", "http://host/%7Bmac%7D?..."),
            ("file:///srv/a%20b.img", "file:///srv/a%20b.img"),
            ("file:///srv/a.img?secret", "file:///srv/a.img?..."),
            ("http://host", "http://host/"),
            ("http://a:secret@", ""),
            ("http://a:se?cret@host:x/y?secret", "host:x/y"),
            ("a:secret@host/x", "host/x"),
            ("not a url?secret", "not a url"),
            ("//user:secret@host/x", "host/x"),
            ("http://{host}:secret@x y/", "x y/"),
        ] {
            let address = RedactedUrl::new(url);
            assert_eq!(address.to_string(), text, "{url}");
            let json = serde_json::to_string(&address).unwrap();
            for shown in [address.to_string(), format!("{address:?}"), json] {
                assert!(
                    !shown.contains("secret") && !shown.contains("cret@"),
                    "{url}: {shown}"
                );
            }
            assert_eq!(address.reveal(), url);
        }
    }
}
