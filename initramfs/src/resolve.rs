//! Makes a lock: versions by apt's resolver, packages of libraries by the ELF headers of programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use apt_sources::ArchiveError;
use apt_sources::apt::Apt;
use apt_sources::lock::{Lock, Package};
use apt_sources::stanza::Stanza;

use crate::elf::{self, Missing};
use crate::error::Error;
use crate::recipe::{self, RecipeEntry};
use crate::unpack::{self, Unpacked};

/// Input of [`resolve`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolveInput<'a> {
    /// Code name of the Debian release.
    pub(crate) suite: &'a str,
    /// Package of the kernel, or one that depends on it.
    pub(crate) kernel: &'a str,
    /// Packages with firmware.
    pub(crate) firmware: &'a [String],
    /// The recipe.
    pub(crate) entries: &'a [RecipeEntry],
    /// Time of the lock, in seconds since 1970.
    pub(crate) now: u32,
}

/// The packages requested by name.
pub(crate) fn roots(input: ResolveInput<'_>) -> Vec<String> {
    let mut roots = recipe::packages(input.entries);
    roots.push(input.kernel.to_owned());
    roots.extend(input.firmware.iter().cloned());
    roots.sort();
    roots.dedup();
    roots
}

/// The executable files of the recipe: package and path.
pub(crate) fn programs<'p>(
    entries: &'p [RecipeEntry],
    unpacked: &Unpacked,
) -> Result<Vec<(&'p str, std::path::PathBuf)>, Error> {
    let mut programs = Vec::new();
    for entry in entries {
        for (_, file) in unpacked.entry(&entry.package, &entry.path)? {
            if unpack::is_executable(&file) {
                programs.push((entry.package.as_str(), file));
            }
        }
    }
    Ok(programs)
}

/// The transitive libraries of the recipe's programs in the unpacked packages.
pub(crate) fn libraries(
    entries: &[RecipeEntry],
    unpacked: &Unpacked,
) -> Result<elf::Closure, Error> {
    let programs = programs(entries, unpacked)?;
    elf::closure(
        programs
            .iter()
            .map(|(package, file)| (*package, file.as_path())),
        &|soname| {
            unpacked
                .library(soname)
                .map(|(package, file)| (package.to_owned(), file))
        },
    )
}

/// Chooses versions with apt, then unpacks packages below `scratch` until every library is found.
pub(crate) fn resolve(
    apt: &mut Apt<'_>,
    input: ResolveInput<'_>,
    cache: &Path,
    scratch: &Path,
) -> Result<Lock, Error> {
    let roots = roots(input);
    let closure = apt.closure(&roots)?;
    let known: BTreeMap<String, Stanza> = apt
        .show(&closure)?
        .into_iter()
        .filter_map(|stanza| Some((stanza.field("Package")?.to_owned(), stanza)))
        .collect();
    let mut chosen: BTreeSet<String> = roots
        .iter()
        .filter(|root| *root != input.kernel)
        .cloned()
        .collect();
    chosen.insert(kernel_of(input.kernel, &known));
    let mut unpacked = Unpacked::new(scratch)?;
    let programs = recipe::packages(input.entries);
    prefetch(apt, &known, &programs, cache)?;
    for package in programs {
        fetch_and_unpack(apt, &known, &package, cache, &mut unpacked)?;
    }
    loop {
        let closure = libraries(input.entries, &unpacked)?;
        if closure.missing.is_empty() {
            chosen.extend(closure.libraries.into_iter().map(|library| library.package));
            break;
        }
        // What cannot be guessed now may be found in one of the others.
        let guess_of = |missing| guess(missing, &known, &unpacked).ok();
        let guesses: BTreeSet<_> = closure.missing.iter().filter_map(guess_of).collect();
        prefetch(apt, &known, &guesses, cache)?;
        for missing in closure.missing {
            // A package often contains several of them.
            if unpacked.library(&missing.soname).is_none() {
                let package = guess(&missing, &known, &unpacked)?;
                fetch_and_unpack(apt, &known, &package, cache, &mut unpacked)?;
            }
        }
    }
    let packages: Result<Vec<_>, _> = chosen.iter().map(|name| locked(&known, name)).collect();
    Ok(Lock::new(
        input.suite,
        crate::ARCHITECTURE,
        input.now,
        &roots,
        packages?,
    ))
}

/// Fetches packages together, before they are unpacked one by one.
fn prefetch<'n>(
    apt: &mut Apt<'_>,
    known: &BTreeMap<String, Stanza>,
    names: impl IntoIterator<Item = &'n String>,
    cache: &Path,
) -> Result<(), Error> {
    let packages: Result<Vec<_>, _> = names.into_iter().map(|name| locked(known, name)).collect();
    Ok(apt.prefetch(&packages?, cache)?)
}

/// Fetches and unpacks one package.
fn fetch_and_unpack(
    apt: &mut Apt<'_>,
    known: &BTreeMap<String, Stanza>,
    package: &str,
    cache: &Path,
    unpacked: &mut Unpacked,
) -> Result<(), Error> {
    let file = apt.fetch(&locked(known, package)?, cache)?;
    unpacked.add(apt.exec(), package, &file)
}

/// The package that contains the kernel: the one that `requested` depends on if that is a metapackage.
fn kernel_of(requested: &str, known: &BTreeMap<String, Stanza>) -> String {
    let depends = known
        .get(requested)
        .and_then(|stanza| stanza.field("Depends"));
    dependency_names(depends.unwrap_or_default())
        .into_iter()
        .find(|name| name.starts_with("linux-image-") && known.contains_key(name))
        .unwrap_or_else(|| requested.to_owned())
}

/// The lock's entry of a package, from the package lists.
fn locked(known: &BTreeMap<String, Stanza>, name: &str) -> Result<Package, Error> {
    let stanza = known.get(name).ok_or_else(|| ArchiveError::AptOutput {
        subject: format!("`{name}`"),
        why: "it is not among the packages to install".to_owned(),
    })?;
    Ok(Package::of(stanza)?)
}

/// Difference between the names of a library and a package; 0 if they follow Debian's naming rule.
fn distance(soname: &str, package: &str) -> u8 {
    let package = package.strip_suffix("t64").unwrap_or(package);
    let (base, version) = soname.split_once(".so").unwrap_or((soname, ""));
    let base = base.replace('_', "-").to_lowercase();
    let version = version.trim_start_matches('.');
    if package == format!("{base}{version}") || package == format!("{base}-{version}") {
        0
    } else if package.starts_with(&base) {
        1
    } else if base.starts_with("ld-linux") && package == "libc6" {
        0
    } else if package.starts_with("lib") {
        2
    } else {
        3
    }
}

/// The package that most likely contains a library: of the dependencies of the package that needs it, the one with the
/// most similar name, then the smallest.
fn guess(
    missing: &Missing,
    known: &BTreeMap<String, Stanza>,
    unpacked: &Unpacked,
) -> Result<String, Error> {
    let depends = |field: &str| {
        let stanza = known.get(&missing.package);
        dependency_names(stanza.and_then(|s| s.field(field)).unwrap_or_default())
    };
    let size = |name: &str| -> u64 {
        known
            .get(name)
            .and_then(|stanza| stanza.field("Size")?.parse().ok())
            .unwrap_or(u64::MAX)
    };
    let mut candidates = depends("Depends");
    candidates.extend(depends("Pre-Depends"));
    candidates.retain(|name| known.contains_key(name) && unpacked.root(name).is_none());
    candidates
        .into_iter()
        .min_by_key(|name| (distance(&missing.soname, name), size(name), name.clone()))
        .ok_or_else(|| Error::NoLibrary {
            library: missing.soname.clone(),
            needed_by: missing.needed_by.clone(),
        })
}

/// The package names in a `Depends` value, with all alternatives, without versions and architectures.
fn dependency_names(value: &str) -> Vec<String> {
    value
        .split([',', '|'])
        .filter_map(|word| word.split_whitespace().next())
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> BTreeMap<String, Stanza> {
        apt_sources::stanza::parse_stanzas(text)
            .into_iter()
            .map(|stanza| (stanza.field("Package").unwrap().to_owned(), stanza))
            .collect()
    }

    #[test]
    fn debian_naming_finds_most_libraries_at_once() {
        for (soname, package) in [
            ("libblkid.so.1", "libblkid1"),
            ("libdevmapper.so.1.02.1", "libdevmapper1.02.1"),
            ("libpcre2-8.so.0", "libpcre2-8-0"),
            ("libgcc_s.so.1", "libgcc-s1"),
            ("libext2fs.so.2", "libext2fs2t64"),
            ("ld-linux-x86-64.so.2", "libc6"),
        ] {
            assert_eq!(distance(soname, package), 0, "{soname}");
        }
        assert!(distance("libz.so.1", "zlib1g") > distance("libz.so.1", "libzstd1"));
    }

    #[test]
    fn a_guess_prefers_the_name_then_the_size_and_ends_when_nothing_is_left() {
        let known = known(
            "Package: prog\n\
             Depends: libbig1, libsmall1, libx1 (>= 1), gone\n\n\
             Package: libbig1\n\
             Size: 900\n\n\
             Package: libsmall1\n\
             Size: 5\n\n\
             Package: libx1\n\
             Size: 1000\n",
        );
        let missing = |soname: &str, package: &str| Missing {
            soname: soname.to_owned(),
            needed_by: "/bin/prog".into(),
            package: package.to_owned(),
        };
        let none = Unpacked::new(&std::env::temp_dir()).unwrap();
        let guessed = |soname: &str| guess(&missing(soname, "prog"), &known, &none).unwrap();
        assert_eq!(guessed("libx.so.1"), "libx1");
        assert_eq!(guessed("libodd.so.3"), "libsmall1");
        let error = guess(&missing("liby.so.1", "libbig1"), &known, &none).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no package has the library `liby.so.1`, which /bin/prog needs"
        );
    }

    #[test]
    fn a_kernel_may_be_named_by_its_metapackage() {
        let known = known(
            "Package: linux-image-amd64\n\
             Depends: linux-image-6.1.0-40-amd64 (= 6.1)\n\n\
             Package: linux-image-6.1.0-40-amd64\n\
             Depends: kmod\n",
        );
        for asked in ["linux-image-amd64", "linux-image-6.1.0-40-amd64"] {
            assert_eq!(kernel_of(asked, &known), "linux-image-6.1.0-40-amd64");
        }
    }

    #[test]
    fn dependencies_are_names_without_versions_and_architectures() {
        assert_eq!(
            dependency_names("libc6 (>= 2.34), python3:any, a | b (<< 2), "),
            ["libc6", "python3", "a", "b"]
        );
    }
}
