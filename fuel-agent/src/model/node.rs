//! Identity of the node: names and addresses, accounts, settings of its services.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Firmware interface that the node boots by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// BIOS, or a compatibility module of UEFI firmware.
    #[default]
    Bios,
    /// UEFI, with /sys/firmware/efi.
    Uefi,
}

/// A text that must not reach a log, an error or a report: it prints as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Identity of the node and all values that Fuel's templates pass to cloud-init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Fully qualified host name.
    pub hostname: String,
    /// The interface that boots and is managed.
    pub admin: AdminInterface,
    /// Name servers, quotes taken off, split at commas and spaces.
    pub name_servers: Vec<String>,
    /// Search domains, quotes taken off.
    pub search_domain: String,
    /// (MAC, name) for udev.
    pub interface_names: Vec<(String, String)>,
    /// Address of the orchestrator.
    pub master_ip: String,
    /// Time zone, like `America/Los_Angeles`.
    pub timezone: String,
    /// Keys that may log in as root, in order, quotes taken off, empty ones dropped.
    pub authorized_keys: Vec<String>,
    /// Accounts that cloud-init creates.
    pub accounts: Vec<Account>,
    /// Settings of the Puppet agent.
    pub puppet: Puppet,
    /// Settings of `MCollective`, the message bus of Fuel.
    pub mcollective: Mcollective,
    /// Package sources, passed through.
    pub repos: serde_json::Value,
}

/// The interface that is managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminInterface {
    /// Its name in the installed system.
    pub name: String,
    /// Its address on the wire, lower case.
    pub mac: String,
    /// Static address of the interface.
    pub address: IpAddr,
    /// Its netmask, as given.
    pub netmask: String,
    /// Length of the network prefix.
    pub prefix: u8,
    /// Default gateway; `None` where the request has none.
    pub gateway: Option<IpAddr>,
}

impl AdminInterface {
    /// Whether the gateway is outside of the interface's network: then the kernel takes a route through it only as
    /// `on-link`. A link-local address always is on the link.
    pub fn needs_on_link(&self) -> bool {
        match (self.address, self.gateway) {
            (IpAddr::V4(own), Some(IpAddr::V4(gateway))) => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                (own.to_bits() ^ gateway.to_bits()) & !hosts != 0
            }
            (IpAddr::V6(own), Some(IpAddr::V6(gateway))) => {
                let hosts = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let outside = (own.to_bits() ^ gateway.to_bits()) & !hosts != 0;
                outside && !gateway.is_unicast_link_local()
            }
            _ => false,
        }
    }
}

/// An account of the installed system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name of the account.
    pub name: String,
    /// Home directory in the installed system.
    pub homedir: String,
    /// Password in clear, where given: it is hashed when the configdrive is made.
    pub password: Option<Secret>,
    /// A ready crypt(3) hash, where given and no password is.
    pub hashed_password: Option<Secret>,
    /// Tails of sudoers rules.
    pub sudo: Vec<String>,
    /// Keys that may log in.
    pub ssh_keys: Vec<String>,
    /// Path of the login shell.
    pub shell: String,
}

/// Puppet's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puppet {
    /// Host name of the Puppet server.
    pub master: String,
    /// Whether the agent is enabled.
    pub enable: bool,
}

/// mcollective's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mcollective {
    /// Pre-shared key.
    pub pskey: Secret,
    /// Virtual host of the broker.
    pub vhost: String,
    /// Host name or address of the broker.
    pub host: String,
    /// User name at the broker.
    pub user: String,
    /// Password at the broker.
    pub password: Secret,
    /// `rabbitmq` or `stomp`.
    pub connector: String,
    /// Whether the service is enabled.
    pub enable: bool,
    /// The node's name on the bus.
    pub identity: String,
}
