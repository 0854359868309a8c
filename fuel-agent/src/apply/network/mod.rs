//! Names of network interfaces, and the admin interface's address, in the installed system.
//!
//! Addresses have one source. Where the image uses ifupdown or Red Hat's network scripts, it is Fuel's files, and
//! cloud-init's network configuration is disabled. Where it does not, and cloud-init is there to read the configdrive,
//! it is the configdrive's `network-config`. Only an image with neither gets a file of netplan, NetworkManager or
//! systemd-networkd from here; so does one with cloud-init where the gateway is outside of the node's network, for most
//! of cloud-init's renderers lose the word `on-link`, and the kernel refuses the route without it.

use std::net::{IpAddr, Ipv4Addr};

use super::target_tree::{TargetTree, one_line};
use crate::model::error::Error;
use crate::model::node::{AdminInterface, NodeSpec};

/// The program that sets up the admin interface at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetUpBy {
    Ifupdown,
    NetworkScripts,
    CloudInit,
    Netplan,
    NetworkManager,
    Networkd,
}

/// Writes names and address; warns of what is unusual.
pub(super) fn write(
    tree: &TargetTree,
    node: &NodeSpec,
    configdrive: bool,
) -> Result<Option<String>, Error> {
    names(tree, &node.interface_names)?;
    let Some(manager) = manager(tree, configdrive, node.admin.needs_on_link())? else {
        let warning = "nothing in the image sets up network interfaces as far as we know; the admin interface gets no \
                       address";
        return Ok(Some(warning.to_owned()));
    };
    let admin = &node.admin;
    match manager {
        SetUpBy::CloudInit => {}
        SetUpBy::Ifupdown => ifupdown(tree, node)?,
        SetUpBy::NetworkScripts => network_scripts(tree, admin)?,
        SetUpBy::Netplan => {
            let path = "etc/netplan/60-provision.yaml";
            tree.write(path, netplan(node), 0o600)?;
        }
        SetUpBy::NetworkManager => {
            let name = one_line(&admin.name);
            let path = format!("etc/NetworkManager/system-connections/{name}.nmconnection");
            tree.write(&path, network_manager(node), 0o600)?;
        }
        SetUpBy::Networkd => {
            let name = one_line(&admin.name);
            tree.write(
                &format!("etc/systemd/network/20-{name}.network"),
                networkd(node),
                0o644,
            )?;
            tree.link(
                "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
                "/lib/systemd/system/systemd-networkd.service",
            )?;
        }
    }
    Ok(None)
}

fn manager(tree: &TargetTree, configdrive: bool, on_link: bool) -> Result<Option<SetUpBy>, Error> {
    let ifup = ["sbin/ifup", "usr/sbin/ifup"];
    if tree.has_file("etc/network/interfaces")? && tree.has_any(&ifup)? {
        return Ok(Some(SetUpBy::Ifupdown));
    }
    let scripts = [
        "etc/sysconfig/network-scripts/ifup-eth",
        "etc/init.d/network",
        "etc/rc.d/init.d/network",
    ];
    if tree.has_folder("etc/sysconfig/network-scripts")? && tree.has_any(&scripts)? {
        return Ok(Some(SetUpBy::NetworkScripts));
    }
    let cloud_init = configdrive && tree.has_file("usr/bin/cloud-init")?;
    if cloud_init && !on_link {
        return Ok(Some(SetUpBy::CloudInit));
    }
    let others = [
        (SetUpBy::Netplan, "usr/sbin/netplan"),
        (SetUpBy::NetworkManager, "usr/sbin/NetworkManager"),
        (SetUpBy::Networkd, "usr/lib/systemd/systemd-networkd"),
        (SetUpBy::Networkd, "lib/systemd/systemd-networkd"),
    ];
    for (manager, program) in others {
        if tree.has_file(program)? {
            if cloud_init {
                hands_off(tree)?;
            }
            return Ok(Some(manager));
        }
    }
    Ok(cloud_init.then_some(SetUpBy::CloudInit))
}

/// Rules for old udev, `.link` files for systemd's: both give the MAC the same name, so it does not matter which wins.
fn names(tree: &TargetTree, names: &[(String, String)]) -> Result<(), Error> {
    tree.write(
        "etc/udev/rules.d/70-persistent-net.rules",
        rules(names),
        0o644,
    )?;
    let none = "# Interfaces are named in 70-persistent-net.rules; none are made up at boot.\n";
    tree.write(
        "etc/udev/rules.d/75-persistent-net-generator.rules",
        none,
        0o644,
    )?;
    for (mac, name) in names {
        let name = one_line(name);
        let path = format!("etc/systemd/network/10-provision-{name}.link");
        tree.write(&path, link(mac, &name), 0o644)?;
    }
    Ok(())
}

fn rules(names: &[(String, String)]) -> String {
    let mut text =
        "# Names of this node's interfaces, as its orchestrator knows them.\n".to_owned();
    for (mac, name) in names {
        let rule = format!(
            "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{{address}}==\"{}\", ATTR{{type}}==\"1\", \
             KERNEL==\"eth*\", NAME=\"{}\"\n",
            one_line(mac),
            one_line(name)
        );
        text.push_str(&rule);
    }
    text.push_str("# End of the names.\n");
    text
}

/// `Type=ether`, because bridges, bonds and VLANs take over the MAC of the interfaces below them.
fn link(mac: &str, name: &str) -> String {
    let mac = one_line(mac);
    format!("[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nNamePolicy=\nName={name}\n")
}

/// Disables cloud-init's network configuration.
fn hands_off(tree: &TargetTree) -> Result<(), Error> {
    let text = "# The admin interface is set up by files that were written at installation.\nnetwork:\n  config: \
                disabled\n";
    tree.write(
        "etc/cloud/cloud.cfg.d/95-provision-network.cfg",
        text,
        0o644,
    )?;
    tree.remove("etc/network/interfaces.d/50-cloud-init")?;
    tree.remove("etc/network/interfaces.d/50-cloud-init.cfg")?;
    Ok(())
}

fn ifupdown(tree: &TargetTree, node: &NodeSpec) -> Result<(), Error> {
    let name = one_line(&node.admin.name);
    hands_off(tree)?;
    let interfaces =
        "auto lo\niface lo inet loopback\n\nsource-directory /etc/network/interfaces.d\n";
    tree.write("etc/network/interfaces", interfaces, 0o644)?;
    let path = format!("etc/network/interfaces.d/ifcfg-{name}");
    tree.write(&path, stanza(node), 0o644)
}

fn stanza(node: &NodeSpec) -> String {
    let admin = &node.admin;
    let name = one_line(&admin.name);
    let (family, mask) = match admin.address {
        IpAddr::V4(_) => ("inet", dotted(admin.prefix)),
        IpAddr::V6(_) => ("inet6", admin.prefix.to_string()),
    };
    let mut lines = vec![format!(
        "auto {name}\niface {name} {family} static\n\taddress {}\n\tnetmask {mask}\n",
        admin.address
    )];
    match admin.gateway {
        Some(gateway) if admin.needs_on_link() => {
            let family = if gateway.is_ipv4() { "-4" } else { "-6" };
            let route =
                format!("ip {family} route replace default via {gateway} dev {name} onlink");
            lines.push(format!("\tup {route}\n"));
        }
        Some(gateway) => lines.push(format!("\tgateway {gateway}\n")),
        None => {}
    }
    lines.concat()
}

/// The netmask of an IPv4 prefix.
fn dotted(prefix: u8) -> String {
    let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv4Addr::from_bits(!hosts).to_string()
}

fn network_scripts(tree: &TargetTree, admin: &AdminInterface) -> Result<(), Error> {
    let name = one_line(&admin.name);
    hands_off(tree)?;
    let folder = "etc/sysconfig/network-scripts";
    let (address, prefix) = (admin.address, admin.prefix);
    let family = match address {
        IpAddr::V4(_) => format!("IPADDR={address}\nNETMASK={}\n", dotted(prefix)),
        IpAddr::V6(_) => {
            format!("IPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR={address}/{prefix}\n")
        }
    };
    let text = format!("DEVICE={name}\n{family}BOOTPROTO=none\nONBOOT=yes\nUSERCTL=no\n");
    tree.write(&format!("{folder}/ifcfg-{name}"), text, 0o644)?;
    let Some(gateway) = admin.gateway else {
        return Ok(());
    };
    if admin.needs_on_link() {
        // arguments of `ip route add`: the scripts set up no gateway that is outside of the network
        let file = if gateway.is_ipv4() { "route" } else { "route6" };
        let route = format!("default via {gateway} dev {name} onlink\n");
        return tree.write(&format!("{folder}/{file}-{name}"), route, 0o644);
    }
    let path = "etc/sysconfig/network";
    let set = if gateway.is_ipv4() {
        "GATEWAY="
    } else {
        "IPV6_DEFAULTGW="
    };
    let old = tree.read(path)?.unwrap_or_default();
    let mut lines: Vec<&str> = old
        .lines()
        .filter(|line| !line.trim_start().starts_with(set))
        .collect();
    // a link-local address means nothing without its interface
    let line = match gateway {
        IpAddr::V6(six) if six.is_unicast_link_local() => format!("{set}{gateway}%{name}"),
        _ => format!("{set}{gateway}"),
    };
    lines.push(&line);
    tree.write(path, lines.join("\n") + "\n", 0o644)
}

/// Name servers that are addresses; search domains.
fn resolver(node: &NodeSpec) -> (Vec<String>, Vec<String>) {
    let servers = node.name_servers.iter().filter_map(|text| {
        let server: Option<IpAddr> = text.trim().parse().ok();
        server.map(|server| server.to_string())
    });
    (servers.collect(), crate::cloud::search(node))
}

/// JSON is YAML, and needs no thought about quoting.
fn netplan(node: &NodeSpec) -> String {
    let admin = &node.admin;
    let (servers, search) = resolver(node);
    let mut entry = serde_json::json!({
        "match": {"macaddress": admin.mac},
        "set-name": admin.name,
        "addresses": [format!("{}/{}", admin.address, admin.prefix)],
        "nameservers": {"addresses": servers, "search": search},
    });
    if let Some(gateway) = admin.gateway {
        let everywhere = if gateway.is_ipv4() {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        let mut route = serde_json::json!({"to": everywhere, "via": gateway.to_string()});
        if admin.needs_on_link() {
            route["on-link"] = true.into();
        }
        entry["routes"] = serde_json::json!([route]);
    }
    let name = one_line(&admin.name);
    let all = serde_json::json!({"network": {"version": 2, "ethernets": {name: entry}}});
    format!("{all:#}\n")
}

fn network_manager(node: &NodeSpec) -> String {
    let admin = &node.admin;
    let (name, mac) = (one_line(&admin.name), one_line(&admin.mac));
    let (family, other) = if admin.address.is_ipv4() {
        ("ipv4", "ipv6")
    } else {
        ("ipv6", "ipv4")
    };
    let (servers, search) = resolver(node);
    let (ours, others): (Vec<String>, Vec<String>) = servers
        .into_iter()
        .partition(|server| server.contains(':') == (family == "ipv6"));
    let mut lines = vec![format!(
        "[connection]\nid={name}\ntype=ethernet\ninterface-name={name}\n\n[ethernet]\nmac-address={mac}\n\n[{family}]\n\
         method=manual\naddress1={}/{}\n",
        admin.address, admin.prefix
    )];
    if let Some(gateway) = admin.gateway {
        lines.push(format!("gateway={gateway}\n"));
    }
    if !ours.is_empty() {
        lines.push(format!("dns={};\n", ours.join(";")));
    }
    if !search.is_empty() {
        lines.push(format!("dns-search={};\n", search.join(";")));
    }
    let method = if other == "ipv6" { "auto" } else { "disabled" };
    lines.push(format!("\n[{other}]\nmethod={method}\n"));
    // a family that is off takes no name servers
    if !others.is_empty() && method == "auto" {
        lines.push(format!("dns={};\n", others.join(";")));
    }
    lines.concat()
}

fn networkd(node: &NodeSpec) -> String {
    let admin = &node.admin;
    let mut lines = vec![format!(
        "[Match]\nMACAddress={}\nType=ether\n\n[Network]\nAddress={}/{}\n",
        one_line(&admin.mac),
        admin.address,
        admin.prefix
    )];
    let on_link = admin.needs_on_link();
    if let Some(gateway) = admin.gateway.filter(|_| !on_link) {
        lines.push(format!("Gateway={gateway}\n"));
    }
    let (servers, search) = resolver(node);
    for server in servers {
        lines.push(format!("DNS={server}\n"));
    }
    if !search.is_empty() {
        lines.push(format!("Domains={}\n", search.join(" ")));
    }
    if let Some(gateway) = admin.gateway.filter(|_| on_link) {
        let route = format!("\n[Route]\nGateway={gateway}\nGatewayOnLink=yes\n");
        lines.push(route);
    }
    lines.concat()
}

#[cfg(test)]
mod tests;
