//! Package sources for one Debian release: those of the machine's apt, or mirrors given by the user.
//!
//! `apt-config` prints where the entries are; they are parsed here, in both formats (one line, deb822), because apt
//! prints neither their keys nor their other options. No mirror is built in.

mod config;
mod one_line;
pub mod stanza;

pub use config::{APT_CONFIG, AptConfig};

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use host::exec::ExecError;

use crate::stanza::Stanza;

/// Keys of Debian's archive, on Debian and on derivatives that have the package.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The suites of one release: the release itself, its updates, its security fixes.
fn suites_of(release: &str) -> [String; 4] {
    [
        release.to_owned(),
        format!("{release}-updates"),
        format!("{release}-security"),
        format!("{release}/updates"),
    ]
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

/// Entries for mirrors given by the user. A mirror whose URL ends in `-security` has the security suite.
fn of_mirrors(mirrors: &[String], release: &str) -> Vec<Stanza> {
    mirrors
        .iter()
        .map(|uri| {
            let security = uri.trim_end_matches('/').ends_with("-security");
            let suites = if security {
                format!("{release}-security")
            } else {
                format!("{release} {release}-updates")
            };
            let mut entry = Stanza::default();
            entry.set("Types", "deb".to_owned());
            entry.set("URIs", uri.clone());
            entry.set("Suites", suites);
            entry.set("Components", "main".to_owned());
            if Path::new(DEBIAN_KEYS).exists() {
                entry.set("Signed-By", DEBIAN_KEYS.to_owned());
            }
            entry
        })
        .collect()
}

/// Which packages are needed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Code name of the release, like `bookworm`.
    pub suite: &'a str,
    /// Debian's name of the architecture, like `amd64`.
    pub architecture: &'a str,
    /// URLs of mirrors given by the user; if there are any, the machine's entries are not used.
    pub mirrors: &'a [String],
    /// Whether firmware is needed, which has a component of its own (`non-free-firmware`).
    pub firmware: bool,
}

/// The entries that have the wanted packages, reduced to them.
fn select(entries: &[Stanza], wanted: Wanted<'_>) -> Result<Vec<Stanza>, SourcesError> {
    let extra: &[&str] = if wanted.firmware {
        &["non-free-firmware"]
    } else {
        &[]
    };
    let by_hand = of_mirrors(wanted.mirrors, wanted.suite);
    let entries = if by_hand.is_empty() {
        entries
    } else {
        &by_hand
    };
    let chosen: Vec<_> = entries
        .iter()
        .filter_map(|entry| narrowed(entry, wanted.suite, wanted.architecture, extra))
        .collect();
    if !has_release(&chosen, wanted.suite) {
        return Err(SourcesError::NoArchive {
            suite: wanted.suite.to_owned(),
        });
    }
    Ok(chosen)
}

/// The text of a `.sources` file (deb822) with exactly the wanted entries.
pub fn render(entries: &[Stanza], wanted: Wanted<'_>) -> Result<String, SourcesError> {
    let chosen = select(entries, wanted)?;
    let paragraphs: Vec<String> = chosen.iter().map(Stanza::render).collect();
    Ok(paragraphs.join("\n"))
}

/// The text of a `sources.list` with the wanted entries, for another machine: without options, which may name files of
/// this machine.
pub fn render_lines(entries: &[Stanza], wanted: Wanted<'_>) -> Result<String, SourcesError> {
    let mut text = String::new();
    for entry in select(entries, wanted)? {
        let components = entry.words("Components").join(" ");
        for uri in entry.words("URIs") {
            for suite in entry.words("Suites") {
                let _ = writeln!(text, "deb {uri} {suite} {components}");
            }
        }
    }
    Ok(text)
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

    fn wanted(mirrors: &[String], firmware: bool) -> Wanted<'_> {
        Wanted {
            suite: "bookworm",
            architecture: "amd64",
            mirrors,
            firmware,
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
        let lines = render_lines(&stanza::parse_stanzas(DEB822), wanted(&[], false)).unwrap();
        assert_eq!(
            lines,
            "deb http://mirror.test/debian bookworm main contrib\n\
             deb http://mirror.test/debian bookworm-updates main contrib\n"
        );
        let other = parse_list("deb http://m.test/ubuntu noble main");
        render_lines(&other, wanted(&[], false)).unwrap_err();
    }

    #[test]
    fn a_mirror_named_by_hand_replaces_the_entries() {
        let mirrors = [
            "http://own.test/debian".to_owned(),
            "http://own.test/debian-security/".to_owned(),
        ];
        let text = render(&stanza::parse_stanzas(DEB822), wanted(&mirrors, false)).unwrap();
        assert!(text.contains("Suites: bookworm bookworm-updates\n"));
        assert!(text.contains("Suites: bookworm-security\n"));
        assert!(!text.contains("mirror.test"));
    }
}
