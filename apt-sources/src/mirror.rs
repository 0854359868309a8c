//! Archives given by the user.

use std::path::Path;

use crate::stanza::Stanza;

/// Keys of Debian's archive, on Debian and on derivatives that have the package.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An archive given by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its URL.
    pub uri: String,
    /// The suites that are taken from it.
    pub suites: Vec<String>,
}

impl Mirror {
    /// A mirror with the suites that its URL suggests: the security suite if it ends in `-security`, as those of
    /// Debian do, else the release and its updates.
    pub fn of(uri: &str, release: &str) -> Self {
        if uri.trim_end_matches('/').ends_with("-security") {
            return Self::security(uri, release);
        }
        Self {
            uri: uri.to_owned(),
            suites: vec![release.to_owned(), format!("{release}-updates")],
        }
    }

    /// A mirror with the security suite.
    pub fn security(uri: &str, release: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            suites: vec![format!("{release}-security")],
        }
    }

    pub(crate) fn entry(&self) -> Stanza {
        let mut entry = Stanza::default();
        entry.set("Types", "deb".to_owned());
        entry.set("URIs", self.uri.clone());
        entry.set("Suites", self.suites.join(" "));
        entry.set("Components", "main".to_owned());
        if Path::new(DEBIAN_KEYS).exists() {
            entry.set("Signed-By", DEBIAN_KEYS.to_owned());
        }
        entry
    }
}
