//! Reads a finished ramdisk: its parts with their sizes, and its packages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use cpio::newc;
use serde::Serialize;

use crate::archive::{self, StoredEntry};
use crate::error::{self, Error};
use crate::manifest::{self, Contents, UsedPackage};

/// One part of a ramdisk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Name of the part.
    pub part: String,
    /// Number of files.
    pub files: usize,
    /// Size of the files in memory.
    pub raw_bytes: u64,
    /// Size when packed alone; the ramdisk is a little smaller than the sum of its parts.
    pub packed_bytes: u64,
}

/// Result of `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Release of the kernel, like `6.1.0-40-amd64`.
    pub kernel: String,
    /// Code name of the Debian release.
    pub suite: String,
    /// Lower bound of the node's clock, in seconds since 1970.
    pub built: u32,
    /// Size of the file.
    pub packed_bytes: u64,
    /// Size of the content in memory.
    pub raw_bytes: u64,
    /// sha256 of the agent, in hexadecimal.
    pub agent_sha256: String,
    /// Parts, sorted by name.
    pub parts: Vec<Part>,
    /// Packages, sorted by name.
    pub packages: Vec<UsedPackage>,
}

/// Reads the ramdisk `path`.
pub fn inspect(path: &Path) -> Result<Report, Error> {
    let packed = fs::read(path).map_err(error::io("read", path))?;
    let foreign = |why: String| Error::NotARamdisk {
        path: path.to_owned(),
        why,
    };
    let stored = archive::read(packed.as_slice()).map_err(|cause| foreign(cause.to_string()))?;
    let own = stored
        .iter()
        .find(|file| file.path == manifest::INSIDE)
        .ok_or_else(|| foreign(format!("it has no `{}`", manifest::INSIDE)))?;
    let contents: Contents =
        serde_json::from_slice(&own.bytes).map_err(|cause| foreign(cause.to_string()))?;
    let parts = parts(&stored, &contents).map_err(error::io("pack the parts of", path))?;
    Ok(Report {
        kernel: contents.kernel,
        suite: contents.suite,
        built: contents.built,
        packed_bytes: size(packed.len()),
        raw_bytes: raw_bytes(&stored),
        agent_sha256: contents.agent_sha256,
        parts,
        packages: contents.packages,
    })
}

/// A length as `u64`.
fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn raw_bytes(stored: &[StoredEntry]) -> u64 {
    stored.iter().map(|file| size(file.bytes.len())).sum()
}

/// Groups the files by part and packs each group. Entries without a part (folders, links, the description) are in
/// `base`.
fn parts(stored: &[StoredEntry], contents: &Contents) -> std::io::Result<Vec<Part>> {
    let part_of: BTreeMap<&str, &str> = contents
        .parts
        .iter()
        .flat_map(|(part, paths)| paths.iter().map(move |path| (path.as_str(), part.as_str())))
        .collect();
    let mut groups: BTreeMap<&str, Vec<&StoredEntry>> = BTreeMap::new();
    for file in stored {
        let part = part_of.get(file.path.as_str()).copied().unwrap_or("base");
        groups.entry(part).or_default().push(file);
    }
    groups
        .into_iter()
        .map(|(part, files)| {
            let mut bytes = Vec::new();
            for file in &files {
                let length = u32::try_from(file.bytes.len()).map_err(std::io::Error::other)?;
                let mut out = newc::Builder::new(&file.path)
                    .mode(file.mode)
                    .write(bytes, length);
                out.write_all(&file.bytes)?;
                bytes = out.finish()?;
            }
            Ok(Part {
                part: part.to_owned(),
                files: files.len(),
                raw_bytes: files.iter().map(|file| size(file.bytes.len())).sum(),
                packed_bytes: size(archive::pack(&bytes, archive::LEVEL)?.len()),
            })
        })
        .collect()
}

/// MiB with one decimal, rounded up, so that a size over a limit never looks like the limit.
fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The report as text.
pub fn render(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "kernel {}, Debian {}, {} packed, {} in memory\nagent  sha256:{}\n\n{:<12} {:>6} {:>10} {:>10}\n",
        report.kernel,
        report.suite,
        mib(report.packed_bytes),
        mib(report.raw_bytes),
        report.agent_sha256,
        "part",
        "files",
        "in memory",
        "packed"
    );
    for part in &report.parts {
        let (raw, packed) = (mib(part.raw_bytes), mib(part.packed_bytes));
        let _ = writeln!(
            text,
            "{:<12} {:>6} {raw:>10} {packed:>10}",
            part.part, part.files
        );
    }
    text.push('\n');
    for package in &report.packages {
        let _ = writeln!(text, "{} {}", package.package, package.version);
    }
    text
}

/// The report as JSON.
pub fn to_json(report: &Report) -> Result<String, Error> {
    serde_json::to_string_pretty(report)
        .map(|text| text + "\n")
        .map_err(|cause| error::io("describe", Path::new("the ramdisk"))(cause.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;
    use apt_sources::lock::Lock;

    fn ramdisk() -> Vec<u8> {
        let mut tree = Tree::new();
        tree.text("agent", "usr/bin/provision", 0o755, &"a".repeat(3000))
            .unwrap();
        tree.text("udev", "usr/bin/udevadm", 0o755, "u").unwrap();
        let lock = Lock::new("bookworm", "amd64", 7, &[], vec![]);
        let contents = manifest::contents(&tree, &lock, "6.1", 7, "00".to_owned());
        let text = serde_json::to_string(&contents).unwrap();
        tree.text("base", manifest::INSIDE, 0o644, &text).unwrap();
        archive::pack(
            &archive::write_cpio(&tree, 7, Vec::new()).unwrap(),
            archive::LEVEL,
        )
        .unwrap()
    }

    #[test]
    fn parts_are_listed_with_their_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ramdisk.img");
        fs::write(&path, ramdisk()).unwrap();
        let report = inspect(&path).unwrap();
        let agent = report
            .parts
            .iter()
            .find(|part| part.part == "agent")
            .unwrap();
        assert_eq!((agent.files, agent.raw_bytes), (1, 3000));
        assert!(agent.packed_bytes < 1000);
        assert_eq!(
            report.parts.iter().map(|p| p.raw_bytes).sum::<u64>(),
            report.raw_bytes
        );
        assert!(render(&report).starts_with("kernel 6.1, Debian bookworm, 0.1 MiB packed"));
    }

    #[test]
    fn a_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let foreign = archive::pack(
            &archive::write_cpio(&Tree::new(), 0, Vec::new()).unwrap(),
            archive::LEVEL,
        )
        .unwrap();
        for bytes in [b"hello".to_vec(), foreign] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(inspect(&path), Err(Error::NotARamdisk { .. })));
        }
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(mib(1), "0.1 MiB");
        assert_eq!(mib(40 << 20), "40.0 MiB");
        assert_eq!(mib((40 << 20) + 1), "40.1 MiB");
    }
}
