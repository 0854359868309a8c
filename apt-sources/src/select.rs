//! The entries of a machine's apt, or the mirrors, that have the wanted packages.

use crate::SourcesError;
use crate::mirror::Mirror;
use crate::stanza::Stanza;

/// The suites of one release: the release itself, its updates, its security fixes.
fn suites_of(release: &str) -> [String; 4] {
    let [security, before] = security_suites(release);
    [
        release.to_owned(),
        format!("{release}-updates"),
        security,
        before,
    ]
}

/// The names of the suite with a release's security fixes; the second one is that of Debian 10 and before.
pub(crate) fn security_suites(release: &str) -> [String; 2] {
    [format!("{release}-security"), format!("{release}/updates")]
}

/// Which packages are needed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Code name of the release, like `bookworm`.
    pub suite: &'a str,
    /// Debian's name of the architecture, like `amd64`.
    pub architecture: &'a str,
    /// Mirrors given by the user; if there are any, the machine's entries are not used.
    pub mirrors: &'a [Mirror],
    /// Whether the machine's entries for the security suite are used beside `mirrors`.
    pub machine_security: bool,
    /// Whether firmware is needed, which has a component of its own (`non-free-firmware`).
    pub firmware: bool,
    /// Whether archives may be used whose signature apt was told not to check.
    pub allow_unsigned: bool,
}

impl Wanted<'_> {
    pub(crate) fn narrowed(&self, entry: &Stanza) -> Option<Stanza> {
        let extra: &[&str] = if self.firmware {
            &["non-free-firmware"]
        } else {
            &[]
        };
        narrowed(entry, self.suite, self.architecture, extra)
    }

    /// The machine's entries for the security suite, reduced to it.
    fn security_of(&self, entries: &[Stanza]) -> Vec<Stanza> {
        let suites = security_suites(self.suite);
        let only = |mut entry: Stanza| {
            let kept: Vec<_> = entry
                .words("Suites")
                .into_iter()
                .filter(|suite| suites.iter().any(|own| own == suite))
                .collect();
            let kept = (!kept.is_empty()).then(|| kept.join(" "))?;
            entry.set("Suites", kept);
            Some(entry)
        };
        let ours = entries.iter().filter_map(|entry| self.narrowed(entry));
        ours.filter_map(only).collect()
    }
}

/// The entry reduced to what this release's binary packages need; `None` where nothing is left.
fn narrowed(entry: &Stanza, release: &str, architecture: &str, extra: &[&str]) -> Option<Stanza> {
    let enabled = entry
        .field("Enabled")
        .is_none_or(|value| !value.eq_ignore_ascii_case("no"));
    let architectures = entry.words("Architectures");
    let fits = architectures.is_empty() || architectures.contains(&architecture);
    let ours = suites_of(release);
    let suites: Vec<_> = entry
        .words("Suites")
        .into_iter()
        .filter(|suite| ours.iter().any(|own| own == suite))
        .collect();
    // Only Debian's archive has a component `main`; others may use its suite names.
    let mut components = entry.words("Components");
    if !enabled
        || !fits
        || suites.is_empty()
        || !entry.words("Types").contains(&"deb")
        || !components.contains(&"main")
    {
        return None;
    }
    components.retain(|component| !extra.contains(component));
    components.extend(extra);
    let mut narrow = entry.clone();
    narrow.set("Types", "deb".to_owned());
    narrow.set("Suites", suites.join(" "));
    narrow.set("Components", components.join(" "));
    narrow.set("Architectures", architecture.to_owned());
    // Without descriptions, DEP-11 and the like: megabytes that are not read here.
    narrow.set("Targets", "Packages".to_owned());
    Some(narrow)
}

/// Whether an entry has the release itself, not only its updates: without it nothing resolves.
fn has_release(entries: &[Stanza], release: &str) -> bool {
    entries
        .iter()
        .any(|entry| entry.words("Suites").contains(&release))
}

/// Whether an entry has apt take packages without a signature, and the field that says so.
fn unsigned(entry: &Stanza) -> Option<&'static str> {
    let fields = [
        "Trusted",
        "Allow-Insecure",
        "Allow-Weak",
        "Allow-Downgrade-To-Insecure",
    ];
    // apt's words for yes, see StringToBool in apt-pkg/contrib/strutl.cc
    let yes = ["yes", "true", "with", "on", "enable", "1"];
    fields.into_iter().find(|field| {
        let value = entry.field(field).unwrap_or_default().trim();
        yes.iter().any(|word| word.eq_ignore_ascii_case(value))
    })
}

/// A URL without user and password.
pub(crate) fn without_password(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}{path}")
        }
        None => uri.to_owned(),
    }
}

/// The entries that have the wanted packages, reduced to them.
pub(crate) fn select(entries: &[Stanza], wanted: Wanted<'_>) -> Result<Vec<Stanza>, SourcesError> {
    let chosen: Vec<_> = if wanted.mirrors.is_empty() {
        let narrow = |entry| wanted.narrowed(entry);
        entries.iter().filter_map(narrow).collect()
    } else {
        let mirrors = wanted.mirrors.iter().map(Mirror::entry);
        let mut chosen: Vec<_> = mirrors.filter_map(|e| wanted.narrowed(&e)).collect();
        if wanted.machine_security {
            chosen.extend(wanted.security_of(entries));
        }
        chosen
    };
    if !has_release(&chosen, wanted.suite) {
        return Err(SourcesError::NoArchive {
            suite: wanted.suite.to_owned(),
        });
    }
    if !wanted.allow_unsigned {
        for entry in &chosen {
            if let Some(field) = unsigned(entry) {
                return Err(SourcesError::Unsigned {
                    uri: without_password(entry.field("URIs").unwrap_or_default()),
                    field,
                });
            }
        }
    }
    Ok(chosen)
}
