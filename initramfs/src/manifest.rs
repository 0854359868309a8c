//! Descriptions of a ramdisk: one inside it, and a manifest in the output folder.

use std::collections::BTreeMap;

use apt_sources::lock::Lock;
use serde::{Deserialize, Serialize};

use crate::tree::Tree;

/// Path of the description inside the ramdisk.
pub(crate) const INSIDE: &str = "usr/share/provision/ramdisk.json";

/// The description inside the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Version of the format.
    pub version: u32,
    /// Release of the kernel, like `6.1.0-40-amd64`.
    pub kernel: String,
    /// Code name of the Debian release.
    pub suite: String,
    /// Lower bound of the node's clock, in seconds since 1970.
    pub built: u32,
    /// sha256 of the agent, in hexadecimal.
    pub agent_sha256: String,
    /// Packages whose files it has, sorted by name.
    pub packages: Vec<UsedPackage>,
    /// Paths of all files, by part. Folders and links are not listed.
    pub parts: BTreeMap<String, Vec<String>>,
}

/// A package whose files are in the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedPackage {
    /// Name of the package.
    pub package: String,
    /// Version with epoch.
    pub version: String,
    /// Debian's name of the architecture, or `all`.
    pub architecture: String,
}

/// An output file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// File name, in the folder of the manifest.
    pub file: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// sha256 in hexadecimal.
    pub sha256: String,
}

/// The manifest in the output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub version: u32,
    /// The kernel.
    pub vmlinuz: Artifact,
    /// The ramdisk.
    pub ramdisk: Artifact,
    /// Size of the unpacked ramdisk.
    pub raw_bytes: u64,
    /// The description that is also inside the ramdisk.
    pub contents: Contents,
}

/// Version of both formats.
pub(crate) const VERSION: u32 = 1;

/// Makes the description of a tree.
pub(crate) fn contents(
    tree: &Tree,
    lock: &Lock,
    kernel: &str,
    built: u32,
    agent_sha256: String,
) -> Contents {
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, entry) in tree.entries() {
        if matches!(entry.kind, crate::tree::EntryKind::File(_)) {
            parts
                .entry(entry.part.clone())
                .or_default()
                .push(path.to_owned());
        }
    }
    let packages = lock.packages.iter().map(|package| UsedPackage {
        package: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
    });
    Contents {
        version: VERSION,
        kernel: kernel.to_owned(),
        suite: lock.suite.clone(),
        built,
        agent_sha256,
        packages: packages.collect(),
        parts,
    }
}
