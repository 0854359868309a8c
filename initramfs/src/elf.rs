//! Libraries and loaders that programs need, read from their ELF headers. Nothing is executed: `ldd` would run the
//! loader.

use std::fs;
use std::path::{Path, PathBuf};

use goblin::elf::{Elf, program_header};

use crate::error::{self, Error};

/// Dependencies of a program or library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Path of its loader; static programs and libraries have none.
    pub(crate) loader: Option<String>,
    /// Sonames of its libraries.
    pub(crate) libraries: Vec<String>,
}

/// Whether the bytes begin with the magic of ELF.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// The dependencies of `bytes`, the content of `path`; none for kernel modules and files that are not ELF.
pub(crate) fn needs(path: &Path, bytes: &[u8]) -> Result<Needs, Error> {
    if !is_elf(bytes) {
        return Ok(Needs::default());
    }
    let elf = Elf::parse(bytes).map_err(|source| Error::Elf {
        path: path.to_owned(),
        source,
    })?;
    Ok(Needs {
        loader: elf.interpreter.map(str::to_owned),
        libraries: elf.libraries.iter().map(|&name| name.to_owned()).collect(),
    })
}

/// Refuses an agent that is not a static program.
pub(crate) fn check_static(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if !is_elf(bytes) {
        return Err(Error::Usage {
            what: format!("{} is not a program (no ELF header)", path.display()),
        });
    }
    let elf = Elf::parse(bytes).map_err(|source| Error::Elf {
        path: path.to_owned(),
        source,
    })?;
    let loaded = elf
        .program_headers
        .iter()
        .any(|header| header.p_type == program_header::PT_INTERP);
    if loaded || !elf.libraries.is_empty() {
        return Err(Error::DynamicAgent {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// One library of a closure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Library {
    /// The name that programs request.
    pub(crate) soname: String,
    /// Package that contains it.
    pub(crate) package: String,
    /// Path of the file.
    pub(crate) file: PathBuf,
}

/// A library that none of the unpacked packages has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The requested name.
    pub(crate) soname: String,
    /// Path of the file that needs it.
    pub(crate) needed_by: PathBuf,
    /// Package of that file.
    pub(crate) package: String,
}

/// The transitive dependencies of files.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// The libraries that were found, sorted by soname.
    pub(crate) libraries: Vec<Library>,
    /// Paths of loaders, sorted.
    pub(crate) loaders: Vec<String>,
    /// Libraries that none of the packages has.
    pub(crate) missing: Vec<Missing>,
}

/// The transitive dependencies of `files` (package, path). `find` returns package and path of a soname.
pub(crate) fn closure<'f>(
    files: impl IntoIterator<Item = (&'f str, &'f Path)>,
    find: &dyn Fn(&str) -> Option<(String, PathBuf)>,
) -> Result<Closure, Error> {
    let mut result = Closure::default();
    let mut open: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|(package, path)| (package.to_owned(), path.to_owned()))
        .collect();
    while let Some((package, path)) = open.pop() {
        let bytes = fs::read(&path).map_err(error::io("read", &path))?;
        let needs = needs(&path, &bytes)?;
        let loader = needs.loader.iter().filter_map(|loader| {
            if !result.loaders.contains(loader) {
                result.loaders.push(loader.clone());
            }
            Path::new(loader).file_name()?.to_str().map(str::to_owned)
        });
        let wanted: Vec<_> = loader.chain(needs.libraries).collect();
        for soname in wanted {
            let known = result.libraries.iter().any(|l| l.soname == soname)
                || result.missing.iter().any(|m| m.soname == soname);
            if known {
                continue;
            }
            if let Some((package, file)) = find(&soname) {
                open.push((package.clone(), file.clone()));
                result.libraries.push(Library {
                    soname,
                    package,
                    file,
                });
            } else {
                result.missing.push(Missing {
                    soname,
                    needed_by: path.clone(),
                    package: package.clone(),
                });
            }
        }
    }
    result.libraries.sort();
    result.loaders.sort();
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dynamic program that exists everywhere: this test.
    fn own() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn libraries_of_libraries_are_found_without_running_anything() {
        let libc = |soname: &str| {
            ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib"]
                .iter()
                .map(|folder| Path::new(folder).join(soname))
                .find(|path| path.exists())
                .map(|path| ("libc6".to_owned(), path))
        };
        let own = own();
        let closure = closure([("me", own.as_path())], &libc).unwrap();
        let names: Vec<_> = closure
            .libraries
            .iter()
            .map(|l| l.soname.as_str())
            .collect();
        assert!(names.contains(&"libc.so.6"), "{names:?}");
        assert!(closure.missing.is_empty());
        assert_eq!(closure.loaders.len(), 1);
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_library_of_no_package_is_named_with_the_file_that_needs_it() {
        let own = own();
        let closure = closure([("me", own.as_path())], &|_| None).unwrap();
        assert!(
            closure
                .missing
                .iter()
                .any(|m| m.soname == "libc.so.6" && m.package == "me")
        );
        assert!(closure.missing.iter().all(|m| m.needed_by == own));
    }

    #[test]
    fn a_dynamic_agent_and_a_text_are_refused() {
        let own = own();
        let bytes = fs::read(&own).unwrap();
        let error = check_static(&own, &bytes).unwrap_err();
        assert!(error.hint().unwrap().contains("crt-static"));
        let error = check_static(Path::new("/x"), b"#!/bin/sh").unwrap_err();
        assert_eq!(error.to_string(), "/x is not a program (no ELF header)");
    }

    #[test]
    fn broken_headers_are_an_error_and_data_needs_nothing() {
        assert_eq!(needs(Path::new("/x"), b"text").unwrap(), Needs::default());
        assert!(needs(Path::new("/x"), b"\x7fELF\x02\x01\x01").is_err());
    }
}
