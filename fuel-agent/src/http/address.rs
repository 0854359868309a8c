//! URLs that can be fetched, and the URLs of files beside them.

use std::path::PathBuf;

use url::Url;

use super::HttpError;
use crate::model::url::redacted;

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://` or `https://`.
    Web(Url),
    /// `file://`: a path on this machine.
    File(PathBuf),
}

impl Address {
    /// Parses `text`; schemes other than `http`, `https` and `file` are refused.
    pub(crate) fn parse(text: &str) -> Result<Self, HttpError> {
        let wrong = |why: &str| HttpError::Url {
            url: redacted(text),
            why: why.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Web(url)),
            "file" => url
                .to_file_path()
                .map(Self::File)
                .map_err(|()| wrong("the file must be on this machine: file:///PATH")),
            _ => Err(wrong("only http, https and file are fetched")),
        }
    }
}

/// Last component of the URL's path, not decoded.
pub fn base_name(url: &str) -> String {
    let path = Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned());
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// URL of the file `name` in the same folder, without query and fragment.
pub(crate) fn beside(url: &str, name: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = format!("{folder}/{name}");
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

/// URL of the file `name` in the folder `base`; keeps the query, which may hold an access token of the folder.
pub(crate) fn within(base: &str, name: &str) -> Option<String> {
    let mut url = Url::parse(base).ok()?;
    let path = format!("{}/{name}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_fragment(None);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_schemes_are_fetched() {
        for url in ["http://h/x", "https://h/x", "http://[::1]/x"] {
            assert!(matches!(Address::parse(url), Ok(Address::Web(_))), "{url}");
        }
        for (url, path) in [
            ("file:///srv/a%20b.img?x=1", "/srv/a b.img"),
            ("file://localhost/srv/x", "/srv/x"),
        ] {
            assert_eq!(
                Address::parse(url).unwrap(),
                Address::File(PathBuf::from(path))
            );
        }
        for url in [
            "ftp://h/x",
            "file://other/x",
            "/srv/x",
            "",
            "http://",
            "http://h:99999/",
            "gopher:x",
        ] {
            assert!(
                matches!(Address::parse(url), Err(HttpError::Url { .. })),
                "{url}"
            );
        }
    }

    #[test]
    fn a_mirror_has_the_file_in_its_folder() {
        for (base, url) in [
            ("http://h/images", "http://h/images/x.img.zst"),
            ("http://h/images/", "http://h/images/x.img.zst"),
            ("http://h", "http://h/x.img.zst"),
            ("http://u:p@h/a?t=1#f", "http://u:p@h/a/x.img.zst?t=1"),
            ("file:///srv/", "file:///srv/x.img.zst"),
        ] {
            assert_eq!(within(base, "x.img.zst").as_deref(), Some(url));
        }
        assert_eq!(within("images", "x"), None);
    }

    #[test]
    fn what_lies_beside_an_image_is_in_the_same_folder() {
        for (url, yaml) in [
            ("http://h/t/u-14.04.img.gz?x=1", "http://h/t/u-14.yaml"),
            ("http://h/x", "http://h/u-14.yaml"),
            ("http://h", "http://h/u-14.yaml"),
            ("http://u:p@h/a%2Fb/x.gz#f", "http://u:p@h/a%2Fb/u-14.yaml"),
            ("file:///srv/x.gz", "file:///srv/u-14.yaml"),
        ] {
            assert_eq!(beside(url, "u-14.yaml").as_deref(), Some(yaml));
        }
        assert_eq!(
            base_name("http://h/t/u-14.04.img.gz?x=/1"),
            "u-14.04.img.gz"
        );
    }
}
