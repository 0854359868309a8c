//! `build`: makes an image from Debian packages. Output files get their names only when all of them are complete.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use apt_sources::APT_CONFIG;
use apt_sources::lock::{Lock, Package};
use host::cancel::Cancel;
use host::exec::{Exec, ExecError, Program};
use host::mount::{self, KernelMounts};
use sbom::Component;
use tempfile::TempDir;
use tracing::{info, warn};

use crate::cli::Build;
use crate::error::refused;
use crate::filesystem::{self, Seed};
use crate::pack::{self, Built, Packed};
use crate::repository::Packages;
use crate::tools::Tool;
use crate::{debian, installed, settle, sources};

/// Builds the image that `options` describe.
pub(crate) fn build(options: &Build, exec: &mut dyn Exec, cancel: &Cancel) -> Result<Packed> {
    check(options, exec)?;
    for folder in [&options.out, &options.work] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let work = Work::make(&options.work)?;
    let within = fs::canonicalize(work.path()).context("cannot find the work folder")?;
    let at = |name: &str| within.join(name);
    let packages = Packages::collect(options, exec, &at("repository"), now()?)?;
    let lock = &packages.lock;
    sources::warn_of_security(&lock.sources);
    let has_security = sources::have_security(&lock.sources);
    if options.unattended_upgrades && !has_security {
        return Err(refused(
            "`--unattended-upgrades` has nothing to install: no archive with security fixes is known",
            "give one with `--security-mirror URL`",
        ));
    }
    let time = match epoch()? {
        Some(given) => given,
        None => lock.made,
    };
    let (root, list, raw) = (at("root"), at("sources.list"), at("raw"));
    fs::write(&list, packages.line()).context("cannot write sources.list")?;
    info!(
        "unpacking Debian {} with {}",
        debian::RELEASE,
        options.kernel
    );
    let names = debian::packages(options);
    let wanted = [&lock.base[..], &names].concat();
    exec.run(&debian::unpack(&root, &list, &wanted, time))
        .context("cannot unpack Debian")?;
    // mmdebstrap only warns if it cannot unmount what it mounted for the packages' scripts
    work.unmount()?;
    let installed = installed::installed(&root, lock)?;
    packages.leave(&root)?;
    debian::configure(&root, &lock.sources, options.unattended_upgrades)
        .context("cannot write the recipe's files")?;
    settle::settle(&root, time)?;
    let seed = Seed {
        text: seed_text(lock, options)?,
        time,
    };
    filesystem::make(&root, &raw, options.size, &seed, exec)?;
    let built = Built {
        name: &options.name,
        raw: &raw,
        options: debian::image_options(options, has_security),
        packages: &names,
        packing: &options.packing,
        out: &options.out,
        components: installed.into_iter().map(component).collect(),
        properties: properties(lock, has_security),
        time,
    };
    pack::pack_built(&built, exec, cancel)
}

/// The package in the image's bill of materials.
fn component(package: &Package) -> Component {
    Component::debian(
        &package.name,
        &package.version,
        &package.architecture,
        debian::RELEASE,
        &package.sha256,
    )
}

/// Where the packages come from, for the bill of materials.
fn properties(lock: &Lock, has_security: bool) -> Vec<(String, String)> {
    let security = if has_security { "yes" } else { "no" };
    let mut properties = vec![
        ("provision:suite".to_owned(), lock.suite.clone()),
        ("provision:security-updates".to_owned(), security.to_owned()),
    ];
    let lines = lock.sources.iter();
    properties.extend(lines.map(|line| ("provision:source".to_owned(), line.clone())));
    properties
}

/// What the identifiers of an image's filesystem are derived from: its packages and its name.
fn seed_text(lock: &Lock, options: &Build) -> Result<String> {
    let lock = serde_json::to_string(lock).context("cannot describe the lock")?;
    Ok(format!("{}\n{lock}", options.name))
}

/// `SOURCE_DATE_EPOCH`, in seconds since 1970.
fn epoch() -> Result<Option<u32>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| {
        refused(
            format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds since 1970"),
            "set it to such a number, or unset it: the time is that of the lock then",
        )
    })
}

/// The time of a lock that is made now, in seconds since 1970.
fn now() -> Result<u32> {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = age
        .context("this machine's clock is before 1970")?
        .as_secs();
    Ok(u32::try_from(seconds)?)
}

/// The folder that an image is made in. What an interrupted tool left mounted there is unmounted before the folder is
/// removed: removing it would empty the mounted filesystem.
struct Work(Option<TempDir>);

impl Work {
    fn make(within: &Path) -> Result<Self> {
        // The mounts are private and end with this process. Without root, tools cannot mount, and this is not
        // permitted.
        match mount::own_namespace() {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(error).context("cannot create a mount namespace");
            }
            _ => {}
        }
        let folder = tempfile::Builder::new().prefix("image.").tempdir_in(within);
        Ok(Self(Some(folder.context("cannot create a work folder")?)))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    fn unmount(&self) -> Result<()> {
        let folder = fs::canonicalize(self.path()).context("cannot find the work folder")?;
        let left =
            mount::unmount_below(&folder, &mut KernelMounts).context("cannot list mounts")?;
        match left.into_iter().next() {
            Some((at, error)) => {
                Err(error).with_context(|| format!("cannot unmount {}", at.display()))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = self.unmount()
            && let Some(folder) = self.0.take()
        {
            warn!(folder = %folder.keep().display(), "the work folder was not removed: {error:#}");
        }
    }
}

/// Checks options and tools before work that takes minutes.
fn check(options: &Build, exec: &dyn Exec) -> Result<()> {
    pack::check_name(&options.name)?;
    epoch()?;
    let tools = [
        Tool::Mmdebstrap,
        Tool::Mke2fs,
        Tool::Dumpe2fs,
        Tool::Debugfs,
        Tool::DpkgDeb,
    ];
    let needed = tools.map(Program::from).into_iter().chain([APT_CONFIG]);
    if let Some(program) = host::exec::missing(exec, needed).first() {
        return Err(ExecError::Missing { program: *program }.into());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use host::fake::Script;

    /// Options of a build in `folder`, from the machine's archives.
    pub(crate) fn options(folder: &Path) -> Build {
        Build {
            distribution: crate::cli::Distribution::Debian,
            out: folder.join("out"),
            name: "debian-12".to_owned(),
            kernel: "linux-image-amd64".to_owned(),
            packages: Vec::new(),
            size: None,
            mirror: None,
            security_mirror: None,
            lock: None,
            renew_lock: false,
            cache: folder.join("cache"),
            unattended_upgrades: false,
            allow_unsigned_archive: false,
            work: folder.join("work"),
            packing: crate::cli::Packing::default(),
        }
    }

    #[test]
    fn a_missing_tool_is_found_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut script = Script::new().without(Tool::Mmdebstrap);
        let error = build(&options(folder.path()), &mut script, &Cancel::new()).unwrap_err();
        assert_eq!(error.to_string(), "`mmdebstrap` is not installed");
        let hint = crate::error::hint(&error).unwrap();
        assert_eq!(hint, "install the package `mmdebstrap`");
        assert!(!folder.path().join("out").exists());
    }

    #[test]
    fn a_name_with_a_dot_is_refused_because_fuel_would_not_find_its_yaml() {
        let folder = tempfile::tempdir().unwrap();
        let options = Build {
            name: "a.b".to_owned(),
            ..options(folder.path())
        };
        assert!(
            build(&options, &mut Script::new(), &Cancel::new())
                .unwrap_err()
                .to_string()
                .contains("cannot name an image")
        );
    }

    /// A machine whose archive has the package `a`, which is in the cache; unpacking makes nothing.
    fn machine(folder: &Path) -> Script {
        let (list, cache) = (folder.join("sources.list"), folder.join("cache"));
        fs::write(&list, "deb http://m.test/debian bookworm main\n").unwrap();
        fs::create_dir_all(&cache).unwrap();
        let file = cache.join("a_1%3a2_amd64.deb");
        fs::write(&file, "the package").unwrap();
        let digest = apt_sources::lock::sha256_of(&file).unwrap();
        let description = "Package: a\nVersion: 1:2\nArchitecture: amd64\n";
        let listed = format!(
            "{description}Priority: required\nSize: 11\nSHA256: {digest}\nFilename: pool/a.deb\n"
        );
        Script::new()
            .answering("apt-config", &format!("LIST='{}'\n", list.display()))
            .answering("apt-get", "'http://m/a' a_1%3a2_amd64.deb 11 x\n")
            .answering("apt-cache", &listed)
            .answering("dpkg-deb", description)
    }

    fn with_lock(folder: &Path) -> Build {
        Build {
            lock: Some(folder.join("image.lock")),
            ..options(folder)
        }
    }

    #[test]
    fn whatever_tool_fails_nothing_is_left_behind() {
        for n in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            let mut script = machine(folder.path()).failing_at(n);
            assert!(
                build(&options(folder.path()), &mut script, &Cancel::new()).is_err(),
                "call {n} failed"
            );
            for place in ["out", "work"] {
                let left: Vec<_> = fs::read_dir(folder.path().join(place)).unwrap().collect();
                assert!(left.is_empty(), "call {n}: {left:?} left in {place}");
            }
        }
    }

    #[test]
    fn a_lock_is_written_and_then_held_without_asking_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let options = with_lock(folder.path());
        let mut script = machine(folder.path());
        // nothing was unpacked, which is noticed behind mmdebstrap
        let build = |script: &mut Script| build(&options, script, &Cancel::new()).unwrap_err();
        assert!(build(&mut script).to_string().contains("dpkg/status"));
        let path = options.lock.as_ref().unwrap();
        let lock = Lock::read(path).unwrap().unwrap();
        assert_eq!(lock.sources, ["deb http://m.test/debian bookworm main"]);
        assert_eq!(lock.packages[0].version, "1:2");
        assert!(lock.roots.contains(&"?essential".to_owned()));
        assert_eq!(lock.base, ["a"]);
        assert!(script.transcript().contains("--include=a,ca-certificates"));

        let offline = || machine(folder.path()).exiting("apt-get", 100, "E: no network");
        let mut script = offline();
        assert!(build(&mut script).to_string().contains("dpkg/status"));
        let transcript = script.transcript();
        assert!(!transcript.contains("apt-"), "{transcript}");
        assert!(transcript.contains("mmdebstrap"), "{transcript}");
        assert_eq!(Lock::read(path).unwrap().unwrap(), lock);
    }

    #[test]
    fn a_locked_version_that_is_gone_or_another_recipe_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let options = with_lock(folder.path());
        build(&options, &mut machine(folder.path()), &Cancel::new()).unwrap_err();
        // answers that begin alike: the first that fits is taken
        let mut script = machine(folder.path());
        fs::remove_file(folder.path().join("cache/a_1%3a2_amd64.deb")).unwrap();
        let error = build(&options, &mut script, &Cancel::new()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the locked package `a` 1:2 is neither in the cache"),
            "{error:#}"
        );
        assert!(crate::error::hint(&error).unwrap().contains("--renew-lock"));
        let other = Build {
            packages: vec!["tmux".to_owned()],
            ..options
        };
        let error = build(&other, &mut machine(folder.path()), &Cancel::new()).unwrap_err();
        assert!(error.to_string().ends_with("it does not have `tmux`"));
    }

    #[test]
    fn unattended_upgrades_need_an_archive_with_security_fixes() {
        let folder = tempfile::tempdir().unwrap();
        let options = Build {
            unattended_upgrades: true,
            ..options(folder.path())
        };
        let mut script = machine(folder.path());
        let error = build(&options, &mut script, &Cancel::new()).unwrap_err();
        let hint = crate::error::hint(&error).unwrap();
        assert!(hint.contains("--security-mirror"), "{error:#}: {hint}");
        assert!(!script.transcript().contains("mmdebstrap"));
    }
}
