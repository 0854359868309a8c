//! The lock file: the exact package files of a ramdisk or an image.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{self, ArchiveError};
use crate::stanza::Stanza;

/// Version of the format.
const VERSION: u32 = 1;

/// The package files, and the options that they were chosen for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of the format.
    pub version: u32,
    /// Code name of the Debian release.
    pub suite: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Time when the lock was made, in seconds since 1970: the time of files made from it, and the lower bound of the
    /// clock in ramdisks.
    pub made: u32,
    /// Packages requested by name, sorted; the others are in the list because these need them.
    pub roots: Vec<String>,
    /// Lines of the `sources.list` of images that are made from it; none in the lock of a ramdisk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Packages of an image that the archive says every system has, sorted; none in the lock of a ramdisk. It is the
    /// archive that decides: a package file may have another priority in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<String>,
    /// The package files, sorted by name.
    pub packages: Vec<Package>,
}

/// One package file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name of the package.
    #[serde(rename = "package")]
    pub name: String,
    /// Version with epoch.
    pub version: String,
    /// Debian's name of its architecture, or `all`.
    pub architecture: String,
    /// sha256 of the package file, in hexadecimal.
    pub sha256: String,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
    /// Path of the package file below the mirror's root.
    pub filename: String,
}

impl Package {
    /// The package of a paragraph of the package lists.
    pub fn of(stanza: &Stanza) -> Result<Self, ArchiveError> {
        let name = stanza.field("Package").unwrap_or_default();
        let bad = |why: String| ArchiveError::AptOutput {
            subject: format!("`{name}`"),
            why,
        };
        let field = |field: &str| {
            let value = stanza.field(field).map(str::to_owned);
            value.ok_or_else(|| bad(format!("it has no `{field}`")))
        };
        Ok(Self {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            sha256: field("SHA256")?,
            size_bytes: field("Size")?
                .parse()
                .map_err(|_| bad("its `Size` is not a number".to_owned()))?,
            filename: field("Filename")?,
        })
    }

    /// File name under which apt downloads it.
    pub fn file_name(&self) -> String {
        let version = self.version.replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }
}

impl Lock {
    /// A lock of these packages.
    pub fn new(
        suite: &str,
        architecture: &str,
        made: u32,
        roots: &[String],
        mut packages: Vec<Package>,
    ) -> Self {
        packages.sort();
        let roots: BTreeSet<_> = roots.iter().cloned().collect();
        Self {
            version: VERSION,
            suite: suite.to_owned(),
            architecture: architecture.to_owned(),
            made,
            roots: roots.into_iter().collect(),
            sources: Vec::new(),
            base: Vec::new(),
            packages,
        }
    }

    /// Reads a lock; `None` where the file does not exist.
    pub fn read(path: &Path) -> Result<Option<Self>, ArchiveError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(error::io("read", path)(cause)),
        };
        let lock: Self =
            serde_json::from_str(&text).map_err(|source| ArchiveError::LockFormat {
                path: path.to_owned(),
                source,
            })?;
        if lock.version == VERSION {
            return Ok(Some(lock));
        }
        Err(ArchiveError::LockMismatch {
            path: path.to_owned(),
            what: format!(
                "its version is {}, but only {VERSION} is supported",
                lock.version
            ),
        })
    }

    /// Writes the lock atomically.
    pub fn write(&self, path: &Path) -> Result<(), ArchiveError> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|source| ArchiveError::LockFormat {
                path: path.to_owned(),
                source,
            })?;
        text.push('\n');
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(error::io("create", folder))?;
        }
        let new = path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, path))
            .map_err(error::io("write", path))
    }

    /// Fails unless the lock was made for this suite and these roots.
    pub fn check(&self, path: &Path, suite: &str, roots: &[String]) -> Result<(), ArchiveError> {
        let mismatch = |what: String| ArchiveError::LockMismatch {
            path: path.to_owned(),
            what,
        };
        if self.suite != suite {
            return Err(mismatch(format!(
                "it is for suite `{}`, not `{suite}`",
                self.suite
            )));
        }
        if let Some(missing) = roots.iter().find(|root| !self.roots.contains(root)) {
            return Err(mismatch(format!("it does not have `{missing}`")));
        }
        if let Some(extra) = self.roots.iter().find(|root| !roots.contains(root)) {
            return Err(mismatch(format!(
                "it has `{extra}`, which is not requested"
            )));
        }
        Ok(())
    }
}

/// The sha256 of a file, in hexadecimal.
pub fn sha256_of(path: &Path) -> Result<String, ArchiveError> {
    let mut file = fs::File::open(path).map_err(error::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(error::io("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "2:1.0-1".to_owned(),
            architecture: "amd64".to_owned(),
            sha256: "00".to_owned(),
            size_bytes: 1,
            filename: "pool/x".to_owned(),
        }
    }

    #[test]
    fn a_lock_reads_back_as_written_and_is_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/initramfs.lock");
        assert!(Lock::read(&path).unwrap().is_none());
        let roots = ["b".to_owned(), "a".to_owned(), "a".to_owned()];
        let lock = Lock::new(
            "bookworm",
            "amd64",
            7,
            &roots,
            vec![package("b"), package("a")],
        );
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap().unwrap(), lock);
        assert_eq!(lock.roots, ["a", "b"]);
        assert_eq!(lock.packages[0].name, "a");
    }

    #[test]
    fn the_file_name_is_apts() {
        assert_eq!(
            package("dmsetup").file_name(),
            "dmsetup_2%3a1.0-1_amd64.deb"
        );
    }

    #[test]
    fn a_lock_for_other_options_is_refused_with_a_hint() {
        let roots = ["a".to_owned()];
        let lock = Lock::new("bookworm", "amd64", 7, &roots, vec![package("a")]);
        let path = Path::new("/x.lock");
        lock.check(path, "bookworm", &roots).unwrap();
        let cases: [(&str, &[&str], &str); 3] = [
            ("trixie", &["a"], "it is for suite `bookworm`, not `trixie`"),
            (
                "bookworm",
                &["a", "firmware-bnx2"],
                "it does not have `firmware-bnx2`",
            ),
            ("bookworm", &[], "it has `a`, which is not requested"),
        ];
        for (suite, roots, why) in cases {
            let roots: Vec<_> = roots.iter().map(|&root| root.to_owned()).collect();
            let error = lock.check(path, suite, &roots).unwrap_err();
            assert!(error.to_string().ends_with(why), "{error}");
            assert!(error.hint().unwrap().contains("--renew-lock"));
        }
    }

    #[test]
    fn a_damaged_or_foreign_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        for text in ["", "{}", "[1]", "{\"version\": 1, \"odd\": 2}"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(
                Lock::read(&path),
                Err(ArchiveError::LockFormat { .. })
            ));
        }
        let mut lock = Lock::new("bookworm", "amd64", 7, &[], vec![]);
        lock.version = 9;
        lock.write(&path).unwrap();
        assert!(matches!(
            Lock::read(&path),
            Err(ArchiveError::LockMismatch { .. })
        ));
    }
}
