//! Cloud-init data: from a [`Seed`] to files, and from files to a FAT filesystem, without a mount and without a
//! program.
//!
//! ```text
//!   Seed ──files()──▶ meta-data, user-data, network-config, vendor-data        NoCloud (label CIDATA)
//!                     openstack/latest/{meta_data.json, user_data, …}           ConfigDrive (label config-2)
//!        ──fat::write──▶ bytes of a filesystem that cloud-init finds by its label
//! ```
//!
//! This crate only knows bytes and cloud-init's formats: it does not depend on disks, Fuel or the agent.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod fat;
mod meta;
mod mime;
mod network;
pub mod ready;
mod yaml;

pub use mime::{Part, PartKind};
pub use network::{Address, Ethernet, Network};
pub use yaml::{YamlError, cloud_config};

use std::fmt;

/// Label under which cloud-init's NoCloud finds the filesystem. Upper case: FAT labels have no lower case.
pub const LABEL_NOCLOUD: &str = "CIDATA";
/// Label under which cloud-init's ConfigDrive finds the filesystem; FAT keeps it in upper case, and blkid's by-label
/// search of cloud-init asks for both spellings.
pub const LABEL_CONFIG_DRIVE: &str = "config-2";

/// The data that an installed system gets at its first boot.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seed {
    /// Instance id, new for each installation: cloud-init runs its once-per-instance modules again when it changes.
    pub instance_id: String,
    /// Host name without domain.
    pub hostname: String,
    /// Host name with domain; equals `hostname` if there is no domain.
    pub fqdn: String,
    /// ssh keys of the image's default account.
    pub public_keys: Vec<String>,
    /// user-data; several parts become one MIME message, in this order.
    pub user_data: Vec<Part>,
    /// Addresses and names of interfaces; `None` leaves them to the image.
    pub network: Option<Network>,
    /// vendor-data: the operator's defaults, as cloud-config.
    pub vendor_data: Option<String>,
}

impl fmt::Debug for Seed {
    /// Omits user-data, which holds password hashes and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed")
            .field("instance_id", &self.instance_id)
            .field("fqdn", &self.fqdn)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// A file of the seed: path with `/`, content.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path below the filesystem's root.
    pub path: String,
    /// The content, any bytes.
    pub content: Vec<u8>,
}

impl File {
    /// A file of this path and content.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
        }
    }
}

impl fmt::Debug for File {
    /// Prints path and length only: the content may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.content.len())
    }
}

/// Makes the files of a seed, NoCloud's first, then `openstack/latest/`, all made from the same data.
pub fn files(seed: &Seed) -> Result<Vec<File>, YamlError> {
    let meta_data = meta::nocloud(seed)?;
    let user_data = mime::user_data(&seed.user_data);
    let mut files = vec![
        File::new("meta-data", meta_data.clone()),
        File::new("user-data", user_data.clone()),
    ];
    if let Some(network) = &seed.network {
        files.push(File::new("network-config", network::version_2(network)?));
    }
    if let Some(vendor_data) = &seed.vendor_data {
        files.push(File::new("vendor-data", vendor_data.clone()));
    }
    let openstack = |name: &str, content: Vec<u8>| {
        let path = format!("openstack/latest/{name}");
        File { path, content }
    };
    files.push(openstack("meta_data.json", meta::openstack(seed)));
    files.push(openstack("meta_data", meta_data.into_bytes()));
    files.push(openstack("user_data", user_data.into_bytes()));
    if let Some(network) = &seed.network {
        files.push(openstack("network_data.json", network::openstack(network)));
    }
    files.push(openstack("vendor_data.json", meta::vendor_data(seed)));
    Ok(files)
}

#[cfg(test)]
mod tests;
