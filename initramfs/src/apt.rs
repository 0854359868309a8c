//! apt with a private state: it sees the archive but not the packages installed on this machine, and changes nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apt_sources::stanza::{self, Stanza};
use apt_sources::{AptConfig, Wanted};
use host::exec::{Cmd, Exec, ExecError};

use crate::error::{self, Error};
use crate::lock::{self, Package};
use crate::tools::Tool;

/// Debian's name of the ramdisk's architecture, the only one supported.
pub(crate) const ARCHITECTURE: &str = "amd64";

/// Time limit of one download: kernels and firmware are large, and connections may be slow.
const DOWNLOAD_TIME: Duration = Duration::from_hours(1);

/// One version of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackageVersion {
    /// Name of the package.
    pub(crate) name: String,
    /// Version with epoch.
    pub(crate) version: String,
}

/// Proxies from this process's environment variables, which started programs do not inherit.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `http_proxy`.
    pub http: Option<String>,
    /// `https_proxy`.
    pub https: Option<String>,
    /// `no_proxy`.
    pub none_for: Option<String>,
}

impl Proxies {
    /// Reads the variables; empty ones count as unset.
    pub fn of_environment() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            http: var("http_proxy"),
            https: var("https_proxy"),
            none_for: var("no_proxy"),
        }
    }
}

/// apt, configured for one release and an empty machine. The package lists are fetched at the first query.
pub(crate) struct Apt<'e> {
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

/// The configuration file, which disables the machine's packages, pins and hooks.
fn render_config(state: &Path, proxies: &Proxies, config: &AptConfig) -> String {
    let at = |below: &str| state.join(below).display().to_string();
    let mut text = String::from(
        "#clear APT::Architectures;\n#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n",
    );
    let settings = [
        ("Dir::State", at("state")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("Dir::Etc::sourcelist", "/dev/null".to_owned()),
        ("Dir::Etc::sourceparts", at("sources.list.d")),
        ("Dir::Etc::preferences", "/dev/null".to_owned()),
        ("Dir::Etc::preferencesparts", at("preferences.d")),
        ("APT::Architecture", ARCHITECTURE.to_owned()),
        ("APT::Architectures::", ARCHITECTURE.to_owned()),
        ("APT::Install-Recommends", "false".to_owned()),
        // The state is in a folder of the user, which apt's own user may not enter.
        ("APT::Sandbox::User", "root".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::Retries", "3".to_owned()),
    ];
    for (key, value) in settings {
        let _ = writeln!(text, "{key} \"{value}\";");
    }
    // As in apt, a configured proxy overrides the environment.
    let environment = [
        ("http", &proxies.http, config.http_proxy),
        ("https", &proxies.https, config.https_proxy),
    ];
    for (scheme, proxy, configured) in environment {
        if let (Some(proxy), false) = (proxy, configured)
            && !proxy.contains(['"', '\n'])
        {
            let _ = writeln!(text, "Acquire::{scheme}::Proxy \"{proxy}\";");
        }
    }
    text
}

impl<'e> Apt<'e> {
    /// apt with its state below `state`, an absolute path.
    pub(crate) fn new(
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

    /// Writes the configuration and fetches the package lists, once.
    fn ensure_lists(&mut self) -> Result<(), Error> {
        if self.ready {
            return Ok(());
        }
        let config = AptConfig::read(self.exec)?;
        for folder in [
            "state/lists/partial",
            "cache/archives/partial",
            "sources.list.d",
            "preferences.d",
        ] {
            let path = self.state.join(folder);
            fs::create_dir_all(&path).map_err(error::io("create", &path))?;
        }
        let entries = config.entries()?;
        write_private(&self.state.join("status"), "")?;
        write_private(
            &self.state.join("sources.list.d/release.sources"),
            &apt_sources::render(&entries, self.wanted)?,
        )?;
        write_private(
            &self.state.join("apt.conf"),
            &render_config(&self.state, &self.proxies, &config),
        )?;
        // Without the option, apt only warns of a list that it could not fetch, and uses an old one.
        let update = self
            .command(Tool::AptGet)
            .args(["-qq", "--error-on=any", "update"]);
        self.exec
            .run(&update)
            .map_err(error::tool("fetch apt's package lists"))?;
        self.ready = true;
        Ok(())
    }

    /// A command with the private state.
    fn command(&self, tool: Tool) -> Cmd {
        let cmd = Cmd::new(tool).arg("-c").arg(self.state.join("apt.conf"));
        match &self.proxies.none_for {
            Some(hosts) => cmd.env("no_proxy", hosts),
            None => cmd,
        }
    }

    /// The packages that apt would install on an empty machine to install `roots`.
    pub(crate) fn closure(&mut self, roots: &[String]) -> Result<Vec<PackageVersion>, Error> {
        self.ensure_lists()?;
        let cmd = self
            .command(Tool::AptGet)
            .args(["-qq", "--print-uris", "install"])
            .args(roots);
        let output = self.exec.run(&cmd).map_err(|source| {
            let unknown = unknown_package(&source);
            match unknown {
                Some(package) => Error::NoPackage {
                    package,
                    suite: self.wanted.suite.to_owned(),
                },
                None => error::tool("resolve the packages")(source),
            }
        })?;
        parse_uris(&output.stdout)
    }

    /// The entries of `packages` in the package lists.
    pub(crate) fn show(&mut self, packages: &[PackageVersion]) -> Result<Vec<Stanza>, Error> {
        self.ensure_lists()?;
        let cmd = self
            .command(Tool::AptCache)
            .arg("show")
            .args(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
        let output = self
            .exec
            .run(&cmd)
            .map_err(error::tool("read the package lists"))?;
        Ok(stanza::parse_stanzas(&output.stdout))
    }

    /// Runs other programs while `Apt` borrows the [`Exec`].
    pub(crate) fn exec(&mut self) -> &mut dyn Exec {
        self.exec
    }

    /// Downloads all packages that are not in the folder `cache` with one call of apt: it reads its lists for each call,
    /// which takes longer than most downloads. A failure is only a warning: [`Self::fetch`] then downloads each package
    /// by itself, and its error names the one that is not available.
    pub(crate) fn prefetch(&mut self, packages: &[Package], cache: &Path) -> Result<(), Error> {
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
            .command(Tool::AptGet)
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

    /// Path of the package file in the folder `cache`. It is downloaded if it is missing or its sha256 is not the lock's.
    pub(crate) fn fetch(&mut self, package: &Package, cache: &Path) -> Result<PathBuf, Error> {
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
            .command(Tool::AptGet)
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
            return Err(Error::WrongDigest {
                package: package.name.clone(),
                version: package.version.clone(),
            });
        }
        fs::rename(&fetched, &path).map_err(error::io("write", &path))?;
        Ok(path)
    }
}

/// A temporary folder for downloads, so that an interrupted one is never taken for a package file.
fn download_folder(cache: &Path) -> Result<tempfile::TempDir, Error> {
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
fn gone_or(cause: ExecError, package: &Package, cache: &Path) -> Error {
    let is_gone = matches!(&cause, ExecError::Failed { stderr, .. }
        if ["was not found", "Unable to locate", "404"].iter().any(|word| stderr.contains(word)));
    if is_gone {
        gone(package, cache)
    } else {
        error::tool(format!("fetch the package `{}`", package.name))(cause)
    }
}

fn gone(package: &Package, cache: &Path) -> Error {
    Error::LockedVersionGone {
        package: package.name.clone(),
        version: package.version.clone(),
        cache: cache.to_owned(),
    }
}

/// Writes a file that only its owner may read: URLs of proxies and mirrors can contain passwords.
fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
        .map_err(error::io("write", path))
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
fn parse_uris(text: &str) -> Result<Vec<PackageVersion>, Error> {
    let mut packages = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('\'')) {
        let file = line.split_whitespace().nth(1).unwrap_or_default();
        let mut words = file.trim_end_matches(".deb").split('_');
        let (Some(name), Some(version), Some(_)) = (words.next(), words.next(), words.next())
        else {
            return Err(Error::AptOutput {
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
    fn a_configured_proxy_beats_the_environment() {
        let proxies = Proxies {
            http: Some("http://p.test:1".to_owned()),
            https: Some("http://p.test:2".to_owned()),
            none_for: None,
        };
        let mut script = Script::new().answering("apt-config", "HTTP='http://own.test'\n");
        let config = AptConfig::read(&mut script).unwrap();
        let text = render_config(Path::new("/s"), &proxies, &config);
        assert!(!text.contains("Acquire::http::Proxy"));
        assert!(text.contains("Acquire::https::Proxy \"http://p.test:2\";"));
    }

    #[test]
    fn apt_does_not_see_installed_packages() {
        let text = render_config(Path::new("/s"), &Proxies::default(), &AptConfig::default());
        assert!(text.contains("Dir::State::status \"/s/status\";"));
        assert!(text.contains("Dir::Etc::preferences \"/dev/null\";"));
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
            architecture: ARCHITECTURE,
            mirrors: &[],
            firmware: false,
        };
        let state = dir.path().join("apt");
        let mut apt = Apt::new(&mut script, state, wanted, proxies);
        apt.closure(&["a".to_owned()]).unwrap();
        apt.closure(&["b".to_owned()]).unwrap();
        let mode = fs::metadata(dir.path().join("apt/apt.conf"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
        let transcript = script.transcript();
        assert!(!transcript.contains("secret"));
        assert_eq!(transcript.matches(" update\n").count(), 1);
    }
}
