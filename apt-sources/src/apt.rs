//! apt with a private state: it sees the archive but not the packages installed on this machine, and changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::exec::{Cmd, Exec, ExecError, Program};

use crate::apt_conf::{self, Proxies, write_private};
use crate::error::{self, ArchiveError};
use crate::lock::{self, Package};
use crate::stanza::{self, Stanza};
use crate::{AptConfig, Mirror, Wanted};

/// Reads apt's package lists.
const APT_CACHE: Program = Program::new("apt-cache", "apt");

/// Downloads packages, and lists what apt would install.
const APT_GET: Program = Program::new("apt-get", "apt");

/// Time limit of one download: kernels and firmware are large, and connections may be slow.
const DOWNLOAD_TIME: Duration = Duration::from_hours(1);

/// Bytes of apt's answers that are kept: a system has hundreds of packages, with some KiB of description each.
const LISTS_MAX: usize = 64 << 20;

/// One version of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageVersion {
    /// Name of the package.
    pub name: String,
    /// Version with epoch.
    pub version: String,
}

/// apt, configured for one release and an empty machine. The package lists are fetched at the first query.
pub struct Apt<'e> {
    exec: &'e mut dyn Exec,
    state: PathBuf,
    wanted: Wanted<'e>,
    proxies: Proxies,
    ready: bool,
}

impl std::fmt::Debug for Apt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apt")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<'e> Apt<'e> {
    /// apt with its state below `state`, an absolute path.
    pub fn new(
        exec: &'e mut dyn Exec,
        state: PathBuf,
        wanted: Wanted<'e>,
        proxies: Proxies,
    ) -> Self {
        Self {
            exec,
            state,
            wanted,
            proxies,
            ready: false,
        }
    }

    /// Whether apt can fetch the package lists of `mirror`. A mirror that has only some of its suites has none.
    pub fn answers(
        exec: &mut dyn Exec,
        state: &Path,
        mirror: &Mirror,
        wanted: Wanted<'_>,
        proxies: &Proxies,
    ) -> Result<bool, ArchiveError> {
        let config = AptConfig::read(exec)?;
        let entry = crate::render_mirror(mirror, wanted);
        let apt = Apt::new(exec, state.to_owned(), wanted, proxies.clone());
        apt.prepare(&config, &entry)?;
        let update = apt.update();
        match apt.exec.run(&update) {
            Ok(_) => Ok(true),
            Err(ExecError::Failed { .. }) => Ok(false),
            Err(error) => Err(error::tool("fetch apt's package lists")(error)),
        }
    }

    /// Writes the configuration and fetches the package lists, once.
    fn ensure_lists(&mut self) -> Result<(), ArchiveError> {
        if self.ready {
            return Ok(());
        }
        let config = AptConfig::read(self.exec)?;
        let entries = crate::render(&config.entries()?, self.wanted)?;
        self.prepare(&config, &entries)?;
        let update = self.update();
        self.exec
            .run(&update)
            .map_err(error::tool("fetch apt's package lists"))?;
        self.ready = true;
        Ok(())
    }

    /// The command that fetches the lists. Without its option, apt only warns of a list that it could not fetch, and
    /// uses an old one.
    fn update(&self) -> Cmd {
        self.command(APT_GET)
            .args(["-qq", "--error-on=any", "update"])
    }

    /// Writes the configuration for the archives of `entries`.
    fn prepare(&self, config: &AptConfig, entries: &str) -> Result<(), ArchiveError> {
        for folder in [
            "state/lists/partial",
            "cache/archives/partial",
            "sources.list.d",
            "preferences.d",
        ] {
            let path = self.state.join(folder);
            fs::create_dir_all(&path).map_err(error::io("create", &path))?;
        }
        write_private(&self.state.join("status"), "")?;
        let sources = self.state.join("sources.list.d/release.sources");
        write_private(&sources, entries)?;
        let text = apt_conf::render(&self.state, &self.wanted, &self.proxies, config);
        write_private(&self.state.join("apt.conf"), &text)
    }

    /// A command with the private state.
    fn command(&self, program: Program) -> Cmd {
        let cmd = Cmd::new(program).arg("-c").arg(self.state.join("apt.conf"));
        match &self.proxies.none_for {
            Some(hosts) => cmd.env("no_proxy", hosts),
            None => cmd,
        }
    }

    /// The packages that apt would install on an empty machine to install `roots`.
    pub fn closure(&mut self, roots: &[String]) -> Result<Vec<PackageVersion>, ArchiveError> {
        self.ensure_lists()?;
        let cmd = self
            .command(APT_GET)
            .args(["-qq", "--print-uris", "install"])
            .keep(LISTS_MAX)
            .args(roots);
        let output = self.exec.run(&cmd).map_err(|source| {
            let unknown = unknown_package(&source);
            match unknown {
                Some(package) => ArchiveError::NoPackage {
                    package,
                    suite: self.wanted.suite.to_owned(),
                },
                None => error::tool("resolve the packages")(source),
            }
        })?;
        parse_uris(&output.stdout)
    }

    /// The entries of `packages` in the package lists.
    pub fn show(&mut self, packages: &[PackageVersion]) -> Result<Vec<Stanza>, ArchiveError> {
        self.ensure_lists()?;
        let cmd = self
            .command(APT_CACHE)
            .arg("show")
            .keep(LISTS_MAX)
            .args(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
        let output = self
            .exec
            .run(&cmd)
            .map_err(error::tool("read the package lists"))?;
        Ok(stanza::parse_stanzas(&output.stdout))
    }

    /// Runs other programs while `Apt` borrows the [`Exec`].
    pub fn exec(&mut self) -> &mut dyn Exec {
        self.exec
    }

    /// Downloads all packages that are not in the folder `cache` with one call of apt: it reads its lists for each
    /// call, which takes longer than most downloads. A failure is only a warning: [`Self::fetch`] then downloads each
    /// package by itself, and its error names the one that is not available.
    pub fn prefetch(&mut self, packages: &[Package], cache: &Path) -> Result<(), ArchiveError> {
        let missing: BTreeSet<&Package> = packages
            .iter()
            .filter(|package| !cache.join(package.file_name()).exists())
            .collect();
        if missing.len() < 2 {
            return Ok(());
        }
        self.ensure_lists()?;
        tracing::info!(packages = missing.len(), "fetch");
        let download = download_folder(cache)?;
        let cmd = self
            .command(APT_GET)
            .args(["-qq", "download"])
            .args(missing.iter().map(|package| exact(package)))
            .directory(download.path())
            .timeout(DOWNLOAD_TIME);
        if let Err(error) = self.exec.run(&cmd) {
            tracing::warn!(%error, "cannot download all packages at once; downloading each by itself");
        }
        for package in missing {
            let fetched = download.path().join(package.file_name());
            if fetched.exists() && lock::sha256_of(&fetched)? == package.sha256 {
                let path = cache.join(package.file_name());
                fs::rename(&fetched, &path).map_err(error::io("write", &path))?;
            }
        }
        Ok(())
    }

    /// Path of the package file in the folder `cache`. It is downloaded if it is missing or its sha256 is not the
    /// lock's.
    pub fn fetch(&mut self, package: &Package, cache: &Path) -> Result<PathBuf, ArchiveError> {
        let path = cache.join(package.file_name());
        if path.exists() {
            if lock::sha256_of(&path)? == package.sha256 {
                return Ok(path);
            }
            tracing::warn!(file = %path.display(), "sha256 differs from the lock; downloading again");
        }
        self.ensure_lists()?;
        let download = download_folder(cache)?;
        let cmd = self
            .command(APT_GET)
            .args(["-qq", "download"])
            .arg(exact(package))
            .directory(download.path())
            .timeout(DOWNLOAD_TIME);
        self.exec
            .run(&cmd)
            .map_err(|cause| gone_or(cause, package, cache))?;
        let fetched = download.path().join(package.file_name());
        if !fetched.exists() {
            return Err(gone(package, cache));
        }
        if lock::sha256_of(&fetched)? != package.sha256 {
            return Err(ArchiveError::WrongDigest {
                package: package.name.clone(),
                version: package.version.clone(),
            });
        }
        fs::rename(&fetched, &path).map_err(error::io("write", &path))?;
        Ok(path)
    }
}

/// A temporary folder for downloads, so that an interrupted one is never taken for a package file.
fn download_folder(cache: &Path) -> Result<tempfile::TempDir, ArchiveError> {
    tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(cache)
        .map_err(error::io("create a folder in", cache))
}

/// The argument with which apt downloads this version of the package.
fn exact(package: &Package) -> String {
    format!("{}={}", package.name, package.version)
}

/// Distinguishes "the mirror no longer has this version" from other failures of a download.
fn gone_or(cause: ExecError, package: &Package, cache: &Path) -> ArchiveError {
    let is_gone = matches!(&cause, ExecError::Failed { stderr, .. }
        if ["was not found", "Unable to locate", "404"].iter().any(|word| stderr.contains(word)));
    if is_gone {
        gone(package, cache)
    } else {
        error::tool(format!("fetch the package `{}`", package.name))(cause)
    }
}

fn gone(package: &Package, cache: &Path) -> ArchiveError {
    ArchiveError::LockedVersionGone {
        package: package.name.clone(),
        version: package.version.clone(),
        cache: cache.to_owned(),
    }
}

/// The package in apt's error "Unable to locate package".
fn unknown_package(error: &ExecError) -> Option<String> {
    let ExecError::Failed { stderr, .. } = error else {
        return None;
    };
    stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix("E: Unable to locate package "))
        .map(|name| name.trim().to_owned())
}

/// Parses `'URI' name_version_architecture.deb size digest` lines.
fn parse_uris(text: &str) -> Result<Vec<PackageVersion>, ArchiveError> {
    let mut packages = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('\'')) {
        let file = line.split_whitespace().nth(1).unwrap_or_default();
        let mut words = file.trim_end_matches(".deb").split('_');
        let (Some(name), Some(version), Some(_)) = (words.next(), words.next(), words.next())
        else {
            return Err(ArchiveError::AptOutput {
                subject: "the packages to install".to_owned(),
                why: format!("`{file}` is not the name of a package file"),
            });
        };
        packages.push(PackageVersion {
            name: name.to_owned(),
            version: version.replace("%3a", ":"),
        });
    }
    packages.sort();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::fake::Script;

    #[test]
    fn file_names_give_names_and_versions_with_epochs() {
        let text = "'http://m/pool/l/lvm2_2.03.16-2_amd64.deb' lvm2_2.03.16-2_amd64.deb 1228616 MD5Sum:x\n\
             'http://m/d' dmsetup_2%3a1.02.185-2_amd64.deb 82040 \n\
             NOTE: nothing\n";
        let packages = parse_uris(text).unwrap();
        assert_eq!(packages[0].version, "2:1.02.185-2");
        assert_eq!(packages[1].name, "lvm2");
        assert!(parse_uris("'u' odd 1 x").is_err());
    }

    #[test]
    fn proxies_stay_out_of_command_lines() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("sources.list");
        fs::write(&list, "deb http://m.test/debian bookworm main").unwrap();
        let mut script =
            Script::new().answering("apt-config", &format!("LIST='{}'\n", list.display()));
        let proxies = Proxies {
            http: Some("http://user:secret@p.test".to_owned()),
            ..Proxies::default()
        };
        let wanted = Wanted {
            suite: "bookworm",
            architecture: "amd64",
            mirrors: &[],
            machine_security: false,
            firmware: false,
            allow_unsigned: false,
        };
        let state = dir.path().join("apt");
        let mut apt = Apt::new(&mut script, state, wanted, proxies);
        apt.closure(&["a".to_owned()]).unwrap();
        apt.closure(&["b".to_owned()]).unwrap();
        let transcript = script.transcript();
        assert!(!transcript.contains("secret"));
        assert_eq!(transcript.matches(" update\n").count(), 1);
    }
}
