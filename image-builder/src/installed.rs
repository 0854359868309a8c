//! The packages that are installed in an unpacked system.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use apt_sources::lock::{Lock, Package};
use apt_sources::stanza;
use tracing::info;

/// The packages of the lock that are installed in `root`. One that is installed, but not in the lock, is an error.
pub(crate) fn installed<'l>(root: &Path, lock: &'l Lock) -> Result<Vec<&'l Package>> {
    let path = root.join("var/lib/dpkg/status");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut packages = Vec::new();
    for stanza in stanza::parse_stanzas(&text) {
        if stanza.field("Status") != Some("install ok installed") {
            continue;
        }
        let (name, version) = (stanza.field("Package"), stanza.field("Version"));
        let locked = lock.packages.iter().find(|package| {
            name == Some(&package.name) && version == Some(package.version.as_str())
        });
        match locked {
            Some(package) => packages.push(package),
            None => bail!(
                "`{}` {} was installed, which is not in the lock",
                name.unwrap_or_default(),
                version.unwrap_or_default()
            ),
        }
    }
    if packages.is_empty() {
        bail!("no package is installed, as {} says", path.display());
    }
    let left = lock
        .packages
        .iter()
        .filter(|package| !packages.contains(package));
    for package in left {
        info!(
            package = package.name,
            "locked, but not installed: nothing needs it"
        );
    }
    packages.sort();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "1:2-3".to_owned(),
            architecture: "amd64".to_owned(),
            sha256: "00".to_owned(),
            size_bytes: 1,
            filename: "pool/x".to_owned(),
        }
    }

    #[test]
    fn what_is_installed_has_to_be_locked_in_that_version() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/lib/dpkg");
        fs::create_dir_all(&folder).unwrap();
        let lock = Lock::new(
            "bookworm",
            "amd64",
            7,
            &[],
            vec![package("a"), package("b")],
        );
        let installed_by = |status: &str| {
            fs::write(folder.join("status"), status).unwrap();
            installed(root.path(), &lock)
        };
        let entry = |name: &str, version: &str, status: &str| {
            format!("Package: {name}\nStatus: install ok {status}\nVersion: {version}\n\n")
        };
        let removed = entry("c", "9", "config-files");
        let status = entry("a", "1:2-3", "installed") + &removed;
        let packages = installed_by(&status).unwrap();
        assert_eq!(packages, [&lock.packages[0]]);
        for (status, why) in [
            (entry("a", "1:2-4", "installed"), "`a` 1:2-4 was installed"),
            (entry("c", "1:2-3", "installed"), "`c` 1:2-3 was installed"),
            (removed, "no package is installed"),
        ] {
            let error = installed_by(&status).unwrap_err();
            assert!(error.to_string().starts_with(why), "{error}");
        }
    }
}
