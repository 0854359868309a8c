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
mod mirror;
mod one_line;
mod select;
pub mod stanza;

pub use apt_conf::Proxies;
pub use cache::Cache;
pub use config::{APT_CONFIG, AptConfig};
pub use error::{ArchiveError, SourcesError};
pub use mirror::Mirror;
pub use select::Wanted;

use crate::select::{security_suites, select, without_password};
use crate::stanza::Stanza;

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

#[cfg(test)]
mod tests;
