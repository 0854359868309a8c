//! Who wrote a request: its detached signature by minisign, where the setting `request_key` asks for one.

use std::io;
use std::path::{Path, PathBuf};

use os_image::signature::{SIGNATURE_LIMIT, TrustedKey, verify};
use url::Url;

use super::request_source::{Input, read_bounded};
use crate::http::{self, HttpError};
use crate::model::error::{Error, Kind};
use crate::model::url::{RedactedUrl, redacted};
use crate::source;

/// What a signature's name has behind that of the document.
const SUFFIX: &str = ".minisig";

/// A document that one of `keys` has to have signed.
pub(super) struct Unverified<'a> {
    /// Bytes of the document.
    pub(super) bytes: &'a [u8],
    /// Where it came from.
    pub(super) input: &'a Input,
    /// The URL it was fetched from, where it was.
    pub(super) url: &'a str,
}

impl Unverified<'_> {
    /// Whether one of `keys` has signed it; nothing of the document is used before. `client` fetches the signature of a
    /// document that was fetched.
    pub(super) fn verify(
        &self,
        keys: &[TrustedKey],
        client: impl FnOnce() -> Result<http::Client, Error>,
    ) -> Result<(), Error> {
        let (name, signature) = match self.input {
            Input::Text(_) => ("of the command line".to_owned(), None),
            Input::File(path) => (
                format!("in {}", path.display()),
                of_file(path).map_err(|error| unreadable(&beside(path), error))?,
            ),
            Input::Url(_) => (
                format!("from {}", redacted(self.url)),
                of_url(self.url, client)?,
            ),
        };
        let Some(signature) = signature else {
            let hint = match self.input {
                Input::Text(_) => {
                    "upload it as a file, with its signature beside it: FILE and FILE.minisig"
                }
                _ => {
                    "sign it with `minisign -S -m FILE`, and put FILE.minisig beside it; the ramdisk's `request_key` \
                     asks for that"
                }
            };
            let what = format!("the request {name} is not signed");
            return Err(Error::new(Kind::Refused, what).hint(hint));
        };
        let text = String::from_utf8_lossy(&signature);
        verify(self.bytes, &text, keys).map_err(|error| {
            let what = format!("the signature of the request {name} is not accepted");
            Error::new(Kind::Refused, what).because(error).hint(
                "sign the document as it is now, with the key whose public half is `request_key`, and publish both \
                 together",
            )
        })?;
        Ok(())
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let what = format!("cannot read the signature in {}", path.display());
    Error::new(Kind::Refused, what).because(error)
}

fn of_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_bounded(&beside(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// At the same URL with the suffix behind the path: a query may hold what opens the folder.
fn of_url(
    url: &str,
    client: impl FnOnce() -> Result<http::Client, Error>,
) -> Result<Option<Vec<u8>>, Error> {
    let mut signature = Url::parse(url)
        .map_err(|error| Error::new(Kind::Usage, "the request's URL is not one").because(error))?;
    signature.set_path(&format!("{}{SUFFIX}", signature.path()));
    signature.set_fragment(None);
    let limit = u64::try_from(SIGNATURE_LIMIT).unwrap_or(u64::MAX);
    match source::document(&client()?, signature.as_str(), limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(not_fetched(signature.as_str(), error)),
    }
}

fn not_fetched(url: &str, error: HttpError) -> Error {
    let source = Error::from(error);
    let what = format!("cannot fetch the signature {}", redacted(url));
    Error {
        hint: source.hint.clone(),
        retryable: source.retryable,
        ..Error::new(source.kind, what)
    }
    .because(source)
}

/// A warning for a request that any host on the way can have written: fetched without TLS, and without a signature.
pub(super) fn warning(url: &RedactedUrl) -> Option<String> {
    let scheme = url.reveal().get(..5)?;
    scheme.eq_ignore_ascii_case("http:").then(|| {
        "the request was fetched by http and is not signed: any host on the way can have changed it; use https, or \
         sign it and set `request_key` in the ramdisk"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;
    use crate::model::error::render;
    use crate::settings::Settings;
    use crate::testing::fault_server::{FaultServer, Reply};
    use host::cancel::Cancel;

    const DOCUMENT: &[u8] = b"{\"profile\": \"p\"}";

    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().unwrap()
    }

    fn trusted(pair: &KeyPair) -> TrustedKey {
        TrustedKey::parse(&pair.pk.to_base64()).unwrap()
    }

    fn signature(pair: &KeyPair, bytes: &[u8]) -> Vec<u8> {
        let signature = minisign::sign(Some(&pair.pk), &pair.sk, bytes, None, None).unwrap();
        signature.into_string().into_bytes()
    }

    fn client() -> Result<http::Client, Error> {
        let mut settings = Settings::default();
        settings.http.first_pause = std::time::Duration::from_millis(1);
        settings.http.environment_proxy = false;
        Ok(http::Client::new(&settings.http, Cancel::new())?)
    }

    fn checked(input: &Input, url: &str, keys: &[TrustedKey]) -> Result<(), Error> {
        let document = Unverified {
            bytes: DOCUMENT,
            input,
            url,
        };
        document.verify(keys, client)
    }

    #[test]
    fn a_file_needs_its_signature_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provision.json");
        let input = Input::File(path.clone());
        let (ours, other) = (pair(), pair());
        let keys = [trusted(&other), trusted(&ours)];
        let error = checked(&input, "", &keys).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert!(
            error.what.ends_with("provision.json is not signed"),
            "{error:?}"
        );
        let put = |bytes: &[u8]| std::fs::write(beside(&path), bytes).unwrap();
        put(&signature(&ours, DOCUMENT));
        checked(&input, "", &keys).unwrap();
        for (bytes, cause) in [
            (signature(&ours, b"{}"), "does not match the file"),
            (signature(&pair(), DOCUMENT), "which is not trusted"),
            (b"RW".to_vec(), "fewer than four lines"),
            (vec![0xff; 100], "fewer than four lines"),
        ] {
            put(&bytes);
            let error = checked(&input, "", &keys).unwrap_err();
            assert_eq!(error.kind, Kind::Refused);
            let causes = error.causes().join(": ");
            assert!(causes.contains(cause), "{causes}");
        }
    }

    #[test]
    fn a_url_needs_its_signature_at_the_path_with_the_suffix() {
        let (ours, other) = (pair(), pair());
        let text = signature(&ours, DOCUMENT);
        let server = FaultServer::start(move |request| match request.target.as_str() {
            "/r/7.json.minisig?token=t0p" => Reply::whole(&text),
            "/broken.minisig" => Reply::status(403),
            _ => Reply::status(404),
        })
        .unwrap();
        let input = Input::Url("http://h/".into());
        let keys = [trusted(&ours)];
        let signed = server.url("/r/7.json?token=t0p");
        checked(&input, &signed, &keys).unwrap();
        let wrong = checked(&input, &signed, &[trusted(&other)]).unwrap_err();
        assert_eq!(wrong.kind, Kind::Refused);
        let shown = render(&wrong).replace(&server.address().to_string(), "HOST");
        assert!(
            shown.starts_with("error: the signature of the request from http://HOST/r/7.json?... is not accepted\n"),
            "{shown}"
        );
        let missing = checked(&input, &server.url("/8.json"), &keys).unwrap_err();
        assert_eq!(missing.kind, Kind::Refused);
        assert!(
            missing.what.ends_with("/8.json is not signed"),
            "{missing:?}"
        );
        let forbidden = checked(&input, &server.url("/broken"), &keys).unwrap_err();
        assert_eq!(forbidden.kind, Kind::Image);
    }

    #[test]
    fn a_text_of_the_command_line_has_no_place_for_a_signature() {
        let error = checked(&Input::Text("{}".to_owned()), "", &[trusted(&pair())]).unwrap_err();
        insta::assert_snapshot!(render(&error), @r"
        error: the request of the command line is not signed
          hint: upload it as a file, with its signature beside it: FILE and FILE.minisig
        ");
    }

    #[test]
    fn plain_http_is_worth_a_warning() {
        for (url, warns) in [
            ("http://h/", true),
            ("HTTP://h/", true),
            ("https://h/", false),
            ("file:///x", false),
        ] {
            assert_eq!(warning(&url.into()).is_some(), warns, "{url}");
        }
    }
}
