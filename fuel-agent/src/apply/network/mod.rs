//! Names of network interfaces, and the admin interface's address, in the installed system.
//!
//! There is one truth about addresses. Where the image uses ifupdown or Red Hat's network scripts, it is Fuel's files,
//! and cloud-init is told to keep its hands off. Where it does not, and cloud-init is there to read the configdrive, it is
//! the configdrive's `network-config`. Only an image with neither gets a file of netplan, NetworkManager or
//! systemd-networkd from here.

use std::net::IpAddr;

use super::target_tree::{TargetTree, one_line};
use crate::model::error::Error;
use crate::model::node::{AdminInterface, NodeSpec};

/// Who sets up the admin interface at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetUpBy {
    Ifupdown,
    NetworkScripts,
    CloudInit,
    Netplan,
    NetworkManager,
    Networkd,
}

/// Writes names and address; says what is odd.
pub(super) fn write(
    tree: &TargetTree,
    node: &NodeSpec,
    configdrive: bool,
) -> Result<Option<String>, Error> {
    names(tree, &node.interface_names)?;
    let Some(manager) = manager(tree, configdrive)? else {
        let warning = "nothing in the image sets up network interfaces as far as we know; the admin interface gets no address";
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

fn manager(tree: &TargetTree, configdrive: bool) -> Result<Option<SetUpBy>, Error> {
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
    if configdrive && tree.has_file("usr/bin/cloud-init")? {
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
            return Ok(Some(manager));
        }
    }
    Ok(None)
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

/// `Type=ether`, because bridges, bonds and VLANs take over the MAC of what lies below them.
fn link(mac: &str, name: &str) -> String {
    let mac = one_line(mac);
    format!("[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nNamePolicy=\nName={name}\n")
}

/// Tells cloud-init that the network is not its business.
fn hands_off(tree: &TargetTree) -> Result<(), Error> {
    let text = "# The admin interface is set up by files that were written at installation.\nnetwork:\n  config: disabled\n";
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
        IpAddr::V4(_) => ("inet", one_line(&admin.netmask)),
        IpAddr::V6(_) => ("inet6", admin.prefix.to_string()),
    };
    let mut lines = vec![format!(
        "auto {name}\niface {name} {family} static\n\taddress {}\n\tnetmask {mask}\n",
        admin.address
    )];
    if let Some(gateway) = admin.gateway {
        lines.push(format!("\tgateway {gateway}\n"));
    }
    lines.concat()
}

fn network_scripts(tree: &TargetTree, admin: &AdminInterface) -> Result<(), Error> {
    let name = one_line(&admin.name);
    hands_off(tree)?;
    let path = format!("etc/sysconfig/network-scripts/ifcfg-{name}");
    let text = format!(
        "DEVICE={name}\nIPADDR={}\nNETMASK={}\nBOOTPROTO=none\nONBOOT=yes\nUSERCTL=no\n",
        admin.address,
        one_line(&admin.netmask)
    );
    tree.write(&path, text, 0o644)?;
    if let Some(gateway) = admin.gateway {
        let path = "etc/sysconfig/network";
        let old = tree.read(path)?.unwrap_or_default();
        let mut lines: Vec<&str> = old
            .lines()
            .filter(|line| !line.trim_start().starts_with("GATEWAY="))
            .collect();
        let line = format!("GATEWAY={gateway}");
        lines.push(&line);
        tree.write(path, lines.join("\n") + "\n", 0o644)?;
    }
    Ok(())
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
        entry["routes"] = serde_json::json!([{"to": everywhere, "via": gateway.to_string()}]);
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
    let servers: Vec<String> = servers
        .into_iter()
        .filter(|server| server.contains(':') == (family == "ipv6"))
        .collect();
    let mut lines = vec![format!(
        "[connection]\nid={name}\ntype=ethernet\ninterface-name={name}\n\n[ethernet]\nmac-address={mac}\n\n[{family}]\n\
         method=manual\naddress1={}/{}\n",
        admin.address, admin.prefix
    )];
    if let Some(gateway) = admin.gateway {
        lines.push(format!("gateway={gateway}\n"));
    }
    if !servers.is_empty() {
        lines.push(format!("dns={};\n", servers.join(";")));
    }
    if !search.is_empty() {
        lines.push(format!("dns-search={};\n", search.join(";")));
    }
    lines.push(format!(
        "\n[{other}]\nmethod={}\n",
        if other == "ipv6" { "auto" } else { "disabled" }
    ));
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
    if let Some(gateway) = admin.gateway {
        lines.push(format!("Gateway={gateway}\n"));
    }
    let (servers, search) = resolver(node);
    for server in servers {
        lines.push(format!("DNS={server}\n"));
    }
    if !search.is_empty() {
        lines.push(format!("Domains={}\n", search.join(" ")));
    }
    lines.concat()
}

#[cfg(test)]
mod tests;
