//! cloud-init data of a Fuel node: from the facts of the request to a [`Seed`].
//!
//! Fuel's orchestrator relies on what its templates made cloud-init do; the same is done here, in the syntax of current
//! cloud-init, for the Debian and Red Hat families. Nothing is installed and nothing is required: a plain image
//! completes its first boot without an error.

mod accounts;
mod agents;
mod boothook;
mod wipe;

use std::net::IpAddr;

use configdrive::{Address, Ethernet, Network, Part, PartKind, Seed, YamlError};
use serde_json::{Value, json};

use crate::model::first_boot::FirstBoot;
use crate::model::node::NodeSpec;
use crate::model::plan::Plan;
use accounts::Hashing;

/// The families that Fuel had templates for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Debian,
    RedHat,
}

impl Family {
    fn of(plan: &Plan) -> Self {
        let profile = plan.boot.profile.to_lowercase();
        let red_hat = ["centos", "rhel", "rocky", "alma", "fedora"];
        let says = |text: &str| red_hat.iter().any(|name| text.contains(name));
        if says(&profile) || says(&plan.boot.system.name) {
            Self::RedHat
        } else {
            Self::Debian
        }
    }
}

/// Whether the installed system is of Red Hat's family.
pub(crate) fn is_of_red_hat(plan: &Plan) -> bool {
    Family::of(plan) == Family::RedHat
}

/// The seed of the plan's node. Without facts about the node in the request it holds an identity only.
pub fn seed(plan: &Plan) -> Result<Seed, YamlError> {
    made_of(plan, Hashing::Salted(&plan.instance_id.to_string()))
}

/// Files of the same lengths as those of [`seed`], without computing password hashes.
pub fn measured(plan: &Plan) -> Result<Vec<configdrive::File>, YamlError> {
    configdrive::files(&made_of(plan, Hashing::Counted)?)
}

fn made_of(plan: &Plan, hashing: Hashing<'_>) -> Result<Seed, YamlError> {
    let instance_id = plan.instance_id.to_string();
    let Some(node) = &plan.node else {
        let hostname = "localhost".to_owned();
        return Ok(Seed {
            instance_id,
            fqdn: hostname.clone(),
            hostname,
            ..Seed::default()
        });
    };
    let fqdn: String = node.hostname.chars().filter(|c| !c.is_control()).collect();
    let hostname = fqdn.split('.').next().unwrap_or(&fqdn).to_owned();
    let family = Family::of(plan);
    let mut cloud_config = cloud_config(plan, node, &hostname, hashing);
    if let Some(url) = &plan.phone_home {
        cloud_config["phone_home"] = phone_home(url.reveal());
    }
    let cloud_config = configdrive::cloud_config(&cloud_config)?;
    let part = |kind, file_name: &str, content| Part {
        kind,
        file_name: file_name.to_owned(),
        content,
    };
    Ok(Seed {
        instance_id,
        public_keys: node.authorized_keys.clone(),
        user_data: vec![
            part(
                PartKind::Boothook,
                "boothook.sh",
                boothook::render(node, family, plan.first_boot),
            ),
            part(PartKind::CloudConfig, "cloud-config.yaml", cloud_config),
        ],
        network: Some(network(node)),
        vendor_data: None,
        hostname,
        fqdn,
    })
}

/// Name servers that are addresses; the orchestrator if there are none.
fn name_servers(node: &NodeSpec) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = node
        .name_servers
        .iter()
        .filter_map(|server| server.trim().parse().ok())
        .collect();
    if servers.is_empty() {
        servers.extend(node.master_ip.parse::<IpAddr>().ok());
    }
    servers
}

/// Search domains, as a list.
pub(crate) fn search(node: &NodeSpec) -> Vec<String> {
    let words = node
        .search_domain
        .split(|c: char| c.is_whitespace() || c == ',');
    let words = words.map(|word| word.chars().filter(|c| !c.is_control()).collect());
    words.filter(|word: &String| !word.is_empty()).collect()
}

fn network(node: &NodeSpec) -> Network {
    let admin = &node.admin;
    Network {
        ethernets: vec![Ethernet {
            name: admin.name.clone(),
            mac: admin.mac.clone(),
            addresses: vec![Address {
                ip: admin.address,
                prefix: admin.prefix,
            }],
            gateways: admin.gateway.into_iter().collect(),
            name_servers: name_servers(node),
            search: search(node),
        }],
    }
}

/// The declarative part. Modules that fail on a missing package (locale, timezone, rsyslog, puppet, mcollective, ntp)
/// are not used: the files they would write are written here, or by the boothook if it finds the package.
fn cloud_config(plan: &Plan, node: &NodeSpec, hostname: &str, hashing: Hashing<'_>) -> Value {
    let fqdn: String = node.hostname.chars().filter(|c| !c.is_control()).collect();
    let mut files = vec![
        file(
            "/etc/nailgun-agent/config.yaml",
            "0644",
            &agents::discovery(node),
        ),
        file("/etc/nailgun_systemtype", "0644", "target\n"),
    ];
    if plan.first_boot.remote_log {
        files.push(file(
            "/etc/rsyslog.d/22-provision-remote.conf",
            "0644",
            &agents::remote_log(node),
        ));
    }
    if plan.first_boot.wipe_configdrive {
        files.extend(wipe::files(plan.instance_id));
    }
    if node.mcollective.enable {
        let path = "/etc/mcollective/server.cfg";
        files.push(file(path, "0600", &agents::mcollective(&node.mcollective)));
    }
    if node.puppet.enable {
        files.push(file(
            "/etc/puppet/puppet.conf",
            "0644",
            &agents::puppet(&node.puppet, &fqdn),
        ));
    }
    json!({
        "hostname": hostname,
        "fqdn": fqdn,
        "preserve_hostname": false,
        // written at installation, with the address that other nodes use
        "manage_etc_hosts": false,
        // quoted: a bare `false` would work too, but the schema of older releases expects a string and warns at every
        // boot
        "locale": "false",
        "resize_rootfs": false,
        "growpart": {"mode": "off"},
        "disable_ec2_metadata": true,
        "apt": {"preserve_sources_list": true},
        "disable_root": false,
        "ssh_pwauth": false,
        "ssh_deletekeys": true,
        // generating an RSA key takes a slow machine longer than everything else
        "ssh_genkeytypes": ["ed25519", "ecdsa"],
        "ssh_authorized_keys": node.authorized_keys,
        "chpasswd": {"expire": false},
        "users": accounts::users(&node.accounts, hashing),
        "write_files": files,
        "runcmd": runcmd(node, plan.first_boot),
    })
}

/// The call of the installed system, with its identity and host keys. Only keys that are generated are listed:
/// cloud-init stops at a missing one.
fn phone_home(url: &str) -> Value {
    json!({
        "url": url,
        "post": ["instance_id", "hostname", "fqdn", "pub_key_ed25519", "pub_key_ecdsa"],
        "tries": 20,
    })
}

fn file(path: &str, mode: &str, content: &str) -> Value {
    json!({"path": path, "permissions": mode, "owner": "root:root", "content": content})
}

/// Runs once, after everything else: enables or disables services, then restarts those with a new configuration.
fn runcmd(node: &NodeSpec, first_boot: FirstBoot) -> Vec<String> {
    let word = |enable| if enable { "service_on" } else { "service_off" };
    let services = format!(
        "{}{} puppet\n{} mcollective\n",
        include_str!("services.sh"),
        word(node.puppet.enable),
        word(node.mcollective.enable)
    );
    let mut late = include_str!("late-services.sh").to_owned();
    if first_boot.flush_iptables {
        late.push_str(include_str!("late-iptables.sh"));
    }
    if first_boot.wipe_configdrive {
        late.push_str(include_str!("late-wipe.sh"));
    }
    late.push_str(include_str!("late.sh"));
    vec![services, late]
}

#[cfg(test)]
mod tests;
