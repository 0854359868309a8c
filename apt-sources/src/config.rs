//! The machine's configuration of apt: where its entries are, and whether it has a proxy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use host::exec::{Cmd, Exec, Program};

use crate::stanza::{self, Stanza};
use crate::{SourcesError, one_line};

/// Reads apt's configuration.
pub const APT_CONFIG: Program = Program::new("apt-config", "apt");

/// The machine's configuration of apt, as `apt-config shell` prints it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AptConfig {
    list: Option<PathBuf>,
    parts: Option<PathBuf>,
    /// Whether a proxy for http is configured.
    pub http_proxy: bool,
    /// Whether a proxy for https is configured.
    pub https_proxy: bool,
}

impl AptConfig {
    /// Runs `apt-config`.
    pub fn read(exec: &mut dyn Exec) -> Result<Self, SourcesError> {
        let cmd = Cmd::new(APT_CONFIG).args([
            "shell",
            "LIST",
            "Dir::Etc::sourcelist/f",
            "PARTS",
            "Dir::Etc::sourceparts/d",
            "HTTP",
            "Acquire::http::Proxy",
            "HTTPS",
            "Acquire::https::Proxy",
        ]);
        Ok(Self::parse(&exec.run(&cmd)?.stdout))
    }

    /// Reads `NAME='value'` lines.
    fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim_matches('\'').replace(r"'\''", "'");
            match name {
                "LIST" => config.list = Some(value.into()),
                "PARTS" => config.parts = Some(value.into()),
                "HTTP" => config.http_proxy = !value.is_empty(),
                "HTTPS" => config.https_proxy = !value.is_empty(),
                _ => {}
            }
        }
        config
    }

    /// Reads all entries: those of the file `sources.list`, then those of the folder in the order of file names.
    pub fn entries(&self) -> Result<Vec<Stanza>, SourcesError> {
        let mut entries = Vec::new();
        if let Some(list) = self.list.as_deref().filter(|list| list.is_file()) {
            entries.extend(one_line::parse_list(&read_file(list)?));
        }
        let Some(parts) = self.parts.as_deref().filter(|parts| parts.is_dir()) else {
            return Ok(entries);
        };
        let mut files = fs::read_dir(parts)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable(parts))?;
        files.sort_by_key(fs::DirEntry::file_name);
        for file in files {
            let path = file.path();
            let parse = match path.extension().and_then(|kind| kind.to_str()) {
                Some("list") => one_line::parse_list,
                Some("sources") => stanza::parse_stanzas,
                _ => continue,
            };
            entries.extend(parse(&read_file(&path)?));
        }
        Ok(entries)
    }
}

fn read_file(path: &Path) -> Result<String, SourcesError> {
    fs::read_to_string(path).map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> SourcesError {
    let path = path.to_owned();
    |source| SourcesError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_read_from_apt_config() {
        let answer =
            "LIST='/etc/apt/sources.list'\nPARTS='/etc/apt/it'\\''s'\nHTTP='http://own.test'\n";
        let mut script = host::fake::Script::new().answering("apt-config shell LIST", answer);
        let config = AptConfig::read(&mut script).unwrap();
        let expected = AptConfig {
            list: Some("/etc/apt/sources.list".into()),
            parts: Some("/etc/apt/it's".into()),
            http_proxy: true,
            https_proxy: false,
        };
        assert_eq!(config, expected);
        let mut script = host::fake::Script::new().without(APT_CONFIG);
        AptConfig::read(&mut script).unwrap_err();
    }

    #[test]
    fn files_of_the_machine_are_read_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(parts.join("b.list"), "deb http://b.test/ bookworm main").unwrap();
        fs::write(
            parts.join("a.sources"),
            "Types: deb\nURIs: http://a.test\nSuites: bookworm\nComponents: main",
        )
        .unwrap();
        fs::write(
            parts.join("c.list.save"),
            "deb http://c.test/ bookworm main",
        )
        .unwrap();
        let config = AptConfig {
            list: Some(dir.path().join("none")),
            parts: Some(parts),
            ..AptConfig::default()
        };
        let entries = config.entries().unwrap();
        let uris: Vec<_> = entries.iter().filter_map(|e| e.field("URIs")).collect();
        assert_eq!(uris, ["http://a.test", "http://b.test/"]);
    }
}
