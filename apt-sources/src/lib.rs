//! Packages of one Debian release: where they come from, which ones are needed, and the files themselves.
//!
//! ```text
//!   the machine's apt, or mirrors ──> sources ──> Apt, with a private state ──> Lock ──> package files in a cache
//! ```
//!
//! `apt-config` prints where the entries are; they are parsed here, in both formats (one line, deb822), because apt
//! prints neither their keys nor their other options. No mirror is built in.

pub mod apt;
mod apt_conf;
mod cache;
mod config;
mod error;
pub mod lock;
mod one_line;
pub mod stanza;

pub use apt_conf::Proxies;
pub use cache::Cache;
pub use config::{APT_CONFIG, AptConfig};
pub use error::ArchiveError;

use std::io;
use std::path::{Path, PathBuf};

use host::exec::ExecError;

use crate::stanza::Stanza;

/// Keys of Debian's archive, on Debian and on derivatives that have the package.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
fn security_suites(release: &str) -> [String; 2] {
    [format!("{release}-security"), format!("{release}/updates")]
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

    fn entry(&self) -> Stanza {
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
    fn narrowed(&self, entry: &Stanza) -> Option<Stanza> {
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
fn without_password(uri: &str) -> String {
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
fn select(entries: &[Stanza], wanted: Wanted<'_>) -> Result<Vec<Stanza>, SourcesError> {
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

/// The text of a `.sources` file (deb822) with exactly the wanted entries.
pub fn render(entries: &[Stanza], wanted: Wanted<'_>) -> Result<String, SourcesError> {
    let chosen = select(entries, wanted)?;
    let paragraphs: Vec<String> = chosen.iter().map(Stanza::render).collect();
    Ok(paragraphs.join("\n"))
}

/// The text of a `.sources` file with one mirror.
fn render_mirror(mirror: &Mirror, wanted: Wanted<'_>) -> String {
    let entry = mirror.entry();
    wanted.narrowed(&entry).unwrap_or(entry).render()
}

/// The lines of a `sources.list` with the wanted entries, for another machine: without options, which may name files of
/// this machine or have the other one take unsigned packages, and without passwords.
pub fn lines(entries: &[Stanza], wanted: Wanted<'_>) -> Result<Vec<String>, SourcesError> {
    let mut lines = Vec::new();
    for entry in select(entries, wanted)? {
        let components = entry.words("Components").join(" ");
        for uri in entry.words("URIs") {
            let uri = without_password(uri);
            for suite in entry.words("Suites") {
                lines.push(format!("deb {uri} {suite} {components}"));
            }
        }
    }
    Ok(lines)
}

/// Whether a line of a `sources.list` is an archive with the security suite of the release.
pub fn is_security_line(line: &str, release: &str) -> bool {
    let suite = line.split_whitespace().nth(2).unwrap_or_default();
    security_suites(release).iter().any(|own| own == suite)
}

/// Why the package sources are unknown.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// `apt-config` failed.
    #[error("cannot read apt's configuration")]
    Config(#[from] ExecError),
    /// A file or folder of apt's configuration could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The machine's apt has no entry for the suite.
    #[error("apt on this machine has no Debian archive entry for the suite `{suite}`")]
    NoArchive {
        /// The suite that was asked for.
        suite: String,
    },
    /// The machine's apt is told not to check the signature of an archive.
    #[error("apt on this machine takes packages of {uri} without a signature (`{field}: yes`)")]
    Unsigned {
        /// URLs of the archive.
        uri: String,
        /// The field of its entry.
        field: &'static str,
    },
}

impl SourcesError {
    /// The hint: an instruction to the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(source) => source.hint(),
            Self::Read { .. } => None,
            Self::NoArchive { .. } => Some("give a mirror with `--mirror URL`".to_owned()),
            Self::Unsigned { .. } => Some(
                "remove the option and name the archive's key (`Signed-By`), give a signed mirror with `--mirror URL`, \
                 or accept what anyone on the way may have changed with `--allow-unsigned-archive`"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::one_line::parse_list;

    const DEB822: &str = "Types: deb deb-src\n\
         URIs: http://mirror.test/debian\n\
         Suites: bookworm bookworm-updates trixie\n\
         Components: main contrib\n\
         Signed-By: /keys.gpg\n\n\
         Types: deb\n\
         URIs: https://vendor.test/x\n\
         Suites: bookworm\n\
         Components: stable\n\n\
         Enabled: no\n\
         Types: deb\n\
         URIs: http://off.test/debian\n\
         Suites: bookworm\n\
         Components: main\n";

    fn wanted(mirrors: &[Mirror], firmware: bool) -> Wanted<'_> {
        Wanted {
            suite: "bookworm",
            architecture: "amd64",
            mirrors,
            machine_security: false,
            firmware,
            allow_unsigned: false,
        }
    }

    #[test]
    fn only_the_release_of_the_debian_archive_is_taken() {
        let text = render(&stanza::parse_stanzas(DEB822), wanted(&[], false)).unwrap();
        assert_eq!(
            text,
            "Types: deb\n\
             URIs: http://mirror.test/debian\n\
             Suites: bookworm bookworm-updates\n\
             Components: main contrib\n\
             Signed-By: /keys.gpg\n\
             Architectures: amd64\n\
             Targets: Packages\n"
        );
    }

    #[test]
    fn firmware_adds_its_component_once() {
        let text = render(&stanza::parse_stanzas(DEB822), wanted(&[], true)).unwrap();
        assert!(text.contains("Components: main contrib non-free-firmware\n"));
        let again = render(&stanza::parse_stanzas(&text), wanted(&[], true)).unwrap();
        assert_eq!(again, text);
    }

    #[test]
    fn one_line_entries_say_the_same() {
        let list = "# comment\n deb [arch=amd64,arm64 signed-by=/k.gpg] http://m.test/debian bookworm main # tail\n\
             deb-src http://m.test/debian bookworm main\n\
             deb http://s.test/debian-security bookworm-security main\n\
             deb cdrom:[x]/ bookworm main\n";
        let entries = parse_list(list);
        let text = render(&entries, wanted(&[], false)).unwrap();
        let expected = "URIs: http://m.test/debian\n\
             Suites: bookworm\n\
             Components: main\n\
             Architectures: amd64\n\
             Signed-By: /k.gpg\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("Suites: bookworm-security\n"));
        assert!(!text.contains("deb-src"));
    }

    #[test]
    fn an_entry_for_another_architecture_is_passed_over() {
        let entries = parse_list("deb [arch=arm64] http://m.test/debian bookworm main");
        assert!(matches!(
            render(&entries, wanted(&[], false)),
            Err(SourcesError::NoArchive { .. })
        ));
    }

    #[test]
    fn a_list_for_another_machine_has_a_line_for_each_suite_and_no_options() {
        let lines = lines(&stanza::parse_stanzas(DEB822), wanted(&[], false)).unwrap();
        assert_eq!(
            lines,
            [
                "deb http://mirror.test/debian bookworm main contrib",
                "deb http://mirror.test/debian bookworm-updates main contrib"
            ]
        );
        let other = parse_list("deb http://m.test/ubuntu noble main");
        super::lines(&other, wanted(&[], false)).unwrap_err();
    }

    #[test]
    fn a_mirror_named_by_hand_replaces_the_entries() {
        let mirrors = [
            Mirror::of("http://own.test/debian", "bookworm"),
            Mirror::of("http://own.test/debian-security/", "bookworm"),
        ];
        let text = render(&stanza::parse_stanzas(DEB822), wanted(&mirrors, false)).unwrap();
        assert!(text.contains("Suites: bookworm bookworm-updates\n"));
        assert!(text.contains("Suites: bookworm-security\n"));
        assert!(!text.contains("mirror.test"));
    }
    const WITH_SECURITY: &str = "deb http://m.test/debian bookworm main\n\
         deb http://u:secret@s.test/debian-security bookworm-security main contrib\n";

    #[test]
    fn the_security_suite_of_the_machine_can_be_used_beside_a_mirror() {
        let mirrors = [Mirror::of("http://own.test/debian", "bookworm")];
        let entries = parse_list(WITH_SECURITY);
        let alone = wanted(&mirrors, false);
        let with = Wanted {
            machine_security: true,
            ..alone
        };
        let with = lines(&entries, with).unwrap();
        assert_eq!(
            with,
            [
                "deb http://own.test/debian bookworm main",
                "deb http://own.test/debian bookworm-updates main",
                "deb http://s.test/debian-security bookworm-security main contrib"
            ]
        );
        let is_security = |line: &String| is_security_line(line, "bookworm");
        assert_eq!(with.iter().filter(|line| is_security(line)).count(), 1);
        assert!(!lines(&entries, alone).unwrap().iter().any(is_security));
    }

    #[test]
    fn an_archive_whose_signature_is_not_checked_is_refused_unless_that_is_allowed() {
        for (option, field) in [
            ("trusted=yes", "Trusted"),
            ("trusted=TRUE", "Trusted"),
            ("allow-insecure=1", "Allow-Insecure"),
            ("arch=amd64 allow-weak=on", "Allow-Weak"),
            (
                "allow-downgrade-to-insecure=yes",
                "Allow-Downgrade-To-Insecure",
            ),
        ] {
            let list = format!("deb [{option}] http://u:p@m.test/debian bookworm main");
            let entries = parse_list(&list);
            let error = render(&entries, wanted(&[], false)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "apt on this machine takes packages of http://m.test/debian without a signature (`{field}: yes`)"
                )
            );
            assert!(error.hint().unwrap().contains("--allow-unsigned-archive"));
            lines(&entries, wanted(&[], false)).unwrap_err();
            let allowed = Wanted {
                allow_unsigned: true,
                ..wanted(&[], false)
            };
            assert!(render(&entries, allowed).unwrap().contains(field));
            let lines = lines(&entries, allowed).unwrap();
            assert_eq!(lines, ["deb http://m.test/debian bookworm main"]);
        }
        for good in [
            "deb [trusted=no] http://m.test/debian bookworm main",
            "deb http://m.test/debian bookworm main\ndeb [trusted=yes] http://x.test/ other main",
        ] {
            render(&parse_list(good), wanted(&[], false)).unwrap();
        }
        let deb822 = format!(
            "{}Trusted: yes\n",
            "Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main\n"
        );
        let entries = stanza::parse_stanzas(&deb822);
        render(&entries, wanted(&[], false)).unwrap_err();
    }
}
