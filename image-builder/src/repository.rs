//! The exact packages of an image: their lock, and a local archive that has these and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use apt_sources::apt::Apt;
use apt_sources::lock::{self, Lock, Package};
use apt_sources::stanza::Stanza;
use apt_sources::{Cache, Proxies};
use host::exec::{Cmd, Exec};
use sha2::{Digest, Sha256};
use tracing::info;

use crate::cli::Build;
use crate::debian;
use crate::sources::Sources;
use crate::tools::Tool;

/// The packages of an image, and the folder with their files.
#[derive(Debug)]
pub(crate) struct Packages {
    /// Name, version, size and sha256 of each package.
    pub(crate) lock: Lock,
    /// Their archive: one folder with an index, as apt reads it.
    pub(crate) repository: PathBuf,
}

impl Packages {
    /// Chooses the packages, by the lock where there is one, fetches those that are not in the cache, and makes an
    /// archive of them in `repository`, which is created.
    ///
    /// Nothing is asked of the network where the lock exists and the cache has all of its packages.
    pub(crate) fn collect(
        options: &Build,
        exec: &mut dyn Exec,
        repository: &Path,
        now: u32,
    ) -> Result<Self> {
        let roots = debian::roots(options);
        let lock = match &options.lock {
            Some(path) if !options.renew_lock => Lock::read(path)?,
            _ => None,
        };
        if let (Some(lock), Some(path)) = (&lock, &options.lock) {
            lock.check(path, debian::RELEASE, &roots)?;
        }
        let cache = Cache::open(&options.cache)?;
        let (lock, files) = match cached(lock, cache.folder())? {
            Held::Complete(lock, files) => (lock, files),
            Held::Incomplete(lock) => fetch(lock, &roots, options, exec, &cache, now)?,
        };
        fs::create_dir(repository)
            .with_context(|| format!("cannot create {}", repository.display()))?;
        let mut index = String::new();
        for (package, file) in lock.packages.iter().zip(&files) {
            place(file, &repository.join(package.file_name()))?;
            index.push_str(&paragraph(package, file, exec)?);
        }
        write_index(repository, &index)?;
        Ok(Self {
            lock,
            repository: repository.to_owned(),
        })
    }

    /// The line of a sources.list for this archive. Its files have just been compared with the lock, which was made
    /// from lists that apt has checked: there is no signature to check again.
    pub(crate) fn line(&self) -> String {
        let folder = self.repository.display().to_string();
        let folder = folder.replace('%', "%25").replace(' ', "%20");
        format!("deb [trusted=yes] copy:{folder} ./\n")
    }

    /// Takes this archive out of the sources of the system in `root`, where mmdebstrap has left it.
    pub(crate) fn leave(&self, root: &Path) -> Result<()> {
        let folder = root.join("etc/apt/sources.list.d");
        let what = || format!("cannot look through {}", folder.display());
        let files = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files.with_context(what)?,
        };
        for file in files {
            let path = file.with_context(what)?.path();
            let text = fs::read(&path).with_context(what)?;
            if text.trim_ascii() == self.line().trim_ascii().as_bytes() {
                fs::remove_file(&path).with_context(what)?;
            }
        }
        Ok(())
    }
}

/// What is at hand before anything is fetched.
enum Held {
    /// The lock, and the file of each of its packages.
    Complete(Lock, Vec<PathBuf>),
    /// The lock, if there is one.
    Incomplete(Option<Lock>),
}

/// Looks for the files of the lock in the cache, and compares their digests.
fn cached(lock: Option<Lock>, cache: &Path) -> Result<Held> {
    let Some(lock) = lock else {
        return Ok(Held::Incomplete(None));
    };
    let mut files = Vec::new();
    for package in &lock.packages {
        let file = cache.join(package.file_name());
        if !file.exists() || lock::sha256_of(&file)? != package.sha256 {
            return Ok(Held::Incomplete(Some(lock)));
        }
        files.push(file);
    }
    Ok(Held::Complete(lock, files))
}

/// Makes the lock where there is none yet, and fetches its packages.
fn fetch(
    lock: Option<Lock>,
    roots: &[String],
    options: &Build,
    exec: &mut dyn Exec,
    cache: &Cache,
    now: u32,
) -> Result<(Lock, Vec<PathBuf>)> {
    let (state, proxies) = (cache.apt_state()?, Proxies::of_environment());
    let sources = Sources::choose(options, exec, &state, &proxies)?;
    let mut apt = Apt::new(exec, state, sources.wanted(), proxies);
    let lock = match lock {
        Some(lock) => lock,
        None => resolve(&mut apt, roots, &sources, now)?,
    };
    apt.prefetch(&lock.packages, cache.folder())?;
    let files: Result<_, _> = lock
        .packages
        .iter()
        .map(|package| apt.fetch(package, cache.folder()))
        .collect();
    let files = files?;
    // it replaces an earlier lock only when its packages could be had
    if let Some(path) = &options.lock {
        lock.write(path)?;
        info!(packages = lock.packages.len(), lock = %path.display(), "locked");
    }
    Ok((lock, files))
}

/// Chooses today's versions.
fn resolve(apt: &mut Apt<'_>, roots: &[String], sources: &Sources, now: u32) -> Result<Lock> {
    info!("choosing package versions");
    let closure = apt.closure(roots)?;
    // a version may be in several suites
    let known = apt.show(&closure)?;
    let packages: Result<BTreeMap<_, _>, _> = known
        .iter()
        .map(|stanza| Package::of(stanza).map(|package| (package.name.clone(), package)))
        .collect();
    let packages = packages?.into_values().collect();
    let mut lock = Lock::new(debian::RELEASE, debian::ARCHITECTURE, now, roots, packages);
    lock.sources.clone_from(&sources.lines);
    let base = known.iter().filter(|stanza| is_base(stanza));
    let base: BTreeSet<_> = base.filter_map(|stanza| stanza.field("Package")).collect();
    lock.base = base.into_iter().map(str::to_owned).collect();
    Ok(lock)
}

/// Whether every system has the package, as mmdebstrap's variant `minbase` means it.
fn is_base(stanza: &Stanza) -> bool {
    stanza.field("Package") == Some("apt")
        || stanza.field("Essential") == Some("yes")
        || stanza.field("Priority") == Some("required")
}

/// Puts a file of the cache into the archive, without copying it where both are on one filesystem.
fn place(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// The paragraph of the index for one package: its own description, and what it is compared with.
fn paragraph(package: &Package, file: &Path, exec: &mut dyn Exec) -> Result<String> {
    let cmd = Cmd::new(Tool::DpkgDeb).arg("-f").arg(file);
    let description = exec.run(&cmd);
    let description =
        description.with_context(|| format!("cannot read the package `{}`", package.name))?;
    Ok(format!(
        "{}\nFilename: ./{}\nSize: {}\nSHA256: {}\n\n",
        description.stdout.trim_end(),
        package.file_name(),
        package.size_bytes,
        package.sha256
    ))
}

/// Writes the index, and the file that gives the archive the release's name: mmdebstrap takes essential packages of
/// that name only.
fn write_index(repository: &Path, index: &str) -> Result<()> {
    let mut release = format!("Suite: {0}\nCodename: {0}\n", debian::RELEASE);
    let digest = os_image::hex::text(&Sha256::digest(index));
    let _ = writeln!(release, "Architectures: {}", debian::ARCHITECTURE);
    let _ = writeln!(release, "SHA256:\n {digest} {} Packages", index.len());
    for (name, text) in [("Packages", index), ("Release", &release)] {
        let path = repository.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_system_has_is_what_the_archive_says() {
        for (paragraph, expected) in [
            ("Package: a\nPriority: required\n", true),
            ("Package: a\nEssential: yes\nPriority: optional\n", true),
            // required in Debian's lists, but important in the package file
            ("Package: apt\nPriority: important\n", true),
            ("Package: a\nPriority: important\n", false),
        ] {
            let stanzas = apt_sources::stanza::parse_stanzas(paragraph);
            assert_eq!(is_base(&stanzas[0]), expected, "{paragraph}");
        }
    }

    #[test]
    fn the_local_archive_is_taken_out_of_the_image_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/apt/sources.list.d");
        let packages = Packages {
            lock: Lock::new("bookworm", "amd64", 7, &[], vec![]),
            repository: "/work folder/x".into(),
        };
        packages.leave(root.path()).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let line = packages.line();
        assert_eq!(line, "deb [trusted=yes] copy:/work%20folder/x ./\n");
        fs::write(folder.join("0000sources.list"), line).unwrap();
        fs::write(folder.join("vendor.list"), "deb http://v.test/ x main\n").unwrap();
        packages.leave(root.path()).unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(folder.join("vendor.list").exists());
    }
}
