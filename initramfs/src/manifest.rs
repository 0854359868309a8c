//! What a ramdisk says about itself: a file inside it, and a fuller one beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lock::Lock;
use crate::tree::Tree;

/// Where a ramdisk keeps its own description.
pub const INSIDE: &str = "usr/share/provision/ramdisk.json";

/// The description inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The form of this file.
    pub version: u32,
    /// The kernel's release.
    pub kernel: String,
    /// Debian's release.
    pub suite: String,
    /// The time that the node's clock never goes below, in seconds since 1970.
    pub built: u32,
    /// The sha256 of the agent.
    pub agent_sha256: String,
    /// What it was made of.
    pub packages: Vec<Brought>,
    /// Every path, by the part it belongs to. Folders and links are not listed.
    pub parts: BTreeMap<String, Vec<String>>,
}

/// One package that brought files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Name of the package.
    pub package: String,
    /// Version with epoch.
    pub version: String,
    /// Debian's name of the architecture, or `all`.
    pub architecture: String,
}

/// A file of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, in the folder of the manifest.
    pub file: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// sha256 in hexadecimal.
    pub sha256: String,
}

/// The description beside the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file.
    pub version: u32,
    /// The kernel to boot.
    pub vmlinuz: Artifact,
    /// The ramdisk.
    pub ramdisk: Artifact,
    /// The ramdisk's size when unpacked.
    pub raw_bytes: u64,
    /// What is in it.
    pub contents: Contents,
}

/// The form that this program writes and reads.
pub const VERSION: u32 = 1;

/// Describes a tree.
pub fn contents(
    tree: &Tree,
    lock: &Lock,
    kernel: &str,
    built: u32,
    agent_sha256: String,
) -> Contents {
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, entry) in tree.entries() {
        if matches!(entry.node, crate::tree::Node::File(_)) {
            parts
                .entry(entry.part.clone())
                .or_default()
                .push(path.to_owned());
        }
    }
    let packages = lock.packages.iter().map(|package| Brought {
        package: package.package.clone(),
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
