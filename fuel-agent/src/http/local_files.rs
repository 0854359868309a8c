//! Which files `file://` may name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use host::beneath::{leads_out, open_beneath};

use super::HttpError;
use super::address::Address;

/// The files that `file://` may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LocalFiles {
    /// Any: a person names them on a command line.
    #[default]
    Anywhere,
    /// Those below one of these folders; without any, none. Links do not lead out of them.
    Below(Vec<PathBuf>),
}

impl LocalFiles {
    /// Opens a regular file.
    pub(crate) fn open(&self, path: &Path) -> Result<File, HttpError> {
        let failed = |source| HttpError::File {
            path: path.to_owned(),
            source,
        };
        let Self::Below(folders) = self else {
            // checked before it is opened: opening a FIFO waits for a writer
            if !std::fs::metadata(path).map_err(failed)?.is_file() {
                let why = "it is not a regular file";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, why)));
            }
            return File::open(path).map_err(failed);
        };
        for folder in folders {
            let Some(below) = relative(path, folder) else {
                continue;
            };
            match open_beneath(folder, &below) {
                Err(error) if leads_out(&error) => {}
                Err(error) => return Err(failed(error)),
                Ok(file) => return Ok(file),
            }
        }
        Err(HttpError::Outside {
            path: path.to_owned(),
            folders: folders.clone(),
        })
    }

    /// Refuses a URL of a file that may not be named; whether it can be read is not checked.
    pub(crate) fn check(&self, url: &str) -> Result<(), HttpError> {
        match Address::parse(url) {
            Ok(Address::File(path)) => match self.open(&path) {
                Err(error @ HttpError::Outside { .. }) => Err(error),
                _ => Ok(()),
            },
            // what is not valid is an error of its own
            Ok(Address::Web(_)) | Err(_) => Ok(()),
        }
    }
}

/// The path from a folder, which may be named by way of links.
fn relative(path: &Path, folder: &Path) -> Option<PathBuf> {
    let real = folder.canonicalize().ok();
    let below = path.strip_prefix(folder).ok();
    let below = below.or_else(|| path.strip_prefix(real?).ok());
    below
        .filter(|below| !below.as_os_str().is_empty())
        .map(Path::to_owned)
}

/// The folders, for a message.
pub(super) fn listed(folders: &[PathBuf]) -> String {
    let shown: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
    match shown.as_slice() {
        [] => "no file may be named".to_owned(),
        shown => format!("only files below {} may be named", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn is_outside(found: &Result<File, HttpError>) -> bool {
        matches!(found, Err(HttpError::Outside { .. }))
    }

    #[test]
    fn files_are_opened_below_their_folders_only() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in ["a", "b", "c"] {
            std::fs::create_dir(path(folder)).unwrap();
            std::fs::write(path(folder).join("x"), folder).unwrap();
        }
        symlink("a", path("link")).unwrap();
        symlink("../c/x", path("a/out")).unwrap();
        let below = LocalFiles::Below(vec![path("a"), path("b")]);
        below.open(&path("a/x")).unwrap();
        below.open(&path("b/x")).unwrap();
        let missing = below.open(&path("a/y"));
        assert!(matches!(missing, Err(HttpError::File { .. })));
        for outside in ["c/x", "a/out", "a/../c/x", "a", "", "ab/x"] {
            assert!(is_outside(&below.open(&path(outside))), "{outside}");
        }
        // the folder may be a link, and be named by either path
        let linked = LocalFiles::Below(vec![path("link")]);
        linked.open(&path("link/x")).unwrap();
        linked.open(&path("a/x")).unwrap();
        assert!(is_outside(&linked.open(&path("link/out"))));
        assert!(is_outside(
            &LocalFiles::Below(Vec::new()).open(&path("a/x"))
        ));
        LocalFiles::Anywhere.open(&path("a/out")).unwrap();
        LocalFiles::Anywhere.open(&path("a")).unwrap_err();
        LocalFiles::Below(vec![PathBuf::from("/")])
            .open(&path("c/x"))
            .unwrap();
    }

    #[test]
    fn a_url_is_refused_for_its_place_only() {
        let below = LocalFiles::Below(vec![PathBuf::from("/srv/images")]);
        for url in [
            "http://h/x",
            "file:///srv/images/nothing",
            "ftp://h/x",
            "nonsense",
        ] {
            below.check(url).unwrap();
        }
        for url in [
            "file:///etc/passwd",
            "file:///srv/images/../passwd",
            "file:///srv/images",
        ] {
            let error = below.check(url).unwrap_err();
            assert!(
                error
                    .to_string()
                    .ends_with("only files below /srv/images may be named")
            );
        }
        let error = LocalFiles::Below(Vec::new())
            .check("file:///x")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "/x may not be read for a request: no file may be named"
        );
    }
}
