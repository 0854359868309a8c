use super::*;
use crate::apply::sample;

fn written(files: &[&str], configdrive: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let tree = TargetTree::at(folder.path());
    for path in files {
        tree.write(path, "", 0o755).unwrap();
    }
    let warning = write(&tree, &sample::node(), configdrive).unwrap();
    let mut text = warning
        .map(|text| format!("warning: {text}\n"))
        .unwrap_or_default();
    let mut folders = vec![String::new()];
    while let Some(above) = folders.pop() {
        for name in tree.list(&above).unwrap().iter().rev() {
            let path = format!("{above}{name}");
            if tree.has_folder(&path).unwrap() {
                folders.push(format!("{path}/"));
            } else if !files.contains(&path.as_str()) || path == "etc/network/interfaces" {
                let content = tree.read(&path).unwrap().unwrap_or_default();
                if !path.contains("udev") && !path.ends_with("link") {
                    text = text + "--- " + &path + "\n" + &content;
                }
            }
        }
    }
    text
}

#[test]
fn names_follow_macs() {
    let names = sample::node().interface_names;
    insta::assert_snapshot!(rules(&names), @r#"
    # Names of this node's interfaces, as its orchestrator knows them.
    SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="08:00:27:79:da:80", ATTR{type}=="1", KERNEL=="eth*", NAME="eth0"
    SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="08:00:27:46:43:60", ATTR{type}=="1", KERNEL=="eth*", NAME="eth1"
    # End of the names.
    "#);
    insta::assert_snapshot!(link(&names[1].0, &names[1].1), @"
    [Match]
    MACAddress=08:00:27:46:43:60
    Type=ether

    [Link]
    NamePolicy=
    Name=eth1
    ");
}

#[test]
fn ifupdown_gets_fuels_files_and_cloud_init_keeps_off() {
    let files = [
        "etc/network/interfaces",
        "usr/sbin/ifup",
        "usr/bin/cloud-init",
    ];
    insta::assert_snapshot!(written(&files, true), @"
    --- etc/cloud/cloud.cfg.d/95-provision-network.cfg
    # The admin interface is set up by files that were written at installation.
    network:
      config: disabled
    --- etc/network/interfaces
    auto lo
    iface lo inet loopback

    source-directory /etc/network/interfaces.d
    --- etc/network/interfaces.d/ifcfg-eth0
    auto eth0
    iface eth0 inet static
    	address 10.20.0.3
    	netmask 255.255.255.0
    	gateway 10.20.0.1
    ");
}

#[test]
fn network_scripts_get_fuels_files() {
    let files = [
        "etc/sysconfig/network-scripts/ifup-eth",
        "usr/bin/cloud-init",
    ];
    insta::assert_snapshot!(written(&files, true), @"
    --- etc/cloud/cloud.cfg.d/95-provision-network.cfg
    # The admin interface is set up by files that were written at installation.
    network:
      config: disabled
    --- etc/sysconfig/network
    GATEWAY=10.20.0.1
    --- etc/sysconfig/network-scripts/ifcfg-eth0
    DEVICE=eth0
    IPADDR=10.20.0.3
    NETMASK=255.255.255.0
    BOOTPROTO=none
    ONBOOT=yes
    USERCTL=no
    ");
}

#[test]
fn cloud_init_with_a_configdrive_is_left_alone() {
    let files = ["usr/bin/cloud-init", "usr/lib/systemd/systemd-networkd"];
    assert_eq!(written(&files, true), "");
    // an interfaces file without ifupdown is a leftover
    assert_eq!(
        written(&["usr/bin/cloud-init", "etc/network/interfaces.d/x"], true),
        ""
    );
}

#[test]
fn without_a_configdrive_the_images_own_manager_is_told() {
    insta::assert_snapshot!(written(&["usr/bin/cloud-init", "usr/lib/systemd/systemd-networkd"], false), @"
    --- etc/systemd/network/20-eth0.network
    [Match]
    MACAddress=08:00:27:79:da:80
    Type=ether

    [Network]
    Address=10.20.0.3/24
    Gateway=10.20.0.1
    DNS=10.20.0.2
    Domains=example.com
    --- etc/systemd/system/multi-user.target.wants/systemd-networkd.service
    ");
}

#[test]
fn netplan_and_network_manager_are_told_where_they_rule() {
    insta::assert_snapshot!(written(&["usr/sbin/netplan"], false), @r#"
    --- etc/netplan/60-provision.yaml
    {
      "network": {
        "version": 2,
        "ethernets": {
          "eth0": {
            "match": {
              "macaddress": "08:00:27:79:da:80"
            },
            "set-name": "eth0",
            "addresses": [
              "10.20.0.3/24"
            ],
            "nameservers": {
              "addresses": [
                "10.20.0.2"
              ],
              "search": [
                "example.com"
              ]
            },
            "routes": [
              {
                "to": "0.0.0.0/0",
                "via": "10.20.0.1"
              }
            ]
          }
        }
      }
    }
    "#);
    insta::assert_snapshot!(written(&["usr/sbin/NetworkManager"], false), @"
    --- etc/NetworkManager/system-connections/eth0.nmconnection
    [connection]
    id=eth0
    type=ethernet
    interface-name=eth0

    [ethernet]
    mac-address=08:00:27:79:da:80

    [ipv4]
    method=manual
    address1=10.20.0.3/24
    gateway=10.20.0.1
    dns=10.20.0.2;
    dns-search=example.com;

    [ipv6]
    method=auto
    ");
}

#[test]
fn an_image_without_network_is_warned_about() {
    insta::assert_snapshot!(written(&[], true), @"
    warning: nothing in the image sets up network interfaces as far as we know; the admin interface gets no address
    ");
}

#[test]
fn a_gateway_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let tree = TargetTree::at(folder.path());
    tree.write(
        "etc/sysconfig/network",
        "NETWORKING=yes\nGATEWAY=1.2.3.4\n",
        0o644,
    )
    .unwrap();
    for _ in 0..2 {
        network_scripts(&tree, &sample::node().admin).unwrap();
    }
    let text = tree.read("etc/sysconfig/network").unwrap().unwrap();
    assert_eq!(text, "NETWORKING=yes\nGATEWAY=10.20.0.1\n");
}
